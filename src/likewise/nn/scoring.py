"""What rows of tokens cost: the lines that losses and likelihoods of families of sequences share.

Shapes: n rows, t tokens of x, w inputs of a row with what stands before x, K tokens in all.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, drop, take
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.nn.fused import surprisal
from likewise.nn.tokens import Reading

ROOM = 2**22  # logits that are held at once
DROPPED = 0.1  # of rows, whose labels and the like the model does not see


def dropped(c: Batch, steers: Conditions, rng: Draws) -> Batch:
    """A batch whose labels and the like are left out of some rows; texts stay as they are."""
    return {**c, **drop({steer.name: c[steer.name] for steer in steers}, DROPPED, rng)}


def nats(logits: Tensor, read: Reading) -> Tensor:
    """-log p of each token that counts, 0 elsewhere: (n, w), by logits (n, w, K)."""
    found = surprisal(logits.flatten(0, 1), read.targets.flatten())  # (n, w) -> (n * w,)
    return torch.where(read.scored, found.view_as(read.targets), 0.0)


def shares(nats: Tensor, scored: Tensor) -> Tensor:
    """(n,) losses of rows whose mean over rows is the mean over all tokens that count.

    Args:
        nats: (n,) of each row.
        scored: (n, w) bool: the tokens that count.

    Example:
        >>> shares(torch.tensor([2.0, 4.0]), torch.tensor([[True, False], [True, True]])).mean()
        tensor(2.)
    """
    return nats * len(nats) / scored.sum().clamp(min=1)


def fitting(space: Sequence) -> int:
    """How many rows of a Space have no more than `ROOM` logits."""
    return max(1, ROOM // (space.tokens * (space.length + 1)))


def in_pieces(
    judge: Callable[[Tensor, Batch], Tensor], x: Tensor, c: Batch | None, rows: int
) -> Tensor:
    """(n,) what `judge` says of rows x (n, t) under conditions, some rows at a time."""
    parts = [torch.zeros(0, device=x.device)]
    for first in range(0, len(x), rows):
        some = slice(first, first + rows)
        parts.append(judge(x[some], take(c or {}, some)))
    return torch.cat(parts)
