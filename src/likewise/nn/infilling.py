"""Rows of which any token may be hidden: who sees whom, how long documents are, what is hidden.

A row is what stands before x, p columns filled up on the *left*, and then x, t columns. In x an
`end` closes a document and a `pad` says that it breaks off there; both are *marks*: they open the
next document, and are never hidden. A row of x = (a b E c d), E the end, holds two documents: ab,
closed by the mark E, and cd, opened by it and left open.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from likewise.core.rng import Draws, fold
from likewise.core.space import Sequence

GOLDEN = 0.6180339887498949  # steps of so much fall evenly into [0, 1), however many they are


class Spans(NamedTuple):
    """The documents of rows x (n, t), by the column that opens each; column 0 is that before x.

    Attributes:
        opens: (n, t + 1) bool: whether a document begins behind this column.
        sizes: (n, t + 1) int64: how many tokens it has, without its end.
        closed: (n, t + 1) bool: whether an end follows them.
    """

    opens: Tensor
    sizes: Tensor
    closed: Tensor


def marks(x: Tensor, space: Sequence) -> Tensor:
    """(n, t) bool: the ends and the padding."""
    return (x == space.end) | (x == space.pad)


def spans(x: Tensor, space: Sequence) -> Spans:
    """Where the documents of rows x (n, t) begin, and how long they are.

    Example:
        >>> space = Sequence(length=5, tokens=9, end=7, pad=8)
        >>> found = spans(torch.tensor([[1, 2, 7, 3, 4]]), space)
        >>> found.sizes[found.opens].tolist(), found.closed[found.opens].tolist()
        ([2, 2], [True, False])
    """
    n, t = x.shape
    opens = torch.cat([x.new_ones(n, 1, dtype=torch.bool), marks(x, space)], dim=1)
    place = torch.arange(t + 2, device=x.device).expand(n, t + 2)
    beyond = torch.cat([opens, x.new_ones(n, 1, dtype=torch.bool)], dim=1)
    mark = torch.where(beyond, place, t + 1)  # (n, t + 2), t + 1 is behind the row
    following = mark.flip(1).cummin(dim=1).values.flip(1)[:, 1:]  # (n, t + 1) the next mark
    ends = torch.cat([x == space.end, x.new_zeros(n, 1, dtype=torch.bool)], dim=1)
    closed = ends.gather(1, following - 1)  # column i + 1 of a row is place i of x
    return Spans(opens, following - place[:, :-1] - 1, closed)


def right_aligned(rows: Tensor, lengths: Tensor, pad: int) -> Tensor:
    """Rows (n, p) filled up on the right as rows filled up on the left.

    Example:
        >>> right_aligned(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]), 9).tolist()
        [[1, 2, 3], [9, 9, 4]]
    """
    place = torch.arange(rows.shape[1], device=rows.device) - (rows.shape[1] - lengths)[:, None]
    return torch.where(place >= 0, rows.gather(1, place.clamp(min=0)), pad)


def sight(before: Tensor, lengths: Tensor, x: Tensor, space: Sequence) -> Tensor:
    """Who sees whom, both ways within a document: (n, 1, p + t, p + t) bool, rows see columns.

    A token of x sees what stands before its document, the document, hidden tokens too, and the
    end that closes it. What stands before, and marks, do not see x: how long a document is can be
    asked of them. In packed rows, what stands before an end in the prompt is another document.

    Args:
        before: (n, p) what stands before x, filled up on the left.
        lengths: (n,) of it.
        x: (n, t) with any number in hidden places but `end` and `pad`.
        space: of x.
    """
    (n, p), mark = before.shape, marks(x, space)
    column = torch.arange(p, device=x.device).expand(n, p)
    ends = (before == space.end) & space.packed
    own = ends.long().cumsum(dim=1) - ends.sum(dim=1, keepdim=True)  # that of x is 0
    own = torch.where(column >= p - lengths[:, None], own, column - 2 * p)  # filling: alone
    number = torch.cat([own, mark.long().cumsum(dim=1)], dim=1)  # (n, p + t)
    head = torch.cat([torch.ones_like(before, dtype=torch.bool), mark], dim=1)
    end = torch.cat([torch.zeros_like(before, dtype=torch.bool), x == space.end], dim=1)
    mine, other = number[:, :, None], number[:, None, :]
    asks, heard = head[:, :, None], head[:, None, :]
    seen = (mine == other) & (heard | ~asks)
    closing = end[:, None, :] & (other == mine + 1) & ~asks
    return (seen | closing)[:, None]


def spread(n: int, rng: Draws) -> Tensor:
    """(n,) numbers in [0, 1), each uniform and together even; row i's depends on its sample."""
    offset = Draws(fold(rng.seed, "spread", rng.draw)).uniform(1).double()
    samples = torch.arange(rng.start, rng.start + n, dtype=torch.float64)
    return ((offset + GOLDEN * samples) % 1.0).to(rng.device)


def ranks(among: Tensor, rng: Draws) -> Tensor:
    """(n, t) int64: the place of each of `among` (n, t) in a random order of them; then others."""
    n, t = among.shape
    keys = rng.uniform(n, t).to(among.device).masked_fill(~among, 2.0)
    return keys.argsort(dim=1, stable=True).argsort(dim=1)


def turn(among: Tensor, order: Tensor, share: Tensor, start: Tensor) -> Tensor:
    """Which of N tokens are hidden: floor(share N) + 1 of them, from number `start` of an order.

    With a share uniform in [0, 1) their number is uniform in 1..N. Those whose turn is later are
    hidden when the order goes on at its beginning.

    Args:
        among: (n, t) bool: the tokens.
        order: (n, t) their `ranks`.
        share: (n,) in [0, 1).
        start: (n,) int64.

    Example:
        >>> among, order = torch.ones(1, 4, dtype=torch.bool), torch.tensor([[2, 0, 3, 1]])
        >>> turn(among, order, torch.tensor([0.3]), torch.tensor([3])).tolist()
        [[False, True, True, False]]
    """
    total = among.sum(dim=1)
    count = torch.minimum((share * total).long() + 1, total)
    late = (order - start[:, None]) % total.clamp(min=1)[:, None]
    return among & (late < count[:, None])
