"""Heads: from a network's numbers to a log mass of the cell that a value stands in."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def logistic_log_mass(
    x: Tensor, mean: Tensor, log_scale: Tensor, *, low: float, high: float, step: float
) -> Tensor:
    """log mass of x's cell under a logistic, the cells at the ends reaching to infinity.

    Salimans et al., "PixelCNN++", 2017, section 2.1. The masses of all cells sum to 1.

    Args:
        x: values on the grid low, low + step, ..., high.
        mean, log_scale: of the logistic, broadcastable to x.
        low, high, step: of the Space.

    Returns:
        log masses, of the broadcast shape, in nats.

    Example:
        >>> x = torch.tensor([-1.0, 0.0, 1.0])
        >>> total = logistic_log_mass(x, x * 0, x * 0, low=-1, high=1, step=1.0).exp().sum()
        >>> round(float(total), 5)
        1.0
    """
    inverse = torch.exp(-log_scale)
    upper = (x - mean + step / 2) * inverse
    lower = (x - mean - step / 2) * inverse
    # log(sigmoid(u) - sigmoid(l)) = u + log(1 - exp(l - u)) - softplus(u) - softplus(l)
    width = (upper - lower).clamp(min=1e-6)
    inside = upper + torch.log(-torch.expm1(-width)) - F.softplus(upper) - F.softplus(lower)
    first = F.logsigmoid(upper)  # everything below the lowest upper edge
    last = F.logsigmoid(-lower)  # everything above the highest lower edge
    half = step / 2
    return torch.where(x < low + half, first, torch.where(x > high - half, last, inside))


def gaussian_log_density(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log density of x under a normal distribution, elementwise, in nats."""
    z = (x - mean) * torch.exp(-log_scale)
    return -0.5 * z.square() - log_scale - 0.5 * math.log(2 * math.pi)


class Head(nn.Linear):
    """Logits out of a network's last layer; an optimizer steps it as it does embeddings."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
