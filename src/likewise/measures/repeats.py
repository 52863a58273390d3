"""How many different examples a generator makes, by the birthday paradox.

Arora and Zhang, "Do GANs actually learn the distribution? An empirical study", 2017: among s
samples of a generator that makes N different ones, all alike often, about s^2 / (2 N) pairs are of
the same one. So the share of pairs that are near-duplicates estimates 1 / N; where some are made
more often than others it gives the number of equally frequent ones that would repeat as often.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must
from likewise.measures.intervals import LEVEL, Interval
from likewise.measures.nearest import distance_blocks


class Repeats(NamedTuple):
    """Near-duplicates among all pairs of some examples.

    Attributes:
        pairs: that are near-duplicates.
        possible: how many pairs there are.
        rate: the interval of their share of all pairs, 1 / the number of different examples.
    """

    pairs: int
    possible: int
    rate: Interval


def repeats(x: Tensor, within: float, level: float = LEVEL) -> Repeats:
    """The pairs of rows that are at most `within` apart.

    The interval is that of a Poisson count (Garwood, 1936), widened by how much more this count
    varies: an example that is made k times adds k (k - 1) / 2 pairs at once.

    Args:
        x: (n, d), n at least 2.
        within: a Euclidean distance; at 0 only exact copies count.
        level: of the interval.

    Raises:
        UsageError: there are fewer than 2 rows.

    Example:
        >>> found = repeats(torch.tensor([[0.0], [0.1], [5.0]]), 0.2)
        >>> found.pairs, found.possible
        (1, 3)
    """
    n = len(x)
    if x.ndim != 2 or n < 2:
        raise UsageError(must("the examples", "(rows, width), at least 2 rows", tuple(x.shape)))
    blocks = distance_blocks(x, x)
    degrees = torch.cat([(block <= within).sum(dim=1) - 1 for _, block in blocks])  # not oneself
    pairs, possible = int(degrees.sum()) // 2, n * (n - 1) // 2
    shared = float((degrees * (degrees - 1)).sum())  # pairs of pairs that share a row
    alone = n * (n - 1) * (n - 2) * (pairs / possible) ** 2  # as many if all were alike
    wider = 1.0 + max(0.0, shared - alone) / pairs if pairs else 1.0
    low, high = _poisson(pairs / wider, level)
    return Repeats(pairs, possible, Interval(low * wider / possible, high * wider / possible))


def _poisson(count: float, level: float) -> Interval:
    """The interval of the mean of a Poisson count (Garwood, 1936)."""
    from scipy.special import gammaincinv

    tail = (1.0 - level) / 2
    low = float(gammaincinv(count, tail)) if count > 0 else 0.0
    return Interval(low, float(gammaincinv(count + 1.0, 1.0 - tail)))
