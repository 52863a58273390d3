"""The normal distribution inside a range and counted in steps: exact masses and draws.

All is computed in float64 and broadcasts; an end of the range may be infinite.
"""

import math

import torch
from torch import Tensor


def log_interval(lower: Tensor, upper: Tensor) -> Tensor:
    """log of the standard normal mass between two points, precise in both tails.

    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> round(float(log_interval(-one, one).exp()), 4)
        0.6827
    """
    right = lower > 0  # mirrored to the left, where the distribution function is small
    lower, upper = torch.where(right, -upper, lower), torch.where(right, -lower, upper)
    high, low = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    return high + torch.log(-torch.expm1((low - high).clamp(max=-1e-300)))


def log_normal_cell(
    x: Tensor, mean: Tensor, scale: Tensor, low: Tensor, high: Tensor, step: Tensor
) -> Tensor:
    """log mass of x's cell under a truncated normal, or its log density where step is 0.

    Args:
        x, mean, scale: of any broadcastable shapes, float64.
        low, high: the range of the values; cells at its ends are as wide as the others.
        step: width of a cell, or 0 for a density.
    """
    half = step / 2
    z = (x - mean) / scale
    density = -0.5 * z.square() - scale.log() - 0.5 * math.log(2 * math.pi)
    mass = log_interval((x - half - mean) / scale, (x + half - mean) / scale)
    inside = log_interval((low - half - mean) / scale, (high + half - mean) / scale)
    return torch.where(step > 0, mass, density) - inside


def draw_normal(
    uniform: Tensor, mean: Tensor, scale: Tensor, low: Tensor, high: Tensor, step: Tensor
) -> Tensor:
    """A draw of that truncated normal, before it is put on the grid of steps.

    Args:
        uniform: draws of (0, 1), float64; the rest as in `log_normal_cell`.
    """
    lower, upper = low - step / 2, high + step / 2
    first = torch.special.ndtr((lower - mean) / scale)
    last = torch.special.ndtr((upper - mean) / scale)
    z = torch.special.ndtri(first + uniform * (last - first))
    return torch.minimum(torch.maximum(mean + scale * z, lower), upper)


def on_grid(x: Tensor, low: Tensor, high: Tensor, step: Tensor, origin: Tensor) -> Tensor:
    """The nearest allowed value: within the range, and on origin + k * step where step > 0."""
    x = torch.minimum(torch.maximum(x, low), high)
    safe = torch.where(step > 0, step, 1.0)
    return torch.where(step > 0, ((x - origin) / safe).round() * safe + origin, x)
