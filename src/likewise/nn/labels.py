"""Labels as one table of codes, for families that count: which rows go with which."""

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels, complete_batch

ABSENT = -1


def codes(c: Batch | None, conditions: Conditions, n: int, device: torch.device) -> Tensor:
    """(n, l) int64: the code of each of the l Labels conditions, `ABSENT` where it is absent."""
    wanted = tuple(condition for condition in conditions if isinstance(condition, Labels))
    full = complete_batch(c, wanted, n, device)
    columns = [
        torch.where(present, values, ABSENT)
        for values, present in (full[condition.name] for condition in wanted)
    ]
    return (
        torch.stack(columns, dim=1) if columns else torch.zeros(n, 0, dtype=torch.int64).to(device)
    )


def matches(asked: Tensor, table: Tensor) -> Tensor:
    """Which rows of a table go with each question; a question that none answers gets them all.

    Args:
        asked: (n, l) codes; an absent one asks for nothing.
        table: (m, l) codes.

    Returns:
        (n, m) bool, no row without a True.

    Example:
        >>> asked, table = torch.tensor([[1], [ABSENT], [7]]), torch.tensor([[0], [1]])
        >>> matches(asked, table).tolist()
        [[False, True], [True, True], [True, True]]
    """
    equal = (asked[:, None] == table[None]) | (asked[:, None] == ABSENT)  # (n, m, l)
    fits = equal.all(dim=-1)
    return fits | ~fits.any(dim=1, keepdim=True)


def distinct(asked: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows (u, l) of codes (n, l), and which of them each row is, (n,) int64."""
    if asked.shape[1] == 0:
        return asked[:1], torch.zeros(len(asked), dtype=torch.int64, device=asked.device)
    rows, inverse = asked.unique(dim=0, return_inverse=True)
    return rows, inverse
