"""Rows of tokens as a left-to-right family reads them: what stands before, then x.

A family of sequences predicts each token from those before it. What stands before x is given by
conditions: a text to work on (`source`), then the tokens just before x (`prompt`), or `pad` where
these are not known.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Tokens
from likewise.core.space import Sequence

PROMPT = "prompt"  # the condition that x follows on directly
SCORED = "scored"  # in a training batch: which tokens of x the loss counts
EARLIER = "earlier"  # in a training batch: what stands before the prompt of a window
UNBOUNDED = 2**40  # inputs of a row, where no prompt needs to be cut


def aside(conditions: Conditions) -> int:
    """How many tokens of texts to work on stand before x, at most; they take no room from it."""
    return sum(text.length for text in texts(conditions) if text.name != PROMPT)


class Reading(NamedTuple):
    """Rows as they are read, w inputs each, filled up on the right.

    Attributes:
        inputs: (n, w) int64.
        targets: (n, w) int64: the token after each input.
        scored: (n, w) bool: whether that is a token of x that counts.
    """

    inputs: Tensor
    targets: Tensor
    scored: Tensor


def texts(conditions: Conditions) -> tuple[Tokens, ...]:
    """The conditions that are read before x, in the order in which they are read."""
    before = [condition for condition in conditions if isinstance(condition, Tokens)]
    return tuple(sorted(before, key=lambda condition: condition.name == PROMPT))


def prefixes(
    space: Sequence, conditions: Conditions, c: Batch | None, n: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What stands before x: (n, p) int64 filled up on the right, and (n,) lengths, 1 at least.

    The last one is the first input of x: the prompt's last token, or `pad` without a prompt.
    """
    start = torch.full((n, 1), space.pad, device=device)
    one = torch.ones(n, dtype=torch.int64, device=device)
    parts, lengths = [], []
    for condition in texts(conditions):
        if c is None or condition.name not in c:
            continue
        values, present = (part.to(device) for part in c[condition.name])
        size = torch.full_like(one, values.shape[1])
        if condition.pad is not None:
            size = (values != condition.pad).sum(dim=1)
        parts.append(values)
        lengths.append(torch.where(present, size, 0))
    prompted = any(name == PROMPT for name in c or {}) and bool(parts)
    alone = one if not prompted else (lengths[-1] == 0).long()
    # The start stands before an absent prompt; a present one is its own start.
    return _joined([*parts, start], [*lengths, alone], space.pad)


def reading(
    space: Sequence,
    conditions: Conditions,
    x: Tensor,
    c: Batch | None,
    *,
    room: int | None = None,
) -> Reading:
    """How rows x (n, t) are read after what their conditions put before them.

    All of x is read, and the latest of what stands before it that there is room for: where both
    do not fit, a row is judged after as much as its own length leaves, whatever rows it is with.
    Such a cut tells how long x is; prompts that leave room for any x tell nothing.

    Args:
        space: of x.
        conditions: of the family.
        x: (n, t).
        c: what stands before, and perhaps which tokens of x are scored.
        room: inputs of a row, at most; by default `space.length + 1`, and as many more as texts
            to work on may be long.
    """
    room = space.length + 1 + aside(conditions) if room is None else room
    n = len(x)
    counted = space.mask(x)
    ends = torch.arange(x.shape[1], device=x.device).expand_as(x)
    sizes = torch.where(counted, ends + 1, 0).amax(dim=1)
    before, lengths = prefixes(space, conditions, c, n, x.device)
    before, lengths = cut(before, lengths, room + 1 - sizes)
    if c is not None and SCORED in c:
        values, present = c[SCORED]
        counted = counted & (values.to(x.device) | ~present.to(x.device)[:, None])
    row, _ = _joined([before, x], [lengths, sizes], space.pad)
    flags, _ = _joined([torch.zeros_like(before), counted.long()], [lengths, sizes], 0)
    return Reading(row[:, :-1], row[:, 1:], flags[:, 1:].bool())


def cut(rows: Tensor, lengths: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """The last `most` (n,) tokens of each row, one at least: rows and lengths as `prefixes`."""
    kept = torch.minimum(lengths, most.clamp(min=1))
    if bool((kept == lengths).all()):
        return rows, lengths
    place = torch.arange(int(kept.max()), device=rows.device) + (lengths - kept)[:, None]
    return rows.gather(1, place.clamp(max=rows.shape[1] - 1)), kept


def documents(inputs: Tensor, end: int) -> Tensor:
    """(n, w) the number of the document that each input belongs to; an end begins the next.

    Example:
        >>> documents(torch.tensor([[5, 9, 6, 9, 7]]), end=9).tolist()
        [[0, 1, 1, 2, 2]]
    """
    return (inputs == end).long().cumsum(dim=1)


def _joined(parts: list[Tensor], lengths: list[Tensor], pad: int) -> tuple[Tensor, Tensor]:
    """Rows side by side without the filling between them: (n, w) and (n,) lengths."""
    total = torch.stack(lengths).sum(dim=0)
    whole = parts[0].new_full((len(total), int(total.max()) + 1), pad)
    at = torch.zeros_like(total)
    for values, size in zip(parts, lengths, strict=True):
        place = torch.arange(values.shape[1], device=values.device)
        inside = place < size[:, None]
        # what is filling goes to the last column, which is thrown away
        target = torch.where(inside, at[:, None] + place, whole.shape[1] - 1)
        whole.scatter_(1, target, values)
        at = at + size
    return whole[:, :-1].masked_fill(
        torch.arange(whole.shape[1] - 1, device=whole.device) >= total[:, None], pad
    ), total


def silence(space: Sequence) -> Tensor | None:
    """(tokens,) what is added to logits so that padding never follows; None where it may.

    Example:
        >>> silence(Sequence(length=4, tokens=3, end=1, pad=2))
        tensor([0., 0., -inf])
    """
    if space.pad == space.end or space.pad >= space.tokens:
        return None
    added = torch.zeros(space.tokens)
    added[space.pad] = -torch.inf
    return added
