"""A decoder-only transformer over sequences: each token from those before it.

Vaswani et al., "Attention is all you need", 2017, as Radford et al. made it a language model
(2019), with the parts that later work settled on; each is a setting that names its source.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector
from likewise.core.config import Optimizer, setting
from likewise.core.contract import Claims, Controls, Family, Loss, Size, Step
from likewise.core.rng import Draws
from likewise.core.space import Sequence, Space
from likewise.nn.attention import Attention, Block, FeedForward, Norm, Rotary, Shape, visible
from likewise.nn.condition import Embed
from likewise.nn.decoding import written
from likewise.nn.heads import Head
from likewise.nn.reading import Cache, Laid
from likewise.nn.runs import Runs
from likewise.nn.scoring import dropped, fitting, in_pieces, nats, shares
from likewise.nn.speculating import SPARE
from likewise.nn.tokens import Reading, aside, cut, documents, prefixes, reading, silence, texts

ROOMY = 64  # places that a cache has to spare
FEW = 512  # tokens, up to which runs of them are worth a table


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `Transformer`."""

    width: int = setting(256, "of the residual stream", low=8, high=8192, scale="log")
    depth: int = setting(4, "how many blocks", low=1, high=128)
    heads: int = setting(4, "of the queries", low=1, high=128)
    groups: int = setting(4, "heads of keys and values; fewer: GQA (2023)", low=1, high=128)
    head_dim: int | None = setting(None, "of a head; none: width / heads", low=2, high=1024)
    hidden: int = setting(704, "of the feed-forward layers", low=8, high=32768, scale="log")
    feed: str = setting(
        "swiglu",
        "SwiGLU (2020), squared ReLU (2021) or the GELU of GPT-2",
        choices=("swiglu", "relu2", "gelu"),
    )
    normed: bool = setting(True, "RMS norm of queries and keys (2020)")
    norms: str = setting("rms", "RMS (2019) or layer norm (2016)", choices=("rms", "layer"))
    epsilon: float = setting(1e-6, "of the norms", low=1e-12, high=1e-2, scale="log")
    biased: bool = setting(False, "biases of linear layers")
    qkv_biased: bool = setting(False, "biases of queries, keys and values, as of Qwen 2 (2024)")
    places: str = setting(
        "rotary", "rotary (2021) or learned, as of GPT-2", choices=("rotary", "learned")
    )
    tied: bool = setting(False, "one matrix for embedding and head (Press and Wolf, 2017)")
    base: float = setting(10_000.0, "of the rotary angles (2021)", low=10.0, high=1e8, scale="log")
    scaling: dict[str, Any] | None = setting(
        None, 'of these angles, as {"rope_type": "linear" (2023) or "llama3" (2024), ...}'
    )
    window: int | None = setting(None, "places that a place sees (2020); none: all", low=1)
    runs: int = setting(0, "longest hashed run of tokens that is embedded; 0: none", low=0, high=8)
    buckets: int = setting(8192, "rows of the table of each length of run", low=1, high=2**24)
    forgotten: float = setting(0.3, "share of runs left out in training", low=0.0, high=0.9)
    dropout: float = setting(0.0, "share of what a block adds", low=0.0, high=0.9)
    checkpointed: bool = setting(False, "compute blocks again going back, to save memory")
    batch: int = setting(32, "rows a step", low=1, high=65536)
    ema: float = setting(0.99, "decay of the parameter average", low=0.0, high=0.99999)
    optimizer: Optimizer = setting(
        Optimizer(
            learning_rate=3e-3, matrices=0.02, beta2=0.95, schedule="linear", weight_decay=0.01
        ),
        "of the family",
    )


Settings: TypeAlias = Config  # the class below has an attribute of that name


@final
class Transformer(Family[Config]):
    """Causal attention over what stands before; exact log-likelihood, any prompt.

    Example:
        >>> space = Sequence(length=8, tokens=5, end=3, pad=4)
        >>> model = Transformer(Transformer.preset("xs", space, ()), space)
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
        self.shape = Shape(
            width=config.width,
            heads=config.heads,
            groups=config.groups,
            hidden=config.hidden,
            head_dim=config.head_dim,
            feed=config.feed,
            normed=config.normed,
            norms=config.norms,
            epsilon=config.epsilon,
            biased=config.biased,
            qkv_biased=config.qkv_biased,
            base=config.base if config.places == "rotary" else None,
            window=config.window,
            dropout=config.dropout,
        )
        vocabulary = self.space.tokens
        self.table = nn.Embedding(vocabulary, config.width)
        self.runs = None
        if config.runs > 1:
            self.runs = Runs(config.runs, config.buckets, config.width, config.forgotten)
        told = texts(conditions)
        self.steers = tuple(c for c in conditions if c not in told)
        self.embed = Embed(self.steers, config.width)
        self.blocks = nn.ModuleList(Block(self.shape) for _ in range(config.depth))
        self.norm = Norm(config.width, config.norms, config.epsilon)
        self.head = Head(config.width, vocabulary)
        self.register_buffer("silent", silence(self.space), persistent=False)
        self.most = self.space.length + 1 + aside(conditions)  # inputs of a row
        self.rotary = Rotary(self.shape.size, self.most, self.shape.base, config.scaling)
        learned = config.places == "learned"
        self.places = nn.Embedding(self.most, config.width) if learned else None
        self._laid: tuple[list[tuple[int, int]], Laid] | None = None
        self._start()

    def _start(self) -> None:
        """Small normal weights, silent residual branches (Radford et al., 2019)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.table.weight, std=0.5)
        if self.places is not None:
            nn.init.normal_(self.places.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, (Attention, FeedForward)):
                nn.init.zeros_(module.outward.weight)
        nn.init.normal_(self.head.weight, std=1e-3)
        if self.config.tied:
            nn.init.normal_(self.table.weight, std=0.02)
            self.head.weight = self.table.weight

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """From 0.1 million parameters ("xs") to 20 ("l"), without the table."""
        width, depth = {"xs": (64, 2), "s": (192, 4), "m": (256, 6), "l": (512, 8)}[size]
        length = space.length if isinstance(space, Sequence) else 1
        heads = max(1, width // 64)
        return Config(
            width=width,
            depth=depth,
            heads=heads,
            groups=heads,
            hidden=_hidden(width),
            runs=5 if isinstance(space, Sequence) and space.tokens <= FEW else 0,
            forgotten=0.5,
            dropout=0.1,  # a person's texts are few: they are read several times
            batch=max(8, min(512, 4096 // (length + aside(conditions)))),
        )

    # -- training and density -------------------------------------------------------------

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """The mean over tokens of -log p(token), one number a row."""
        c = dropped(c, self.steers, step.rng)
        read = reading(self.space, self.conditions, x, c)
        yield Loss("model", shares(self._nats(read, c), read.scored))

    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats, exact: the sum over the tokens of x that count."""
        return in_pieces(self._judged, x, c, fitting(self.space))

    def _judged(self, x: Tensor, c: Batch) -> Tensor:
        """(n,) nats of rows x (n, t)."""
        return -self._nats(reading(self.space, self.conditions, x, c), c)

    def _nats(self, read: Reading, c: Batch) -> Tensor:
        """(n,) -log p of the tokens that count."""
        return nats(self.logits(read.inputs, c), read).sum(dim=1)

    def logits(self, inputs: Tensor, c: Batch | None = None) -> Tensor:
        """(n, w, tokens) of what follows each of the inputs (n, w); padding never does."""
        x = self._embedded(inputs, c)
        angles = self.rotary.at(slice(inputs.shape[1]))
        mask = self._mask(inputs)
        for block in self.blocks:
            if self.config.checkpointed and self.training:
                x = checkpoint(block, x, angles, mask, use_reentrant=False)
            else:
                x = block(x, angles, mask)
        return F.linear(self.norm(x), self.head.weight, self.silent)

    def _embedded(self, inputs: Tensor, c: Batch | None) -> Tensor:
        """(n, w, d)."""
        x = self.table(inputs)
        if self.runs is not None:
            x = x + self.runs(inputs, self.space.end, self.space.pad)
        if self.places is not None:
            x = x + self.places.weight[: inputs.shape[1]]
        if self.steers:
            x = x + self.embed(c, len(inputs), inputs.device)[:, None]
        return x

    def _mask(self, inputs: Tensor) -> Tensor | None:
        """Who sees whom; None where all see all before them."""
        w = inputs.shape[1]
        near = self.config.window if (self.config.window or w) < w else None
        packed = self.space.packed and self.space.closes
        apart = packed and bool((inputs[:, 1:] == self.space.end).any())
        if near is None and not apart:
            return None
        place = torch.arange(w, device=inputs.device)
        mask = visible(place[None], place, near)  # (1, 1, w, w)
        if apart:
            number = documents(inputs, self.space.end)
            mask = mask & (number[:, None, :, None] == number[:, None, None, :])
        return mask

    # -- sampling -------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, length) rows that continue their prompts, until their end."""
        space = self.space
        rows, lengths = prefixes(space, self.conditions, c, n, self.device)
        rows, lengths = cut(rows, lengths, torch.full_like(lengths, self.most - 1))
        most = (self.most - lengths).clamp(max=space.length)
        reader = self.reader(c, n)
        return written(reader, rows, lengths, most, space=space, rng=rng, controls=controls)

    def reader(self, c: Batch | None, n: int) -> "CachedReader":
        """What reads n rows and keeps the keys and values of what it has read."""
        return CachedReader(self, c, n)

    def train(self, mode: bool = True) -> "Transformer":
        """Before and after training; weights that were laid out for reading are forgotten."""
        if mode:
            self._laid = None
        super().train(mode)
        return self

    def __getstate__(self) -> dict[str, object]:
        """What a copy has; weights that are laid out cannot be copied, and are made anew."""
        return {**self.__dict__, "_laid": None}

    @torch.no_grad()
    def laid(self) -> Laid:
        """The blocks as few places read them; made anew where a weight has changed.

        Not every optimizer tells that it changed a weight, so nothing is kept while training.
        """
        if self.training or any(p.is_inference() for p in self.parameters()):
            return Laid(self.shape, self.blocks, self.norm, self.head.weight, self.silent)
        now = [(p.data_ptr(), p._version) for p in self.parameters()]
        if self._laid is None or self._laid[0] != now:
            self._laid = (
                now,
                Laid(self.shape, self.blocks, self.norm, self.head.weight, self.silent),
            )
        return self._laid[1]


class CachedReader:
    """Reads rows with a cache of keys and values; see `likewise.nn.decoding.Reader`.

    Args:
        model: a transformer.
        c: conditions of the rows; texts among them are no concern of it.
        n: how many rows.
    """

    def __init__(self, model: Transformer, c: Batch | None, n: int) -> None:
        self.model, self.laid, self.device = model, model.laid(), model.device
        steered = bool(model.steers)
        self.told = model.embed(c, n, self.device)[:, None] if steered else None
        self.cache: Cache
        self.heard: Tensor | None = None  # (n, longest run - 1 + SPARE) the last tokens

    def begin(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Logits (n, tokens) after rows (n, p), filled up on the right."""
        with torch.inference_mode():
            logits = self._begun(rows, lengths)
        return logits.clone()  # may be changed in place and kept, as any other

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (n, tokens) after one more token of each row."""
        return self.extend(tokens[:, None])[:, 0]

    def extend(self, tokens: Tensor) -> Tensor:
        """Logits (n, k, tokens) after each of k more tokens of each row (n, k)."""
        with torch.inference_mode():
            x = self._read(tokens)
            self.cache.advance(tokens.shape[1])
            if self.heard is not None:
                self.heard = torch.cat([self.heard, tokens], dim=1)[:, tokens.shape[1] :]
            logits = self._told(x)
        return logits.clone()

    def forget(self, counts: Tensor) -> None:
        """Take back the last tokens of each row, so many (n,), 0 to SPARE."""
        self.cache.advance(-counts.cpu())
        if self.heard is not None:
            place = torch.arange(self.heard.shape[1], device=self.heard.device)
            place = place - counts.to(place.device)[:, None]
            self.heard = self.heard.gather(1, place.clamp(min=0))

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        self.cache = self.cache.keep(rows.cpu())
        place = rows.to(self.device)
        self.told = None if self.told is None else self.told[place]
        self.heard = None if self.heard is None else self.heard[place]

    def join(self, other: "CachedReader") -> None:
        """Go on with the rows of another reader too."""
        self.cache = self.cache.join(other.cache)
        if self.told is not None and other.told is not None:
            self.told = torch.cat([self.told, other.told])
        if self.heard is not None and other.heard is not None:
            self.heard = torch.cat([self.heard, other.heard])

    def _begun(self, rows: Tensor, lengths: Tensor) -> Tensor:
        model, (n, w) = self.model, rows.shape
        room = min(w + ROOMY, model.most)
        like = model.table.weight
        self.cache = Cache.empty(len(model.blocks), n, model.shape, max(room, w), like)
        x = self._read(rows)
        self.cache.advance(lengths.cpu())
        if model.runs is not None:
            size = model.runs.longest - 1 + SPARE
            filled_up = F.pad(rows, (size, 0), value=model.space.pad)
            place = torch.arange(size, device=rows.device) + lengths.to(rows.device)[:, None]
            self.heard = filled_up.gather(1, place)
        last = (lengths.to(rows.device) - 1)[:, None, None].expand(n, 1, x.shape[2])
        return self._told(x.gather(1, last)[:, 0])

    def _read(self, inputs: Tensor) -> Tensor:
        """Put inputs (n, w) into the cache: (n, w, d) of the last block."""
        model = self.model
        w = inputs.shape[1]
        self.cache.reach(self.cache.longest + w, model.most)
        x = model.table(inputs)
        if model.runs is not None:
            before = None if self.heard is None else self.heard[:, SPARE:]
            x = x + model.runs(inputs, model.space.end, model.space.pad, before)
        if model.places is not None:
            lengths = self.cache.lengths.to(x.device)
            x = x + model.places(lengths[:, None] + torch.arange(w, device=x.device))
        if self.told is not None:
            x = x + self.told
        return self.laid.read(x, self.cache, model.rotary)

    def _told(self, x: Tensor) -> Tensor:
        """Logits (..., tokens) of places (..., d)."""
        return self.laid.logits(x)


def _hidden(width: int) -> int:
    """Eight thirds of the width, in multiples of 32: SwiGLU with as many weights as 4 times."""
    return 32 * round(width * 8 / 3 / 32)
