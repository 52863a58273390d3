"""Intervals: how far a measured number may be from what it estimates.

Shares of a count: Wilson (1927), exact Clopper and Pearson (1934). A difference of two shares:
Newcombe (1998), method 10. Means: Student. Anything else: the delete-group jackknife (Kott, 2001),
which leaves out one group of rows at a time; unlike a bootstrap it repeats no row, so it does not
add to the bias of distances that grow as n falls.

Every function takes a `level`, so that an audit can control errors over all of its rules.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must
from likewise.core.rng import fold, generator

LEVEL = 0.95
GROUPS = 20


class Interval(NamedTuple):
    """The two ends of an interval."""

    low: float
    high: float


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """The score interval of a share, in [0, 1]; never empty, not even at 0 or n successes.

    Raises:
        UsageError: n is 0, or the successes are not in 0 .. n.

    Example:
        >>> low, high = wilson(0, 10)
        >>> low, round(high, 4)
        (0.0, 0.2775)
    """
    _check_count(successes, n)
    z, share = _normal_quantile(level), successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(low, high)


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """The exact interval of a share: covers at least `level` of the time, at every share.

    Raises:
        UsageError: n is 0, or the successes are not in 0 .. n.

    Example:
        >>> round(clopper_pearson(0, 10).high, 4)
        0.3085
    """
    from scipy.special import betaincinv

    _check_count(successes, n)
    tail, failures = (1 - level) / 2, n - successes
    low = 0.0 if successes == 0 else float(betaincinv(successes, failures + 1, tail))
    high = 1.0 if failures == 0 else float(betaincinv(successes + 1, failures, 1 - tail))
    return Interval(low, high)


def newcombe(
    successes: int, n: int, other_successes: int, other_n: int, level: float = LEVEL
) -> Interval:
    """The interval of a share minus another, independent share, out of their Wilson intervals.

    Raises:
        UsageError: a count is impossible.

    Example:
        >>> low, high = newcombe(56, 70, 48, 80)
        >>> round(low, 4), round(high, 4)
        (0.0524, 0.3339)
    """
    return weighed([(1.0, successes, n), (-1.0, other_successes, other_n)], level)


def weighed(terms: Sequence[tuple[float, int, int]], level: float = LEVEL) -> Interval:
    """The interval of a weighted sum of independent shares, out of their Wilson intervals.

    Zou and Donner, "Construction of confidence limits about effect measures", 2008.

    Args:
        terms: (weight, successes, n) of each.
        level: of the interval.

    Raises:
        UsageError: a count is impossible.

    Example:
        >>> low, high = weighed([(1.0, 50, 100), (-2.0, 10, 100)])
        >>> round(low, 3), round(high, 3)
        (0.123, 0.431)
    """
    value, below, above = 0.0, 0.0, 0.0
    for weight, successes, n in terms:
        share, (low, high) = successes / n, wilson(successes, n, level)
        value += weight * share
        down, up = (share - low, high - share) if weight > 0 else (high - share, share - low)
        below, above = math.hypot(below, weight * down), math.hypot(above, weight * up)
    return Interval(value - below, value + above)


def mean_interval(values: Tensor, level: float = LEVEL) -> Interval:
    """Student's interval of the mean of independent values (n,), n at least 2.

    Raises:
        UsageError: there are fewer than 2 values.

    Example:
        >>> low, high = mean_interval(torch.tensor([1.0, 2.0, 3.0]))
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
    """
    if len(values) < 2:
        raise UsageError(must("the number of values", "at least 2", len(values)))
    exact = values.double()
    mean, error = float(exact.mean()), float(exact.std()) / math.sqrt(len(values))
    half = student_quantile(len(values) - 1, level) * error
    return Interval(mean - half, mean + half)


def welch(first: Tensor, second: Tensor, level: float = LEVEL) -> Interval:
    """Interval of the mean of values (n,) less that of independent ones (m,), 2 each at least.

    Their spreads may differ (Welch, "The generalization of Student's problem when several
    different population variances are involved", 1947).

    Raises:
        UsageError: there are fewer than 2 values.

    Example:
        >>> low, high = welch(torch.tensor([4.0, 5.0, 6.0]), torch.tensor([1.0, 2.0, 3.0]))
        >>> round(low, 3), round(high, 3)
        (0.733, 5.267)
    """
    least = min(len(first), len(second))
    if least < 2:
        raise UsageError(must("the number of values", "at least 2", least))
    one, other = first.double(), second.double()
    squares = [float(x.var()) / len(x) for x in (one, other)]
    total, gap = sum(squares), float(one.mean() - other.mean())
    if total == 0.0:
        return Interval(gap, gap)
    parts = zip(squares, (one, other), strict=True)
    freedom = total**2 / sum(square**2 / (len(x) - 1) for square, x in parts)
    half = student_quantile(freedom, level) * math.sqrt(total)
    return Interval(gap - half, gap + half)


def jackknife(value: float, replicates: Sequence[float], level: float = LEVEL) -> Interval:
    """The delete-group jackknife interval: var = (g - 1) / g * sum (replicate - their mean)^2.

    Args:
        value: the statistic of all rows.
        replicates: the statistic without group 1, without group 2, ..., without group g.
        level: of the interval, by Student's t with g - 1 degrees of freedom.

    Raises:
        UsageError: there are fewer than 2 replicates.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0])
        >>> interval = jackknife(2.0, [float((x.sum() - row) / 2) for row in x])
        >>> round(interval.low, 3) == round(mean_interval(x).low, 3)
        True
    """
    count = len(replicates)
    if count < 2:
        raise UsageError(must("the number of replicates", "at least 2", count))
    middle = math.fsum(replicates) / count
    spread = math.fsum((replicate - middle) ** 2 for replicate in replicates)
    half = student_quantile(count - 1, level) * math.sqrt((count - 1) / count * spread)
    return Interval(value - half, value + half)


def deal(n: int, groups: int = GROUPS, seed: int = 0) -> Tensor:
    """A group number for each of n rows: (n,) int64 in [0, groups), sizes equal within one.

    Rows are dealt at random (by the seed), because rows often come sorted by class.

    Example:
        >>> deal(7, 3).bincount().tolist()
        [3, 2, 2]
    """
    order = torch.randperm(n, generator=generator(fold(seed, "deal")))
    numbers = torch.empty(n, dtype=torch.int64)
    numbers[order] = torch.arange(n) % groups
    return numbers


def student_quantile(freedom: float, level: float = LEVEL) -> float:
    """The half-width of a two-sided Student interval in standard errors."""
    from scipy.special import stdtrit

    _check_level(level)
    return float(stdtrit(freedom, 0.5 + level / 2))


def _normal_quantile(level: float) -> float:
    _check_level(level)
    return NormalDist().inv_cdf(0.5 + level / 2)


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise UsageError(must("level", "between 0 and 1", level))


def _check_count(successes: int, n: int) -> None:
    if n < 1:
        raise UsageError(must("n", "at least 1", n))
    if not 0 <= successes <= n:
        raise UsageError(must("successes", f"in 0..{n}", successes))
