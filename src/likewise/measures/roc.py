"""How well a score tells two groups apart: the area under the ROC curve, and its strict end.

The area is the chance that a member of the first group scores above one of the second, ties
counted half. The strict end is the share of the first group that is found while at most 1 % of the
second is wrongly accused: an attack that is sure of a few is worse than its area says (Carlini et
al., "Membership inference attacks from first principles", 2022).
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must
from likewise.measures.intervals import LEVEL, Interval, clopper_pearson

RATE = 0.01


class Share(NamedTuple):
    """A measured share and its interval."""

    value: float
    interval: Interval


def area(members: Tensor, others: Tensor, level: float = LEVEL) -> Share:
    """The area under the ROC curve, in [0, 1], with the interval of DeLong et al. (1988).

    Where the groups are fully apart (or all scores equal) that interval has no width. What stands
    in for it is exact: as many independent pairs as the smaller group allows, all alike (Clopper
    and Pearson, 1934).

    Args:
        members: (m,) scores that should be high.
        others: (n,) scores that should be low.
        level: of the interval.

    Raises:
        UsageError: a group has fewer than 2 scores, or a score is NaN.

    Example:
        >>> area(torch.tensor([2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0])).value
        0.9166666666666666
    """
    _check(members, others)
    above, below = _placements(members, others), 1.0 - _placements(others, members)
    value = float(above.mean())
    variance = float(above.var() / len(members) + below.var() / len(others))
    if variance > 0.0:
        half = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(variance)
    else:
        half = clopper_pearson(0, min(len(members), len(others)), level).high
    return Share(value, Interval(max(0.0, value - half), min(1.0, value + half)))


def found_at(members: Tensor, others: Tensor, rate: float = RATE, level: float = LEVEL) -> Share:
    """The share of members above a threshold that at most `rate` of the others are above.

    The threshold is estimated too, so an interval of the share alone would be too narrow. Here
    half of the error is spent on where the threshold lies (an interval of the others' quantile out
    of order statistics, which needs no shape) and half on the share above its two ends (Clopper
    and Pearson). It covers at least `level`, and is wide: with fewer than some 400 others the
    threshold has no upper end and the low end is 0.

    Args:
        members: (m,) scores that should be high.
        others: (n,) scores that should be low.
        rate: of others wrongly taken for members.
        level: of the interval.

    Raises:
        UsageError: a group has fewer than 2 scores, or a score is NaN.

    Example:
        >>> found_at(torch.arange(100.0) + 50, torch.arange(100.0), rate=0.1).value
        0.6
    """
    _check(members, others)
    ranked = others.double().sort(descending=True).values
    strict, lax = _ranks(len(others), rate, (1.0 + level) / 2)

    def above(rank: int) -> int:
        """How many members lie above the others' score of this rank, the highest being 0."""
        if rank < 0:
            return 0
        return int((members > ranked[rank]).sum()) if rank < len(ranked) else len(members)

    n = len(members)
    each = (1.0 + level) / 2
    low = clopper_pearson(above(strict), n, each).low
    high = clopper_pearson(above(lax), n, each).high
    return Share(above(math.floor(rate * len(others))) / n, Interval(low, high))


def _ranks(n: int, rate: float, level: float) -> tuple[int, int]:
    """Ranks (the highest is 0) between which the quantile lies with this confidence.

    -1 means above all scores, n below all. How many scores lie above the true threshold is
    binomial(n, rate).
    """
    from scipy.special import bdtr

    tail = (1.0 - level) / 2
    chances = torch.from_numpy(bdtr(range(n + 1), n, rate))  # of at most 0, 1, ..., n
    return int((chances < tail).sum()) - 1, int((chances < 1.0 - tail).sum())


def _placements(x: Tensor, y: Tensor) -> Tensor:
    """The share of y below each x, ties counted half: (n,) float64."""
    ranked = y.double().sort().values
    x = x.double()
    below = torch.searchsorted(ranked, x, right=False)
    through = torch.searchsorted(ranked, x, right=True)
    return (below + through).double() / (2 * len(ranked))


def _check(members: Tensor, others: Tensor) -> None:
    for x, whose in ((members, "members"), (others, "others")):
        if x.ndim != 1 or len(x) < 2:
            raise UsageError(must(f"the scores of {whose}", "(n,), at least 2", tuple(x.shape)))
        if bool(x.isnan().any()):
            raise UsageError(must(f"the scores of {whose}", "numbers", "NaN"))
