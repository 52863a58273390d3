"""Speculative decoding: a small model proposes tokens, a large one reads them all at once.

Leviathan et al., "Fast inference from transformers via speculative decoding", 2023, and Chen et
al., "Accelerating large language model decoding with speculative sampling", 2023. A proposal x
from the draft's q is kept with probability min(1, p(x) / q(x)); the first that is not is replaced
by one of max(0, p - q). What comes out is distributed as the large model's p, whatever the draft.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from likewise.core.contract import Controls
from likewise.core.rng import Draws
from likewise.nn.decoding import Growing, Reader, masses, picked, without

AHEAD = 4  # tokens that are proposed at a time
SPARE = 16  # tokens that a reader can take back at most

Shares: TypeAlias = Callable[[Tensor], Tensor]
"""logits (..., K) -> the masses (..., K) of sum 1 that are drawn from"""


class Retracting(Reader, Protocol):
    """A reader that can read several tokens at once, and take some of them back."""

    def extend(self, tokens: Tensor) -> Tensor:
        """Logits (n, k, tokens) after each of k more tokens of each row (n, k)."""
        ...

    def forget(self, counts: Tensor) -> None:
        """Take back the last tokens of each row, so many (n,), 0 to SPARE."""
        ...


class Spoken(NamedTuple):
    """What a round gave to each row that was open.

    Attributes:
        rows: (m,) the numbers of the rows.
        tokens: (m, k) int64.
        logits: (m, k, K) of the large model at each place.
        counts: (m,) how many of the k are the row's, 1 at least; the rest is filling.
    """

    rows: Tensor
    tokens: Tensor
    logits: Tensor
    counts: Tensor


def speculate(
    reader: Retracting,
    draft: Retracting,
    rows: Tensor,
    lengths: Tensor,
    *,
    most: Tensor,
    end: int,
    rng: Draws,
    controls: Controls = Controls(),
    ahead: int = AHEAD,
    never: int | None = None,
) -> Generator[Spoken, Tensor | None, None]:
    """What `generate` gives, in rounds of up to `ahead` + 1 tokens a row.

    Greedy rows are those of `generate`; others are distributed alike, of other draws. A consumer
    that closes a row earlier sends its number, as to `generate`.

    Args:
        reader: of the large model; has read nothing yet.
        draft: of the small one.
        rows: (n, p) int64 what is continued, filled up on the right.
        lengths: (n,) of them, 1 at least.
        most: (n,) new tokens at most.
        end: the token that closes a row.
        rng: row i draws as its sample i.
        controls: of both models; a repetition penalty is not among what they can do.
        ahead: tokens that are proposed at a time, 1 to SPARE.
        never: a token that is not chosen, or None.
    """

    def shares(logits: Tensor) -> Tensor:
        return masses(without(logits, never), controls)

    n, many = len(rows), max(1, int(most.max()))
    points = rng.uniform(n, 3 * many).view(n, many, 3).to(rows.device).double()
    logits = reader.begin(rows, lengths)
    draft.begin(rows, lengths)
    growing = Growing(most.to(rows.device), end, reader, draft)
    tokens = picked(shares(logits), points[:, 0, 2])[:, None]
    spoken = _spoken(growing.rows, tokens, logits[:, None], torch.ones_like(growing.made), end)
    while True:
        closed = yield spoken
        last = spoken.tokens.gather(1, spoken.counts[:, None] - 1)[:, 0]
        last = growing.grow(last, spoken.counts, closed)
        if not len(last):
            return
        some_ahead = min(ahead, int((growing.most - growing.made).min()) - 1)
        place = growing.made[:, None] + torch.arange(some_ahead + 1, device=rows.device)
        now = points[growing.rows[:, None], place]  # (m, k + 1, 3)
        tokens, logits, counts = _round(reader, draft, last, now, shares)
        spoken = _spoken(growing.rows, tokens, logits, counts, end)


def _round(
    reader: Retracting, draft: Retracting, last: Tensor, points: Tensor, shares: Shares
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (m, k + 1) after `last` (m,), their logits, and how many of them hold (m,).

    Both models have read what stands before `last`, and then what stands before the last of
    what holds.
    """
    k = points.shape[1] - 1
    proposed, small = _proposed(draft, last, points[:, :k, 0], shares)
    logits = reader.extend(torch.cat([last[:, None], proposed], dim=1))
    large = shares(logits)  # (m, k + 1, K)
    p = large[:, :k].gather(2, proposed[:, :, None])[:, :, 0]
    q = small.gather(2, proposed[:, :, None])[:, :, 0]
    held = (points[:, :k, 1] * q < p).long().cumprod(dim=1).sum(dim=1)  # (m,)
    rest = torch.cat([(large[:, :k] - small).clamp(min=0.0), large[:, k:]], dim=1)
    row = torch.arange(len(last), device=last.device)
    # by rounding p and q may not differ where a proposal was refused
    other = torch.where(rest[row, held].sum(dim=1, keepdim=True) > 0, rest[row, held],
                        large[row, held])  # fmt: skip
    tokens = torch.cat([proposed, last[:, None]], dim=1)
    tokens[row, held] = picked(other, points[row, held, 2])
    reader.forget(k - held)
    draft.forget(k - held)
    return tokens, logits, held + 1


def _proposed(
    draft: Retracting, last: Tensor, points: Tensor, shares: Shares
) -> tuple[Tensor, Tensor]:
    """The draft's tokens (m, k) after `last`, and the masses (m, k, K) they were drawn from."""
    token, tokens, every = last, [last[:, None][:, :0]], []
    logits = draft.step(last)
    for point in points.unbind(dim=1):
        every.append(shares(logits))
        token = picked(every[-1], point)
        tokens.append(token[:, None])
        logits = draft.step(token)
    shape = (len(last), 0, logits.shape[-1])
    small = torch.stack(every, dim=1) if every else logits.new_zeros(shape, dtype=torch.float64)
    return torch.cat(tokens, dim=1), small


def _spoken(rows: Tensor, tokens: Tensor, logits: Tensor, counts: Tensor, end: int) -> Spoken:
    """A round, cut after the first `end` of each row."""
    place = torch.arange(tokens.shape[1], device=tokens.device)
    over = (tokens == end) & (place < counts[:, None])
    first = torch.where(over, place + 1, tokens.shape[1] + 1).amin(dim=1)
    return Spoken(rows, tokens, logits, torch.minimum(counts, first))
