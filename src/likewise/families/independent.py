"""Every entry on its own: what there is to win by looking at how entries go together.

The product of the marginals, the trivial row of every leaderboard. Classes and levels are
counted, with a pseudo-count chosen by leave-one-out likelihood (Stone, "Cross-validatory choice
and assessment of statistical predictions", 1974), which for counts has a closed form. Numbers
without levels are Gaussians; numbers of a table are histograms with edges at quantiles, and with
a share of one row in n + 1 a Gaussian, for what the rows have never shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions
from likewise.core.config import setting
from likewise.core.contract import Batches, Claims, Controls, Family, Size
from likewise.core.errors import DataError, must
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Continuous, Mixed, Sequence, Space
from likewise.nn import histogram
from likewise.nn.cells import draw_normal, log_normal_cell, on_grid
from likewise.nn.columns import Columns, Moments

PSEUDO_COUNTS = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
FEW_LEVELS = 1024


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `Independent`."""

    pseudo: float | None = setting(
        None, "count added to every class; none: by leave-one-out likelihood", low=1e-9, high=1e6
    )
    bins: int = setting(64, "quantiles of a table's number", low=1, high=1024)


Settings: TypeAlias = Config  # the class below has an attribute of that name


@final
class Independent(Family[Config]):
    """The product of the marginals, over every Space.

    A sequence is drawn place by place until its end; only padding follows.

    Example:
        >>> model = Independent(Config(pseudo=1.0), Categorical(shape=(1,), categories=2))
        >>> passes = list(model.learn([(torch.tensor([[0], [0]]), {})], rng=Draws(0)))
        >>> model.log_prob(torch.tensor([[0]])).exp()
        tensor([0.7500])
    """

    claims: ClassVar[Claims] = Claims(
        density=dict.fromkeys((Continuous, Categorical, Sequence, Mixed), "exact"),
        role="baseline",
        learning="counting",
    )
    Config = Config

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        alike: Continuous | Categorical | Mixed = (
            Categorical(shape=space.shape, categories=space.tokens)
            if isinstance(space, Sequence)
            else space
        )
        self.columns = Columns(alike, FEW_LEVELS)
        d, most = space.dimensions, int(self.columns.kinds.max())
        bins = 2 * config.bins + 2 if isinstance(space, Mixed) else 0
        double = torch.float64
        self.register_buffer("counts", torch.zeros(d, most, dtype=torch.int64))
        self.register_buffer("pseudo", torch.tensor(config.pseudo or 1.0, dtype=double))
        self.register_buffer("mean", torch.zeros(d, dtype=double))
        self.register_buffer("scale", torch.ones(d, dtype=double))
        self.register_buffer("edges", torch.zeros(d, bins + 1, dtype=double))
        self.register_buffer("mass", torch.zeros(d, bins, dtype=double))
        self.counts: Tensor
        self.pseudo: Tensor
        self.mean: Tensor
        self.scale: Tensor
        self.edges: Tensor
        self.mass: Tensor

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """The same at every size."""
        return Config()

    def learn(self, batches: Batches, *, rng: Draws) -> Iterator[float]:
        """Counts in one pass, reads the likelihood in another, and is done.

        Raises:
            DataError: there is no row.
        """
        self.counts.zero_()
        kept, moments = [], Moments()
        for x, _ in batches:
            kind, value, counted = self._split(x.to(self.device))
            self._count(kind, counted)
            if self.columns.number.any():
                moments.add(self.columns.free(kind), value)
            if self.mass.shape[1]:
                kept.append((kind, value.float()))
        if not self.counts.any():
            raise DataError(must("the number of training examples", "at least 1", 0))
        if self.columns.number.any():
            self.mean, self.scale = moments.result(self.columns)
        self._histograms(kept)
        self.pseudo.fill_(self.config.pseudo or self._best_pseudo())
        total = sum(float(self.log_prob(x).double().sum()) for x, _ in batches)
        yield -total / len(batches)

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, ...) of the Space; conditions are ignored."""
        d = len(self.mean)
        mass = self._log_masses().exp()
        if isinstance(self.space, Sequence) and self.space.unknown is not None:
            mass[:, self.space.unknown] = 0.0  # it is scored, and never written
        cumulated = mass.cumsum(dim=1)
        point = rng.uniform(n, d).to(cumulated) * cumulated[:, -1]
        kind = torch.searchsorted(cumulated, point.T.contiguous()).T  # (n, d)
        kind = torch.minimum(kind, self.columns.kinds.to(kind) - 1)
        value = torch.zeros_like(point)
        if self.columns.number.any():
            value = self._numbers(rng.uniform(n, d).to(point), rng.uniform(n, d).to(point))
        x = self.columns.join(kind, torch.where(self.columns.free(kind), value, 0.0))
        if isinstance(self.space, Sequence):
            x = torch.where(self.space.mask(x), x, self.space.pad)
        return x

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats, exact; conditions are ignored."""
        rows = max(1, 2**22 // max(1, len(self.mean)))
        return torch.cat([self._scored(part.to(self.device)) for part in x.split(rows)])

    def _scored(self, x: Tensor) -> Tensor:
        kind, value, counted = self._split(x)
        every = torch.arange(kind.shape[1], device=kind.device)
        score = torch.where(counted, self._log_masses()[every, kind], 0.0)
        if self.columns.number.any():
            score = score + torch.where(self.columns.free(kind), self._log_numbers(value), 0.0)
        return score.sum(dim=1).float()

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Kinds, numbers and which places count, (n, d) each."""
        kind, value = self.columns.split(x)
        if isinstance(self.space, Sequence):
            return kind, value, self.space.mask(x)
        return kind, value, torch.ones_like(kind, dtype=torch.bool)

    def _count(self, kind: Tensor, counted: Tensor) -> None:
        d, most = self.counts.shape
        place = kind + most * torch.arange(d, device=kind.device)  # (n, d)
        found = torch.bincount(place[counted], minlength=d * most)
        self.counts += found.reshape(d, most)  # (d * most,) -> (d, most)

    def _allowed(self) -> Tensor:
        """(d, most) bool: kinds that a column has; padding is none before the end."""
        most = torch.arange(self.counts.shape[1], device=self.device)
        allowed = most < self.columns.kinds.to(self.device)[:, None]
        if isinstance(self.space, Sequence) and self.space.pad != self.space.end:
            allowed[:, self.space.pad] = False
        return allowed

    def _log_masses(self) -> Tensor:
        """(d, most) log masses of the kinds, those of a column summing to 1."""
        smooth = self.counts + self.pseudo * self._allowed()
        return (smooth / smooth.sum(dim=1, keepdim=True)).log()

    def _best_pseudo(self) -> float:
        """The pseudo-count under which each row is likeliest given all others."""
        n, kinds = self.counts.sum(dim=1), self._allowed().sum(dim=1)

        def left_out(pseudo: float) -> float:
            rest = (self.counts - 1 + pseudo) / (n - 1 + pseudo * kinds)[:, None]
            return float((self.counts * rest.clamp(min=1e-300).log()).sum())

        return max(PSEUDO_COUNTS, key=left_out)

    def _histograms(self, kept: list[tuple[Tensor, Tensor]]) -> None:
        for j in torch.nonzero(self.columns.number)[:, 0].tolist() if kept else []:
            column = torch.cat([v[self.columns.free(k)[:, j], j] for k, v in kept]).double()
            step, high = float(self.columns.step[j]), float(self.columns.high[j])
            self.edges[j], self.mass[j] = histogram.build(column, self.config.bins, step, high)

    def _tail(self) -> Tensor:
        """(d,) share of the Gaussian beside the histogram."""
        seen = self.counts[:, 0] if self.mass.shape[1] else torch.zeros_like(self.counts[:, 0])
        return 1.0 / (seen + 1.0).double()

    def _log_numbers(self, value: Tensor) -> Tensor:
        """(n, d) log mass of a number's cell, or log density."""
        low, high, step, _ = self.columns.ranges(self.device)
        rest = log_normal_cell(value, self.mean, self.scale, low, high, step)
        if not self.mass.shape[1]:
            return rest
        tail = self._tail()
        inside = histogram.log_cell(value, self.edges, self.mass, step)
        return torch.logaddexp(torch.log1p(-tail) + inside, tail.log() + rest)

    def _numbers(self, choice: Tensor, uniform: Tensor) -> Tensor:
        """(n, d) draws of the numbers, out of two uniform ones."""
        low, high, step, origin = self.columns.ranges(self.device)
        value = draw_normal(uniform, self.mean, self.scale, low, high, step)
        if self.mass.shape[1]:
            inside = histogram.draw(uniform, self.edges, self.mass)
            value = torch.where(choice < self._tail(), value, inside)
        return on_grid(value, low, high, step, origin)
