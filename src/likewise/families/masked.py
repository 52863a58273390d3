"""Masked diffusion over sequences: tokens are hidden in any order and guessed from the others.

Austin et al., "Structured denoising diffusion models in discrete state-spaces", 2021 (D3PM, the
absorbing kind); Sahoo et al., "Simple and effective masked diffusion language models", 2024; Shi
et al., "Simplified and generalized masked diffusion for discrete data", 2024. At time t each token
is hidden with chance t; going back, hidden tokens appear one after another. The network need not
know t (Ou et al., "Your absorbing discrete diffusion secretly models the conditional
distributions of clean data", 2024), and the bound is that of a model of all orders (Uria et al.,
"A deep and tractable density estimator", 2014): with N tokens, n of them hidden at random and n
uniform in 1..N,

    -log p(x) <= N E_n[ mean over the n hidden tokens of -log p(token | what is not hidden) ],

which is the NELBO of the linear schedule, whose weight 1/t is here N / n without its noise.

How long a document is comes first: p(k), that its `end` is its token number k, for k below
`space.length`, or that there is no end up to there, told from what stands before x. A text that
breaks off after L tokens has log P(k >= L), and is then judged as one that does: texts that end
before L and those that are cut there sum to 1 for each L. The network sees how many places a
document has; it never guesses an end or padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector, take
from likewise.core.config import Optimizer, setting
from likewise.core.contract import Claims, Controls, Family, Loss, Size, Step
from likewise.core.errors import UsageError, must
from likewise.core.rng import Draws
from likewise.core.space import Sequence, Space
from likewise.nn.attention import Attention, Block, FeedForward, Norm, Rotary, Shape
from likewise.nn.condition import Embed
from likewise.nn.decoding import choose, without
from likewise.nn.fused import surprisal
from likewise.nn.heads import Head
from likewise.nn.infilling import marks, ranks, right_aligned, sight, spans, spread, turn
from likewise.nn.scoring import ROOM, dropped, fitting, shares
from likewise.nn.tokens import PROMPT, SCORED, cut, prefixes, texts

PASSES = 4  # of the network for one draw of the bound, at numbers of hidden tokens far apart


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `Masked`."""

    width: int = setting(256, "of the residual stream", low=8, high=8192, scale="log")
    depth: int = setting(4, "how many blocks", low=1, high=128)
    heads: int = setting(4, "of the attention", low=1, high=128)
    hidden: int = setting(704, "of the feed-forward layers", low=8, high=32768, scale="log")
    dropout: float = setting(0.0, "share of what a block adds", low=0.0, high=0.9)
    steps: int = setting(64, "rounds of the sampler; at most one a token", low=1, high=65536)
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
class Masked(Family[Config]):
    """Attention both ways, a lower bound of the log-likelihood, infilling at any place.

    Controls shape how tokens are drawn; lengths are drawn as they were learned.

    Example:
        >>> space = Sequence(length=8, tokens=5, end=3, pad=4)
        >>> model = Masked(Masked.preset("xs", space, ()), space)
        >>> model.sample(2, rng=Draws(0)).shape
        torch.Size([2, 8])
    """

    claims: ClassVar[Claims] = Claims(
        density={Sequence: "bound"},
        conditions=(Tokens, Labels, Vector, Grid),
        completion=True,
        per_example=True,
        controls=frozenset({"temperature", "top_k", "top_p", "min_p", "steps"}),
        packs=True,
    )
    Config = Config

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.space: Sequence
        shape = Shape(
            width=config.width,
            heads=config.heads,
            groups=config.heads,
            hidden=config.hidden,
            dropout=config.dropout,
        )
        self.hidden = self.space.tokens  # the number that stands for a hidden token
        self.table = nn.Embedding(self.space.tokens + 1, config.width)
        told = texts(conditions)
        self.steers = tuple(c for c in conditions if c not in told)
        self.embed = Embed(self.steers, config.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(config.depth))
        self.norm = Norm(config.width, shape.norms, shape.epsilon)
        self.head = Head(config.width, self.space.tokens)
        self.sizes = Head(config.width, self.space.length + 1)
        # a prompt may be half as long as x: nothing is trained on much larger distances
        self.aside = sum(text.length for text in told if text.name != PROMPT)
        self.most = max(1, self.space.length // 2) + self.aside  # tokens before x
        self.rotary = Rotary(shape.size, self.most + self.space.length, shape.base)
        self._start()

    def _start(self) -> None:
        """Small normal weights, silent residual branches and heads: all is equally likely."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.normal_(self.table.weight, std=0.5)
        for module in self.modules():
            if isinstance(module, (Attention, FeedForward)):
                nn.init.zeros_(module.outward.weight)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.sizes.weight)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """From 0.1 million parameters ("xs") to 20 ("l"), without the table."""
        width, depth = {"xs": (64, 2), "s": (192, 4), "m": (256, 6), "l": (512, 8)}[size]
        length = space.length if isinstance(space, Sequence) else 1
        return Config(
            width=width,
            depth=depth,
            heads=max(1, width // 64),
            hidden=32 * round(width * 8 / 3 / 32),  # as many weights as a layer 4 times as wide
            batch=max(8, min(512, 8192 // length)),
        )

    # -- training and density -------------------------------------------------------------

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """The bound's mean over tokens, one number a row; each row hides a share of its own."""
        told = dropped(c, self.steers, step.rng)
        scored = self._scored(x, c)
        among = scored & ~marks(x, self.space)
        share = spread(len(x), step.rng).to(x.device)
        hidden = turn(among, ranks(among, step.rng), share, torch.zeros_like(x[:, 0]))
        yield Loss("model", shares(self._nats(x, scored, hidden, told), scored))

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats: an unbiased estimate of a lower bound, never above 0.

        A draw is the mean of `PASSES` passes with evenly spread numbers of hidden tokens, which
        take their turns in one random order. Draws are averaged as logarithms: log-mean-exp would
        turn the noise of the estimate into likelihood.
        """
        rng = rng or Draws(0, device=self.device)
        rows = fitting(self.space)
        parts, later = [x.new_zeros(0, dtype=torch.float32)], rng.draw
        for first in range(0, len(x), rows):
            some, own = slice(first, first + rows), rng.shifted(first)
            told = take(c, some) if c else None
            parts.append(-self._averaged(x[some], told, own, draws))
            later = own.draw
        rng.draw = later  # every chunk asked equally often
        return torch.cat(parts)

    def _averaged(self, x: Tensor, c: Batch | None, rng: Draws, draws: int) -> Tensor:
        """(n,) the mean over draws of the bound of -log p."""
        scored = self._scored(x, c)
        among = scored & ~marks(x, self.space)
        share = spread(len(x), rng).to(x.device)
        total = torch.zeros_like(share, dtype=torch.float32)
        for draw in range(draws):
            order, start = ranks(among, rng), torch.zeros_like(x[:, 0])
            for number in range(PASSES):
                part = ((share + draw) / draws + number) / PASSES
                hidden = turn(among, order, part, start)
                total = total + self._nats(x, scored, hidden, c)
                start = start + hidden.sum(dim=1)
        return total / (PASSES * draws)

    def logits(self, x: Tensor, c: Batch | None = None) -> Tensor:
        """(n, t, tokens) of what stands in each place of x, where `hidden` stands for a token."""
        before, lengths = self._before(c, len(x))
        return self._told(self._states(before, lengths, x, c)[:, before.shape[1] :])

    def lengths(self, n: int, c: Batch | None = None) -> Tensor:
        """(n, space.length + 1) logits of where the end of x stands; the last: beyond x."""
        before, sizes = self._before(c, n)
        logits: Tensor = self.sizes(self._states(before, sizes, before[:, :0], c)[:, -1]).float()
        return logits

    def _scored(self, x: Tensor, c: Batch | None) -> Tensor:
        """(n, t) bool: the tokens of x that the loss counts, their ends among them."""
        counted = self.space.mask(x)
        if c is None or SCORED not in c:
            return counted
        values, present = c[SCORED]
        return counted & (values.to(x.device) | ~present.to(x.device)[:, None])

    def _nats(self, x: Tensor, scored: Tensor, hidden: Tensor, c: Batch | None) -> Tensor:
        """(n,) the bound of -log p as those of the scored tokens tell that are hidden."""
        before, lengths = self._before(c, len(x))
        total, count = (scored & ~marks(x, self.space)).sum(dim=1), hidden.sum(dim=1)
        width = self._width(x)
        x, scored, hidden = x[:, :width], scored[:, :width], hidden[:, :width]
        seen = torch.where(hidden, self.hidden, x)
        states = self._states(before, lengths, seen, c)
        p = before.shape[1]
        guesses = self._told(states[:, p:][hidden])  # (m, tokens), all hidden ones
        nats = surprisal(guesses, x[hidden])
        each = torch.zeros_like(x, dtype=torch.float32).masked_scatter(hidden, nats)
        weight = total / count.clamp(min=1)
        return each.sum(dim=1) * weight + self._length_nats(states[:, p - 1 :], x, scored)

    def _length_nats(self, states: Tensor, x: Tensor, scored: Tensor) -> Tensor:
        """(n,) -log p of how long the documents of x are; states (n, t + 1, d) from before x."""
        opens, sizes, closed = spans(x, self.space)
        place = torch.arange(x.shape[1] + 1, device=x.device)
        last = (place + sizes + closed.long() - 1).clamp(min=0)  # of the document, in x
        padded = F.pad(scored, (0, 1))
        asked = opens & ((sizes > 0) | closed) & padded.gather(1, last)
        sizes, closed = sizes[asked], closed[asked]
        masses = self.sizes(states[asked]).float().log_softmax(dim=1)  # (m, length + 1)
        shorter = torch.arange(masses.shape[1], device=x.device) < sizes[:, None]
        longer = masses.masked_fill(shorter, -torch.inf).logsumexp(dim=1)
        nats = -torch.where(closed, masses.gather(1, sizes[:, None])[:, 0], longer)
        return torch.zeros_like(padded, dtype=torch.float32).masked_scatter(asked, nats).sum(dim=1)

    # -- the network ----------------------------------------------------------------------

    def _before(self, c: Batch | None, n: int) -> tuple[Tensor, Tensor]:
        """What stands before x, filled up on the left: (n, p) and (n,) lengths.

        It is cut to the same length whatever x is: a cut that made room for x would say how long
        x is.
        """
        rows, lengths = prefixes(self.space, self.conditions, c, n, self.device)
        rows, lengths = cut(rows, lengths, torch.full_like(lengths, self.most))
        return right_aligned(rows[:, : int(lengths.max())], lengths, self.space.pad), lengths

    def _width(self, x: Tensor) -> int:
        """How many columns of x (n, t) hold more than padding, up to the last of them."""
        place = torch.arange(1, x.shape[1] + 1, device=x.device)
        return max(1, int(torch.where(x != self.space.pad, place, 0).max()))

    def _states(self, before: Tensor, lengths: Tensor, x: Tensor, c: Batch | None) -> Tensor:
        """(n, p + t, d) of what stands before and of x."""
        h = self.table(torch.cat([before, x], dim=1))
        if self.steers:
            h = h + self.embed(c, len(x), self.device)[:, None]
        angles = self.rotary.at(slice(h.shape[1]))
        mask = sight(before, lengths, x, self.space)
        for block in self.blocks:
            h = block(h, angles, mask)
        states: Tensor = self.norm(h)
        return states

    def _told(self, states: Tensor) -> Tensor:
        """Logits (..., tokens) of states (..., d); ends and padding are never hidden."""
        logits: Tensor = self.head(states).float()
        logits[..., [self.space.end, self.space.pad]] = -torch.inf
        return logits

    # -- sampling -------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, length) rows: first how long each is, then its tokens in a random order.

        In each of `controls.steps` rounds as many tokens appear, drawn each by itself; with a
        round for each token, samples are of the very distribution that `log_prob` bounds. A row
        and its prompt have `space.length + 1` tokens at most, as rows to train on have.
        """
        space = self.space
        _, lengths = self._before(c, n)
        room = (space.length + 1 + self.aside - lengths)[:, None].clamp(max=space.length)
        size = self._drawn(c, n, rng)[:, None]
        place = torch.arange(space.length, device=self.device)
        x = torch.where(place < torch.minimum(size, room), self.hidden, space.pad)
        x = torch.where((place == size) & (size < room), space.end, x)
        return self._filled(x, c, rng, controls)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, c: Batch | None = None, *, rng: Draws) -> Tensor:
        """x with its unknown places drawn given the known ones; one sequence a row.

        Its length is drawn from p(k) among those that the known places allow, and is certain
        where the end is known; the tokens see all that is known, before and behind them.

        Raises:
            UsageError: something known stands behind a known end or padding.
        """
        space = self.space
        free, cut_off = self._allowed(x, known)
        size = self._drawn(c, len(x), rng, free)
        stuck = ~free.any(dim=1)  # a text that is known to break off
        size = torch.where(stuck, cut_off, size)[:, None]
        place = torch.arange(space.length, device=x.device)
        rows = torch.where(place < size, self.hidden, space.pad)
        rows = torch.where((place == size) & ~stuck[:, None], space.end, rows)
        return self._filled(torch.where(known, x, rows), c, rng, Controls())

    def _allowed(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """(n, length + 1) bool: the lengths that known places allow; (n,) the first padding."""
        t = self.space.length
        place = torch.arange(t, device=x.device).expand_as(x)
        token = known & ~marks(x, self.space)
        least = torch.where(token, place + 1, 0).amax(dim=1)
        padding = torch.where(known & (x == self.space.pad), place, t).amin(dim=1)
        end = torch.where(known & (x == self.space.end), place, t).amin(dim=1)
        closed = end < t
        if bool(((least > torch.minimum(end, padding)) | (closed & (padding < end))).any()):
            remedy = "Give what stands before as a prompt, and leave out what comes after."
            raise UsageError(
                must("x", "one sequence a row", "known tokens behind its end", remedy)
            )
        most = torch.where(padding < t, padding - 1, t)
        low, high = torch.where(closed, end, least), torch.where(closed, end, most)
        size = torch.arange(t + 1, device=x.device)
        return (size >= low[:, None]) & (size <= high[:, None]), padding

    def _drawn(self, c: Batch | None, n: int, rng: Draws, allowed: Tensor | None = None) -> Tensor:
        """(n,) lengths drawn from p(k), `space.length` for no end."""
        logits = self.lengths(n, c)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        return choose(logits, Controls(), rng.uniform(n).to(logits.device).double())

    def _filled(self, x: Tensor, c: Batch | None, rng: Draws, controls: Controls) -> Tensor:
        """x (n, length) with its hidden tokens drawn in rounds."""
        n, t = x.shape
        hidden = x == self.hidden
        rank, total = ranks(hidden, rng), hidden.sum(dim=1, keepdim=True)
        points = rng.uniform(n, t).to(x.device).double()
        rounds = min(controls.steps or self.config.steps, t)
        for number in range(1, rounds + 1):
            shown = -(-total * number // rounds)  # the linear schedule, rounded up
            now = (x == self.hidden) & (rank < shown)
            rows = torch.nonzero(now.any(dim=1))[:, 0]
            if len(rows):
                some = take(c or {}, rows.cpu())
                before, lengths = self._before(some, len(rows))
                seen = x[rows, : self._width(x)]
                states = self._states(before, lengths, seen, some)[:, before.shape[1] :]
                asked = now[rows, : seen.shape[1]]
                x[now] = self._chosen(states[asked], points[now], controls)
        return x

    def _chosen(self, states: Tensor, points: Tensor, controls: Controls) -> Tensor:
        """A token for each of states (m, d), some at a time."""
        rows, never = max(1, ROOM // self.space.tokens), self.space.unknown
        pairs = zip(states.split(rows), points.split(rows), strict=True)
        return torch.cat(
            [choose(without(self._told(some), never), controls, point) for some, point in pairs]
        )
