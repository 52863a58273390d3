"""Counts of runs of tokens: what followed the last few tokens, as often as it did.

Interpolated modified Kneser-Ney (Chen and Goodman, "An empirical study of smoothing techniques
for language modeling", 1999), the classical model of text. There is no step to take and nothing
to tune but how far back it looks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Tokens, take
from likewise.core.config import setting
from likewise.core.contract import Batches, Claims, Controls, Family, Size
from likewise.core.errors import DataError, must
from likewise.core.rng import Draws
from likewise.core.space import Sequence, Space
from likewise.nn.counts import KneserNey, Whole, before
from likewise.nn.decoding import written
from likewise.nn.scoring import in_pieces
from likewise.nn.speculating import SPARE
from likewise.nn.tokens import UNBOUNDED, Reading, prefixes, reading

FEW_TOKENS = 512  # characters and bytes have no more
ORDERS: dict[Size, tuple[int, int]] = {"xs": (6, 3), "s": (7, 3), "m": (7, 4), "l": (8, 4)}
PLACES = 2**18  # scored at a time
HELD = 10  # one place in so many is held out to choose the order


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `Ngram`."""

    order: int | None = setting(
        None, "tokens of a run, the next among them; none: by held-out likelihood", low=1, high=16
    )
    most: int = setting(
        2**24, "tokens to count; of more, rows evenly spread", low=1, high=2**31 - 1, scale="log"
    )


Settings: TypeAlias = Config  # the class below has an attribute of that name


@final
class Ngram(Family[Config]):
    """Each token from the few before it, by counts; exact log-likelihood, any prompt.

    `end` and `pad` begin a text: of what stands before them a next token knows nothing.

    Example:
        >>> model = Ngram(Config(order=2), Sequence(length=4, tokens=4, end=2, pad=3))
        >>> passes = list(model.learn([(torch.tensor([[0, 1, 0, 2]]), {})], rng=Draws(0)))
        >>> model.sample(1, rng=Draws(0), controls=Controls(temperature=0)).tolist()
        [[0, 1, 0, 1]]
    """

    claims: ClassVar[Claims] = Claims(
        density={Sequence: "exact"},
        conditions=(Tokens,),
        learning="counting",
        controls=frozenset({"temperature", "top_k", "top_p", "min_p", "repetition"}),
    )
    Config = Config

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.space: Sequence
        self.starts = tuple({self.space.end, self.space.pad})
        self.counts = KneserNey(
            self.space.tokens,
            never=self.space.pad if self.space.pad != self.space.end else None,
            starts=self.starts,
        )

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """Runs of 6 to 8 characters or bytes, of 3 or 4 of many tokens."""
        tokens = space.tokens if isinstance(space, Sequence) else 0
        return Config(order=ORDERS[size][tokens > FEW_TOKENS])

    # -- learning and density -------------------------------------------------------------

    def learn(self, batches: Batches, *, rng: Draws) -> Iterator[float]:
        """Counts in one pass over the rows; yields -log p of a row, averaged, and is done.

        Raises:
            DataError: there is no token.
        """
        order = self.config.order or ORDERS["l"][self.space.tokens > FEW_TOKENS]
        runs, rows = self._gathered(batches, order)
        if self.config.order is None:
            order = self._best_order(runs)
        self.counts.learn(runs[:order])
        yield self._nats(runs) / rows

    def _gathered(self, batches: Batches, order: int) -> tuple[Whole, int]:
        """The runs (order, N) int32 that end in a token that counts, and of how many rows."""
        every = -(-len(batches) * self.space.length // self.config.most)
        parts, rows, first = [], 0, 0
        for x, c in batches:
            taken = torch.arange(len(x), device=x.device)[-first % every :: every]
            first += len(x)
            if not len(taken):
                continue
            runs, scored = self._runs(x[taken], take(c, taken), order)
            parts.append(runs[:, scored].int().cpu().numpy())
            rows += len(taken)
        if not sum(part.shape[1] for part in parts):
            raise DataError(must("the number of training tokens", "at least 1", 0))
        return np.concatenate(parts, axis=1), rows

    def _best_order(self, runs: Whole) -> int:
        """The order from which on longer runs help no more with the last tenth of the tokens."""
        cut = runs.shape[1] - runs.shape[1] // HELD
        best, least = 1, np.inf
        for order in range(1, len(runs) + 1):
            self.counts.learn(runs[:order, :cut])
            nats = self._nats(runs[:, cut:])
            if nats >= least:
                break
            best, least = order, nats
        return best

    def _nats(self, runs: Whole) -> float:
        """-log p of all tokens of runs (order, N)."""
        asked = torch.from_numpy(runs[: self.counts.order])
        parts = torch.split(asked, PLACES, dim=1)
        masses = (self.counts.masses(part.long().to(self.device)) for part in parts)
        return -sum(float(mass.log().sum()) for mass in masses)

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats, exact: the sum over the tokens of x that count."""
        return in_pieces(self._judged, x, c, max(1, PLACES // self.space.length))

    def _judged(self, x: Tensor, c: Batch) -> Tensor:
        """(n,) nats of rows x (n, t)."""
        runs, scored = self._runs(x.to(self.device), c, self.counts.order)
        nats = torch.zeros(scored.shape, dtype=torch.float64, device=self.device)
        nats[scored] = self.counts.masses(runs[:, scored]).log()
        return nats.sum(dim=1).float()

    def _runs(self, x: Tensor, c: Batch, order: int) -> tuple[Tensor, Tensor]:
        """The run (order, n, w) at each place, and which places count (n, w)."""
        read: Reading = reading(self.space, self.conditions, x, c, room=UNBOUNDED)
        context = before(read.inputs, order - 1, self.starts)
        return torch.cat([read.targets[None], context]), read.scored

    # -- sampling -------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, length) rows that continue their prompts, until their end."""
        space = self.space
        rows, lengths = prefixes(space, self.conditions, c, n, self.device)
        most = torch.full_like(lengths, space.length)
        reader = self.reader(c, n)
        return written(reader, rows, lengths, most, space=space, rng=rng, controls=controls)

    def reader(self, c: Batch | None, n: int) -> "LastTokens":
        """What reads rows and keeps the last tokens of what it has read."""
        return LastTokens(self)


class LastTokens:
    """Reads rows and keeps their last tokens; see `likewise.nn.decoding.Reader`.

    Args:
        model: that has learned.
    """

    def __init__(self, model: Ngram) -> None:
        self.model, self.size = model, model.counts.order - 1
        self.heard: Tensor  # (order - 1 + SPARE, n), the newest first

    def begin(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Logits (n, tokens) after rows (n, p), filled up on the right."""
        context = before(rows, self.size + SPARE, self.model.starts)
        last = (lengths.to(rows.device) - 1)[None, :, None].expand(len(context), -1, 1)
        self.heard = context.gather(2, last)[:, :, 0]
        return self._logits()

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (n, tokens) after one more token of each row."""
        # no context was counted that goes beyond a start, so what stands before one is not found
        self.heard = torch.cat([tokens[None], self.heard[:-1]])
        return self._logits()

    def extend(self, tokens: Tensor) -> Tensor:
        """Logits (n, k, tokens) after each of k more tokens of each row (n, k)."""
        return torch.stack([self.step(token) for token in tokens.unbind(dim=1)], dim=1)

    def forget(self, counts: Tensor) -> None:
        """Take back the last tokens of each row, so many (n,), 0 to SPARE."""
        place = torch.arange(len(self.heard))[:, None] + counts.cpu()
        place = place.clamp(max=len(self.heard) - 1).to(self.heard.device)
        self.heard = self.heard.gather(0, place)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        self.heard = self.heard[:, rows.to(self.heard.device)]

    def join(self, other: "LastTokens") -> None:
        """Go on with the rows of another reader too."""
        self.heard = torch.cat([self.heard, other.heard], dim=1)

    def _logits(self) -> Tensor:
        return self.model.counts.every(self.heard[: self.size]).log().float()
