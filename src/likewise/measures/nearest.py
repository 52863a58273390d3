"""Nearest neighbours, exactly and in pieces that fit in memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must

_ENTRIES = 1 << 22  # of one piece of a distance matrix: 32 MiB in float64


def nearest(
    a: Tensor, b: Tensor, *, k: int = 1, exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    """The k nearest rows of b for each row of a, by Euclidean distance, nearest first.

    Candidates come from a matrix product; their distances are then taken from differences, so a
    copy is at distance 0 and not at a rounding error.

    Args:
        a: (n, d).
        b: (m, d).
        k: how many neighbours.
        exclude_self: a and b are the same rows, and a row is not its own neighbour.

    Returns:
        distances (n, k) float64 and rows of b (n, k) int64.

    Raises:
        UsageError: b has fewer than k rows to choose from, or the widths or rows do not agree.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> nearest(x, x, exclude_self=True)[0].flatten().tolist()
        [1.0, 1.0, 2.0]
    """
    _check(a, b, k, exclude_self)
    origin = b.double().mean(dim=0)  # products lose least near the origin
    a, b = a.double() - origin, b.double() - origin
    norms = b.square().sum(dim=1)
    candidates = min(len(b), k + 4)  # room for the row itself, and for swaps by rounding
    distances, rows = [], []
    for start, block in _blocks(a, len(b) + candidates * a.shape[1]):
        score = torch.addmm(norms[None, :], block, b.T, alpha=-2.0)  # (block, m), + |row|^2
        near = score.topk(candidates, dim=1, largest=False).indices.sort(dim=1).values
        exact = (block[:, None, :] - b[near]).square().sum(dim=2).sqrt()  # (block, candidates)
        if exclude_self:
            own = torch.arange(start, start + len(block), device=a.device)
            exact[near == own[:, None]] = torch.inf
        order = exact.argsort(dim=1, stable=True)[:, :k]
        distances.append(exact.gather(1, order))
        rows.append(near.gather(1, order))
    return torch.cat(distances), torch.cat(rows)


def distance_blocks(a: Tensor, b: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, distances (rows, m) float64), block by block of a's rows; for low widths.

    Distances come from differences, so d(x, y) and d(y, x) are the same bits in every block.
    """
    a, b = a.double(), b.double()
    for start, block in _blocks(a, len(b)):
        yield start, torch.cdist(block, b, compute_mode="donot_use_mm_for_euclid_dist")


def radii(x: Tensor, k: int) -> Tensor:
    """The distance from each row to its k-th nearest other row: (n,) float64."""
    _check(x, x, k, exclude_self=True)
    # The row itself is among its neighbours at distance 0, hence k + 1.
    parts = [block.kthvalue(k + 1, dim=1).values for _, block in distance_blocks(x, x)]
    return torch.cat(parts)


def _blocks(a: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
    size = max(1, _ENTRIES // max(1, width))
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
