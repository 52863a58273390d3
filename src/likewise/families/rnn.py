"""A recurrent network over sequences: each token from a state that read those before it.

Mikolov et al., "Recurrent neural network based language model", 2010, with the cells and the
dropout of Zaremba et al., "Recurrent neural network regularization", 2014. What it knows of a
text is a state of fixed size, so a prompt may be of any length and a token costs the same
wherever it stands. A window of a long text is learned with the state after what stands before it,
made anew by the weights of the step: so a step is a function of its batch, and a resumed training
goes on bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector
from likewise.core.config import Optimizer, setting
from likewise.core.contract import Claims, Controls, Family, Loss, Size, Step
from likewise.core.rng import Draws
from likewise.core.space import Sequence, Space
from likewise.nn.condition import Embed
from likewise.nn.decoding import written
from likewise.nn.heads import Head
from likewise.nn.recurrent import Recurrent, State, told
from likewise.nn.scoring import dropped, fitting, in_pieces, nats, shares
from likewise.nn.tokens import EARLIER, UNBOUNDED, Reading, cut, prefixes, reading, silence, texts


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `Rnn`."""

    cell: str = setting(
        "lstm",
        "vanilla (1990), LSTM (1997) or GRU (2014)",
        choices=("vanilla", "lstm", "gru"),
    )
    width: int = setting(256, "of embedding and state", low=4, high=8192, scale="log")
    depth: int = setting(1, "how many layers", low=1, high=16)
    dropout: float = setting(0.0, "share of what a layer takes and gives", low=0.0, high=0.9)
    tied: bool = setting(True, "one matrix for embedding and head (Press and Wolf, 2017)")
    batch: int = setting(32, "rows a step", low=1, high=65536)
    ema: float = setting(0.99, "decay of the parameter average", low=0.0, high=0.99999)
    optimizer: Optimizer = setting(
        Optimizer(learning_rate=3e-3, schedule="linear", weight_decay=0.01), "of the family"
    )


Settings: TypeAlias = Config  # the class below has an attribute of that name


@final
class Rnn(Family[Config]):
    """A state carried from token to token; exact log-likelihood, prompts of any length.

    Example:
        >>> space = Sequence(length=8, tokens=5, end=3, pad=4)
        >>> model = Rnn(Rnn.preset("xs", space, ()), space)
        >>> model.sample(2, rng=Draws(0)).shape
        torch.Size([2, 8])
    """

    claims: ClassVar[Claims] = Claims(
        density={Sequence: "exact"},
        conditions=(Tokens, Labels, Vector, Grid),
        per_example=True,
        controls=frozenset({"temperature", "top_k", "top_p", "min_p", "repetition"}),
        packs=True,
    )
    Config = Config

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.space: Sequence
        self.silent: Tensor | None
        width, vocabulary = config.width, self.space.tokens
        self.table = nn.Embedding(vocabulary, width)
        before = texts(conditions)
        self.steers = tuple(c for c in conditions if c not in before)
        self.embed = Embed(self.steers, width)
        self.recurrent = Recurrent(config.cell, width, config.depth, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.head = None if config.tied else Head(width, vocabulary)
        self.register_buffer("silent", silence(self.space), persistent=False)
        # inputs of the size 1, also where the table is small because it is the head too
        self.scale = width**0.5 if config.tied else 1.0
        nn.init.normal_(self.table.weight, std=1 / self.scale)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """From 0.03 million parameters ("xs") to 17 ("l"), without the table."""
        width, depth, pace = {
            "xs": (64, 1, 1e-2),
            "s": (256, 1, 1e-2),
            "m": (512, 2, 5e-3),
            "l": (1024, 2, 3e-3),
        }[size]
        length = space.length if isinstance(space, Sequence) else 1
        return Config(
            width=width,
            depth=depth,
            batch=max(8, min(512, 8192 // length)),
            optimizer=replace(Config().optimizer, learning_rate=pace),
        )

    # -- training and density -------------------------------------------------------------

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """The mean over tokens of -log p(token), one number a row."""
        c = dropped(c, self.steers, step.rng)
        read = self._reading(x, c)
        yield Loss("model", shares(self._nats(read, c, self._carried(c)), read.scored))

    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats, exact: the sum over the tokens of x that count."""
        return in_pieces(self._judged, x, c, fitting(self.space))

    def _judged(self, x: Tensor, c: Batch) -> Tensor:
        """(n,) nats of rows x (n, t)."""
        return -self._nats(self._reading(x, c), c)

    def _reading(self, x: Tensor, c: Batch) -> Reading:
        return reading(self.space, self.conditions, x, c, room=UNBOUNDED)

    def _nats(self, read: Reading, c: Batch, state: State = ()) -> Tensor:
        """(n,) -log p of the tokens that count."""
        return nats(self.logits(read.inputs, c, state), read).sum(dim=1)

    def logits(self, inputs: Tensor, c: Batch | None = None, state: State = ()) -> Tensor:
        """(n, w, tokens) of what follows each of the inputs (n, w); padding never does."""
        steering = self._steering(c, len(inputs))
        begins = inputs == self.space.end if self.space.packed else None
        return self._told(self.recurrent(self._embedded(inputs, steering), begins, state))

    @torch.no_grad()
    def _carried(self, c: Batch) -> State:
        """The state after what stands before the windows of a training batch, if that is given."""
        if EARLIER not in c:
            return ()
        rows, known = c[EARLIER]
        lengths = (rows != self.space.pad).sum(dim=1).clamp(min=1)
        rows, lengths = latest(rows, lengths, self.space.end)
        x = self._embedded(rows, self._steering(c, len(rows)))
        return tuple(part * known[:, None] for part in self.recurrent.read(x, lengths))

    def _steering(self, c: Batch | None, n: int) -> Tensor | None:
        """(n, d) what labels and the like say, or None without any."""
        return self.embed(c, n, self.device) if self.steers else None

    def _embedded(self, inputs: Tensor, steering: Tensor | None) -> Tensor:
        """(n, w, d) of inputs (n, w)."""
        x = self.table(inputs) * self.scale
        into: Tensor = self.dropout(x if steering is None else x + steering[:, None])
        return into

    def _told(self, x: Tensor) -> Tensor:
        """Logits of places (..., d)."""
        weight = self.table.weight if self.head is None else self.head.weight
        return F.linear(self.dropout(x), weight, self.silent)

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

    def reader(self, c: Batch | None, n: int) -> "StateReader":
        """What reads n rows and keeps the state after what it has read."""
        return StateReader(self, c, n)


class StateReader:
    """Reads rows and keeps the state after them; see `likewise.nn.decoding.Reader`.

    Args:
        model: a recurrent network.
        c: conditions of the rows; texts among them are no concern of it.
        n: how many rows.
    """

    def __init__(self, model: Rnn, c: Batch | None, n: int) -> None:
        self.model = model
        with torch.no_grad():
            self.steering = model._steering(c, n)
        self.state: State = ()

    @torch.no_grad()
    def begin(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Logits (n, tokens) after rows (n, p), filled up on the right."""
        model, lengths = self.model, lengths.to(rows.device)
        if model.space.packed:
            rows, lengths = latest(rows, lengths, model.space.end)
        self.state = model.recurrent.read(model._embedded(rows, self.steering), lengths)
        return model._told(told(self.state))

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Logits (n, tokens) after one more token of each row."""
        model = self.model
        if model.space.packed:
            goes_on = (tokens != model.space.end)[:, None]
            self.state = tuple(part * goes_on for part in self.state)
        x = model._embedded(tokens[:, None], self.steering)[:, 0]
        self.state = model.recurrent.step(x, self.state)
        return model._told(told(self.state))

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        place = rows.to(self.model.device)
        self.state = tuple(part[:, place] for part in self.state)
        self.steering = None if self.steering is None else self.steering[place]

    def join(self, other: "StateReader") -> None:
        """Go on with the rows of another reader too."""
        pairs = zip(self.state, other.state, strict=True)
        self.state = tuple(torch.cat(pair, dim=1) for pair in pairs)
        if self.steering is not None and other.steering is not None:
            self.steering = torch.cat([self.steering, other.steering])


def latest(rows: Tensor, lengths: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """The latest text of each row (n, p), from its `end` on: rows and lengths (n,).

    Example:
        >>> latest(torch.tensor([[5, 9, 6, 0]]), torch.tensor([3]), end=9)
        (tensor([[9, 6]]), tensor([2]))
    """
    place = torch.arange(rows.shape[1], device=rows.device)
    begins = (rows == end) & (place < lengths[:, None])
    begin = torch.where(begins, place, 0).amax(dim=1)
    return cut(rows, lengths, lengths - begin)
