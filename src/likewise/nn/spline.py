"""Monotone rational-quadratic splines: elementwise maps that bend freely and invert exactly.

Durkan, Bekasov, Murray and Papamakarios, "Neural spline flows", 2019. Inside [-bound, bound] the
map is a rational quadratic in each of K bins, outside it is the identity, and the slope is
continuous and positive throughout; so extreme values pass as they are and nothing overflows.

Shapes: n examples, d numbers, p places; 3 K - 1 parameters a number, along the third dimension.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SHARE = 0.05  # of a bin, as a share of 1 / K: no bin vanishes
SMALLEST_SLOPE = 0.01  # at a knot


class _Bins(NamedTuple):
    """The bin that each number stands in: its corner, size, mean slope and slopes at its ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    left: Tensor
    right: Tensor


def parameters(bins: int) -> int:
    """How many parameters a spline has for each number.

    Example:
        >>> parameters(8)
        23
    """
    return 3 * bins - 1


def spline(x: Tensor, raw: Tensor, *, bound: float) -> tuple[Tensor, Tensor]:
    """The spline at x, and the log of its slope there.

    Args:
        x: (n, d, p).
        raw: (n, d, 3 K - 1, p) numbers without a range; zeros make the identity.
        bound: beyond which the spline is the identity.

    Returns:
        y (n, d, p) and log dy/dx (n, d, p).

    Example:
        >>> x = torch.tensor([[[-0.5]], [[2.0]]])
        >>> y, log_slope = spline(x, torch.zeros(2, 1, 23, 1), bound=3.0)
        >>> bool(torch.allclose(y, x, atol=1e-6)), bool(log_slope.abs().max() < 1e-5)
        (True, True)
    """
    inside = x.abs() < bound
    point = x.clamp(-bound, bound)
    at = _bins(point, raw, bound, inverse=False)
    t = ((point - at.x) / at.width).clamp(0.0, 1.0)
    bend = at.left + at.right - 2 * at.slope
    below = at.slope + bend * t * (1 - t)
    y = at.y + at.height * (at.slope * t.square() + at.left * t * (1 - t)) / below
    log_slope = _log_slope(t, below, at)
    return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)


def inverse_spline(y: Tensor, raw: Tensor, *, bound: float) -> Tensor:
    """x (n, d, p) of which `spline` makes y: the root of a quadratic, in closed form."""
    point = y.clamp(-bound, bound)
    at = _bins(point, raw, bound, inverse=True)
    rise = point - at.y
    bend = rise * (at.left + at.right - 2 * at.slope)
    a = at.height * (at.slope - at.left) + bend
    b = at.height * at.left - bend
    c = -at.slope * rise
    # This form of the root has no cancellation, and b >= 0 up to rounding.
    t = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0.0).sqrt()).clamp(max=-1e-30)
    x = at.x + at.width * t.clamp(0.0, 1.0)
    return torch.where(y.abs() < bound, x, y)


def _log_slope(t: Tensor, below: Tensor, at: _Bins) -> Tensor:
    above = at.right * t.square() + 2 * at.slope * t * (1 - t) + at.left * (1 - t).square()
    return 2 * at.slope.log() + above.log() - 2 * below.log()


def _bins(point: Tensor, raw: Tensor, bound: float, *, inverse: bool) -> _Bins:
    """The bin of each point, looked up along x, or along y for the inverse."""
    bins = (raw.shape[2] + 1) // 3
    wide, high, steep = raw.split([bins, bins, bins - 1], dim=2)
    widths, x = _edges(wide, bound)
    heights, y = _edges(high, bound)
    at_zero = math.log(math.expm1(1.0 - SMALLEST_SLOPE))  # where softplus makes the slope 1
    slopes = F.pad(F.softplus(steep + at_zero) + SMALLEST_SLOPE, (0, 0, 1, 1), value=1.0)
    inner = (y if inverse else x)[:, :, 1:]  # (n, d, K - 1, p), the first edge is -bound
    index = (point[:, :, None] >= inner).sum(dim=2, keepdim=True)  # (n, d, 1, p)

    def pick(values: Tensor) -> Tensor:
        return values.gather(2, index)[:, :, 0]  # (n, d, 1, p) -> (n, d, p)

    width, height = pick(widths), pick(heights)
    left, right = pick(slopes), pick(slopes[:, :, 1:])
    return _Bins(pick(x), pick(y), width, height, height / width, left, right)


def _edges(raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """(n, d, K, p) sizes that add up to 2 * bound, and the lower edge of each bin."""
    bins = raw.shape[2]
    share = SMALLEST_SHARE / bins + (1 - SMALLEST_SHARE) * raw.softmax(dim=2)
    sizes = 2 * bound * share
    return sizes, F.pad(sizes.cumsum(dim=2)[:, :, :-1], (0, 0, 1, 0)) - bound
