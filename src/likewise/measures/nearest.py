"""Nearest neighbours and balls, exactly, at the speed of a matrix product in float32.

The product leaves few pairs open: those whose squared distance is nearer to the limit in question
than its rounding could be (Higham, "Accuracy and stability of numerical algorithms", 2002,
section 3.1). Only their distances are taken from differences in float64, so what is returned is
what all differences would have given, to the bit.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must
from likewise.measures.measure import RefusalError

_ENTRIES = 1 << 22  # of one piece of a distance matrix: 32 MiB in float64
_FEWEST = 128  # rows of a piece, below which products wait for memory
_GROUPS = 256  # parts of a row, of each of which only the least is looked at first
_CROWDED = 16  # of so many pairs one is open: from here on all differences are cheaper


def nearest(
    a: Tensor, b: Tensor, *, k: int = 1, exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    """The k nearest rows of b for each row of a, by Euclidean distance, nearest first.

    A copy is at distance 0; of rows at one distance any may come first.

    Args:
        a: (n, d).
        b: (m, d).
        k: how many neighbours.
        exclude_self: a and b are the same rows, and a row is not its own neighbour.

    Returns:
        distances (n, k) float64 and rows of b (n, k) int64.

    Raises:
        UsageError: b has fewer than k rows to choose from, or the widths or rows do not agree.
        RefusalError: a distance is no finite number.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> nearest(x, x, exclude_self=True)[0].flatten().tolist()
        [1.0, 1.0, 2.0]
    """
    _check(a, b, k, exclude_self)
    rounded, rank = _Rounded.of(a, b), k + exclude_self
    groups = _GROUPS if len(b) >= 2 * _GROUPS >= 4 * rank else 1
    width = -(-len(b) // groups) * groups
    found, space = [], rounded.a.new_full((_rows(a, width), width), torch.inf)
    for start, block in _blocks(rounded.a, width):
        score = space[: len(block)]
        torch.addmm(rounded.norms_b, block, rounded.b.T, alpha=-2.0, out=score[:, : len(b)])
        slack = 2 * rounded.slack[start : start + len(block)]
        open_ = _lowest(score.view(len(block), -1, groups), rank, slack)
        own = a[start : start + len(block)]
        if open_.shape[1] * _CROWDED > len(own) * len(b):
            distance = _all_distances(own, b)
            if exclude_self:
                distance.diagonal(start).fill_(torch.inf)
            found.append(tuple(distance.topk(k, dim=1, largest=False)))
            continue
        if exclude_self:
            open_ = open_[:, open_[1] != open_[0] + start]
        found.append(_first(open_, _distances(own, b, open_), len(own), k))
    distances, rows = zip(*found, strict=True)
    return torch.cat(distances), torch.cat(rows)


def radii(x: Tensor, k: int) -> Tensor:
    """The distance from each row to its k-th nearest other row: (n,) float64."""
    return nearest(x, x, k=k, exclude_self=True)[0][:, -1]


def inside(points: Tensor, centres: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """How many balls hold each point, (n,), and how many points each ball holds, (m,), int64.

    A point at the very distance of the radius is outside.

    Args:
        points: (n, d).
        centres: (m, d).
        radius: (m,) of the balls around them.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> [counts.tolist() for counts in inside(x, x, torch.tensor([1.5, 2.0, 2.0]))]
        [[2, 2, 1], [2, 2, 1]]
    """
    rounded = _Rounded.of(points, centres)
    limit = (radius.double() * rounded.scale).square()
    offsets = (rounded.norms_b.double() - limit).float()
    slack = 2 * rounded.slack + 4 * torch.finfo(torch.float32).eps * float(limit.max())
    space = offsets.new_empty(2, _rows(points, len(centres)), len(centres))
    held, holds = [], torch.zeros(len(centres), dtype=torch.int64, device=points.device)
    for start, block in _blocks(rounded.a, len(centres)):
        rows = slice(start, start + len(block))
        score, flags = space[:, : len(block)]
        torch.addmm(offsets, block, rounded.b.T, alpha=-2.0, out=score)
        # Flags as floats: they are summed faster, and exactly below 2^24.
        sure = torch.lt(score, (-rounded.norms_a - slack)[rows, None], out=flags)
        maybe = torch.lt(score, (-rounded.norms_a + slack)[rows, None], out=score)
        found = sure.sum(dim=1)
        doubted = (maybe.sum(dim=1) != found).nonzero()
        open_ = (maybe[doubted[:, 0]] != sure[doubted[:, 0]]).nonzero().T
        open_ = torch.stack([doubted[open_[0], 0], open_[1]])
        within = open_[:, _distances(points[rows], centres, open_) < radius[open_[1]]]
        held.append(found.long() + within[0].bincount(minlength=len(block)))
        holds += sure.sum(dim=0).long() + within[1].bincount(minlength=len(centres))
    return torch.cat(held), holds


def distance_blocks(a: Tensor, b: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, distances (rows, m) float64), block by block of a's rows; for low widths.

    Distances come from differences, so d(x, y) and d(y, x) are the same bits in every block.
    """
    a, b = a.double(), b.double()
    for start, block in _blocks(a, len(b)):
        yield start, _cdist(block, b)


class _Rounded(NamedTuple):
    """Rows of both sides about one origin, in float32, no longer than 1.

    Attributes:
        a: (n, d); b: (m, d).
        norms_a: (n,) |a|^2; norms_b: (m,) |b|^2.
        slack: (n,) by how much |b|^2 - 2 a.b may be off, whatever the b.
        scale: what the rows were multiplied with.
    """

    a: Tensor
    b: Tensor
    norms_a: Tensor
    norms_b: Tensor
    slack: Tensor
    scale: float

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> "_Rounded":
        # Products lose least near the origin; the mean is taken without a copy in float64.
        origin = torch.stack([part.double().sum(dim=0) for part in _parts(b)]).sum(dim=0) / len(b)
        size_b = _lengths(b, origin)
        size_a = size_b if a is b else _lengths(a, origin)
        longest = float(torch.maximum(size_a.max(), size_b.max()))
        if not math.isfinite(longest):
            raise RefusalError(
                "the rows are so large that their distances overflow, or no numbers."
            )
        scale = 1.0 / longest if longest > 0 else 1.0
        low_b = _lowered(b, origin, scale)
        low_a = low_b if a is b else _lowered(a, origin, scale)
        size_a, size_b = size_a * scale, size_b * scale
        reach, d = float(size_b.max()), a.shape[1]
        # d products are summed; what they are added to is rounded with them, a few times more.
        error = 2 * (d + 8) * size_a * reach + (8 + d // 128) * (size_a + reach).square()
        slack = torch.finfo(torch.float32).eps / 2 * error
        squares = size_a.square().float(), size_b.square().float()
        return cls(low_a, low_b, *squares, slack.float(), scale)


def _lengths(x: Tensor, origin: Tensor) -> Tensor:
    """(n,) float64 distances from the origin."""
    return torch.cat([(part.double() - origin).norm(dim=1) for part in _parts(x)])


def _lowered(x: Tensor, origin: Tensor, scale: float) -> Tensor:
    """(n, d) float32, each number rounded once."""
    low = torch.empty_like(x, dtype=torch.float32)
    for part, into in zip(_parts(x), _parts(low), strict=True):
        into.copy_((part.double() - origin) * scale)
    return low


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    """Rows in pieces that stay in cache."""
    return x.split(max(1, (1 << 17) // max(1, x.shape[1])))


def _lowest(score: Tensor, rank: int, slack: Tensor) -> Tensor:
    """(2, p): every (row, column) that may be among the `rank` least of its row.

    The `rank`-th least of the least of each group is no less than the one that is looked for.

    Args:
        score: (rows, m / groups, groups), column i standing at (i // groups, i % groups).
        slack: (rows,) by how much two scores may be in the wrong order.
    """
    groups = score.shape[2]
    if groups == 1:
        score = score.flatten(1)
        limit = score.kthvalue(rank, dim=1).values + slack
        return (score <= limit[:, None]).nonzero().T
    least = score.amin(dim=1)  # (rows, groups)
    limit = least.topk(rank, dim=1, largest=False).values[:, -1] + slack
    row, group = (least <= limit[:, None]).nonzero().T
    member, place = (score[row, :, group] <= limit[row, None]).nonzero().T
    return torch.stack([row[member], place * groups + group[member]])


def _distances(a: Tensor, b: Tensor, pairs: Tensor) -> Tensor:
    """(p,) float64 distances of pairs (2, p) of rows of a and b, the bits of `distance_blocks`."""
    if pairs.shape[1] * _CROWDED > len(a) * len(b):
        return _all_distances(a, b)[pairs[0], pairs[1]]
    size = max(1, _ENTRIES // max(1, a.shape[1]))
    parts = [
        _cdist(a[i].double()[:, None], b[j].double()[:, None]).flatten()
        for i, j in (part.unbind() for part in pairs.split(size, dim=1))
    ]
    return torch.cat(parts)


def _all_distances(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) float64, with no more than a piece of b in float64 at once."""
    x = a.double()
    return torch.cat([_cdist(x, part.double()) for part in _parts(b)], dim=1)


def _first(pairs: Tensor, distance: Tensor, rows: int, k: int) -> tuple[Tensor, Tensor]:
    """The k least distances (rows, k) of each row, and their columns."""
    order = distance.argsort()
    order = order[pairs[0, order].argsort(stable=True)]
    count = torch.bincount(pairs[0], minlength=rows)
    places = (count.cumsum(0) - count)[:, None] + torch.arange(k, device=pairs.device)
    chosen = order[places]
    return distance[chosen], pairs[1, chosen]


def _cdist(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _rows(a: Tensor, width: int) -> int:
    """How many rows of a make one block, beside so many columns."""
    return min(len(a), max(_FEWEST, _ENTRIES // max(1, width)))


def _blocks(a: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
    size = _rows(a, width)
    for start in range(0, len(a), size):
        yield start, a[start : start + size]


def _check(a: Tensor, b: Tensor, k: int, exclude_self: bool) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        shapes = (tuple(a.shape), tuple(b.shape))
        raise UsageError(must("both sides", "(rows, width) of one width", shapes))
    if exclude_self and len(a) != len(b):
        raise UsageError(must("both sides", "the same rows", (len(a), len(b))))
    if not len(a) or not len(b) - exclude_self >= k >= 1:
        raise UsageError(must("the rows", f"enough for {k} neighbours each", len(b)))
