"""Toy families and domains on every Space: they prove the contracts off images.

| toy family | Space | what it proves |
|---|---|---|
| `toy_affine` | Continuous | exact density, codes, Labels and Grid conditions; chains |
| `toy_gan` | Continuous | two parts, a gradient penalty |
| `toy_counts` | Categorical | a counted family |
| `toy_bigram` | Sequence | tokens, an end, padding |
| `toy_columns` | Mixed | numbers, categories, missing values |
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, drop
from likewise.core.config import Optimizer, setting
from likewise.core.contract import (
    Batches,
    Claims,
    Controls,
    Domain,
    Family,
    Guess,
    Loss,
    Size,
    Source,
    Step,
)
from likewise.core.errors import UsageError
from likewise.core.records import Records
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Column, Continuous, Mixed, Sequence, Space
from likewise.nn.condition import Embed
from likewise.nn.heads import gaussian_log_density
from likewise.nn.layers import MLP
from likewise.store.files import write_json

N = 1800  # enough for an audit to tell


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """What the toys can be told."""

    width: int = setting(16, "of the hidden layer", low=1, high=1024)
    batch: int = setting(32, "examples a step", low=1, high=4096)
    ema: float = setting(0.9, "decay of the parameter average", low=0.0, high=0.9999)
    optimizer: Optimizer = setting(Optimizer(learning_rate=1e-2), "of every part")


class ToyAffine(Family[ToyConfig]):
    """x = mean(c) + scale * z, a normal distribution steered by conditions."""

    claims = Claims(
        density={Continuous: "exact"},
        conditions=(Labels, Grid),
        latent=True,
        per_example=True,
        controls=frozenset({"temperature"}),
    )
    Config = ToyConfig

    def __init__(self, config: ToyConfig, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        d = space.dimensions
        self.embed = Embed(conditions, config.width)
        self.mean = MLP(config.width, d, width=config.width, depth=1)
        self.log_scale = nn.Parameter(torch.zeros(d))

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> ToyConfig:
        return ToyConfig(width={"xs": 16, "s": 32, "m": 64, "l": 128}[size])

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        yield Loss("model", -self.log_prob(x, drop(c, 0.1, step.rng)))

    def log_prob(self, x, c=None, *, rng=None, draws=1) -> Tensor:
        flat = x.flatten(1)
        log_density = gaussian_log_density(flat, self._mean(c, len(x)), self.log_scale)
        return log_density.sum(dim=1)

    @classmethod
    def refuses(cls, space: Space) -> str | None:
        """A density is no mass of a cell."""
        return super().refuses(space) or ("it knows no cells" if space.step else None)

    @torch.no_grad()
    def sample(self, n, c=None, *, rng, controls=Controls()) -> Tensor:
        return self.decode(controls.temperature * rng.normal(n, *self.code_space.shape), c)

    def encode(self, x, c=None) -> Tensor:
        return (x.flatten(1) - self._mean(c, len(x))) * torch.exp(-self.log_scale)

    def decode(self, z, c=None) -> Tensor:
        flat = self._mean(c, len(z)) + self.log_scale.exp() * z
        return self.space.quantise(flat.reshape(len(z), *self.space.shape))

    @property
    def code_space(self) -> Space:
        return Continuous(shape=(self.space.dimensions,))

    def _mean(self, c: Batch | None, n: int) -> Tensor:
        return self.mean(self.embed(c, n, self.device))


class ToyGan(Family[ToyConfig]):
    """A critic and a generator, the critic's gradient on real examples kept small."""

    claims = Claims(density={Continuous: None}, conditions=(Labels, Grid), per_example=True)
    Config = ToyConfig

    def __init__(self, config: ToyConfig, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        d, width = space.dimensions, config.width
        self.generator = nn.ModuleDict(
            {
                "embed": Embed(conditions, width),
                "net": MLP(4, d, width=width, depth=1, steering=width),
            }
        )
        self.critic = nn.ModuleDict(
            {
                "embed": Embed(conditions, width),
                "net": MLP(d, 1, width=width, depth=1, steering=width),
            }
        )

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> ToyConfig:
        return ToyConfig(width={"xs": 16, "s": 32, "m": 64, "l": 128}[size])

    def parts(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, "generator": self.generator}

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        z = step.rng.normal(len(x), 4)
        real = x.detach().requires_grad_(True)
        judged = self._judge(real, c)
        (slope,) = torch.autograd.grad(judged.sum(), real, create_graph=True)
        penalty = slope.flatten(1).square().sum(dim=1)
        fake = self._make(z, c).detach()
        gap = nn.functional.softplus(self._judge(fake, c) - judged)
        yield Loss("critic", gap + 0.05 * penalty, {"penalty": penalty.mean()})
        yield Loss(
            "generator",
            nn.functional.softplus(self._judge(x, c) - self._judge(self._make(z, c), c)),
        )

    @torch.no_grad()
    def sample(self, n, c=None, *, rng, controls=Controls()) -> Tensor:
        return self.space.quantise(self._make(rng.normal(n, 4), c))

    def _make(self, z: Tensor, c: Batch | None) -> Tensor:
        e = self.generator["embed"](c, len(z), self.device)
        return self.generator["net"](z, e).reshape(len(z), *self.space.shape)

    def _judge(self, x: Tensor, c: Batch | None) -> Tensor:
        e = self.critic["embed"](c, len(x), self.device)
        return self.critic["net"](x.flatten(1), e).squeeze(1)


class ToyCounts(Family[ToyConfig]):
    """Counts the categories at each place."""

    claims = Claims(density={Categorical: "exact"}, learning="counting")
    Config = ToyConfig

    def __init__(self, config: ToyConfig, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        shape = (space.dimensions, space.categories)
        self.register_buffer("log_shares", torch.zeros(shape).log_softmax(dim=1))

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> ToyConfig:
        return ToyConfig()

    def learn(self, batches: Batches, *, rng: Draws) -> Iterator[float]:
        for _ in range(2):
            counts = torch.ones_like(self.log_shares)
            loss = 0.0
            for x, _ in batches:
                counts += nn.functional.one_hot(x.flatten(1), self.space.categories).sum(dim=0)
                loss -= float(self.log_prob(x).sum())
            self.log_shares.copy_((counts / counts.sum(dim=1, keepdim=True)).log())
            yield loss / len(batches)

    def log_prob(self, x, c=None, *, rng=None, draws=1) -> Tensor:
        flat = x.flatten(1)[:, :, None]
        return self.log_shares.expand(len(x), -1, -1).gather(2, flat).sum(dim=(1, 2))

    @torch.no_grad()
    def sample(self, n, c=None, *, rng, controls=Controls()) -> Tensor:
        drawn = rng.categorical(self.log_shares.expand(n, -1, -1))
        return drawn.reshape(n, *self.space.shape)


class ToyBigram(Family[ToyConfig]):
    """Each token from the one before it."""

    claims = Claims(density={Sequence: "exact"}, conditions=(Labels,), per_example=True)
    Config = ToyConfig

    def __init__(self, config: ToyConfig, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.embed = Embed(conditions, space.tokens)
        self.table = nn.Embedding(space.tokens + 1, space.tokens)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> ToyConfig:
        return ToyConfig()

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        yield Loss("model", -self.log_prob(x, drop(c, 0.1, step.rng)))

    def log_prob(self, x, c=None, *, rng=None, draws=1) -> Tensor:
        start = torch.full_like(x[:, :1], self.space.tokens)
        before = torch.cat([start, x[:, :-1]], dim=1)
        e = self.embed(c, len(x), self.device)[:, None]
        logits = self._allowed(self.table(before) + e)
        chosen = logits.log_softmax(dim=-1).gather(2, x[..., None]).squeeze(2)
        return (chosen * self.space.mask(x)).sum(dim=1)

    @torch.no_grad()
    def sample(self, n, c=None, *, rng, controls=Controls()) -> Tensor:
        x = torch.full((n, self.space.length), self.space.pad, device=self.device)
        token = torch.full((n,), self.space.tokens, device=self.device)
        open_ = torch.ones(n, dtype=torch.bool, device=self.device)
        e = self.embed(c, n, self.device)
        for place in range(self.space.length):
            token = rng.categorical(self._allowed(self.table(token) + e))
            x[open_, place] = token[open_]
            open_ = open_ & (token != self.space.end)
        return x

    def _allowed(self, logits: Tensor) -> Tensor:
        """Padding is never chosen."""
        return logits.index_fill(-1, torch.tensor([self.space.pad], device=self.device), -1e9)


class ToyColumns(Family[ToyConfig]):
    """Columns one by one: a normal for a number, shares for a category, a share of gaps."""

    claims = Claims(density={Mixed: "exact"}, per_example=True)
    Config = ToyConfig

    def __init__(self, config: ToyConfig, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        self.gap = nn.Parameter(torch.zeros(space.dimensions))
        self.of = nn.ParameterList(
            nn.Parameter(torch.zeros(c.categories if c.kind == "category" else 2))
            for c in space.columns
        )

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> ToyConfig:
        return ToyConfig()

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        yield Loss("model", -self.log_prob(x, c))

    def log_prob(self, x, c=None, *, rng=None, draws=1) -> Tensor:
        total = torch.zeros(len(x), device=self.device)
        for i, column in enumerate(self.space.columns):
            values, missing = x[:, i].nan_to_num(0.0), x[:, i].isnan()
            if column.kind == "category":
                part = self.of[i].log_softmax(dim=0)[values.long()]
            else:
                part = gaussian_log_density(values, self.of[i][0], self.of[i][1])
            gap = nn.functional.logsigmoid(torch.where(missing, self.gap[i], -self.gap[i]))
            total = total + torch.where(missing, 0.0, part) + gap * column.missing
        return total

    @torch.no_grad()
    def sample(self, n, c=None, *, rng, controls=Controls()) -> Tensor:
        parts = []
        for i, column in enumerate(self.space.columns):
            if column.kind == "category":
                values = rng.categorical(self.of[i].expand(n, -1)).float()
            else:
                values = self.of[i][0] + self.of[i][1].exp() * rng.normal(n)
            missing = rng.uniform(n) < self.gap[i].sigmoid()
            parts.append(values.masked_fill(missing & column.missing, torch.nan))
        return torch.stack(parts, dim=1)


class ToySource:
    """Tensors as batches."""

    def __init__(self, x: Tensor, c: Batch, space: Space, conditions: Conditions) -> None:
        self.x, self.c, self.space, self.conditions = x, c, space, conditions

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        return self.x[index], {k: (v[index], present[index]) for k, (v, present) in self.c.items()}


class _ToyDomain(Domain):
    """What the toy domains share: items are arrays, and the codec has nothing to learn."""

    headline = "fd_random"
    space: ClassVar[Space]
    steers: ClassVar[Conditions] = ()

    @classmethod
    def recognises(cls, data: Any) -> Guess:
        return Guess(float(isinstance(data, str) and data == cls.name), "its name")

    @classmethod
    def load(cls, data: Any, **options: Any) -> Records:
        return cls.toy()

    def fit(self, train: Records) -> None:
        return

    def state(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "_ToyDomain":
        return cls()

    def views(self) -> tuple[Space, ...]:
        return (self.space,)

    def conditions(self) -> Conditions:
        return self.steers

    def source(self, records: Records, space: Space, *, train: bool) -> Source:
        c = {}
        for condition in self.steers:
            values = np.stack([np.asarray(v) for v in records.conditions[condition.name]])
            c[condition.name] = (torch.from_numpy(values), torch.ones(len(values), dtype=bool))
        return ToySource(torch.from_numpy(records.items.copy()), c, self.space, self.steers)

    def decode(self, x: Tensor, space: Space, c: Batch | None = None) -> Records:
        ids = tuple(str(i) for i in range(len(x)))
        return Records(domain=self.name, items=x.numpy(), ids=ids)

    def condition(self, where: Mapping[str, Any], n: int) -> Batch:
        if "label" not in where:
            raise UsageError("only label can be asked for.")
        index = self.steers[0].index(where["label"])
        return {"label": (torch.full((n,), index), torch.ones(n, dtype=torch.bool))}

    def save(self, records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
        write_json(path, {"items": records.items.tolist(), "provenance": dict(provenance)})
        return [path]

    def show(self, records: Records) -> bytes:
        return b"<svg xmlns='http://www.w3.org/2000/svg'></svg>"


def _records(cls: type[_ToyDomain], items: Any, conditions: Mapping[str, Any] = {}) -> Records:
    ids = tuple(f"{cls.name}-{i}" for i in range(len(items)))
    return Records(
        domain=cls.name, items=items, ids=ids, conditions=dict(conditions), origin=cls.name
    )


class ToyPoints(_ToyDomain):
    """Points in a plane, steered by a label and by a small map."""

    name = "toy_points"
    space = Continuous(shape=(2,))
    steers = (Labels(names=("0", "1")), Grid(shape=(1, 2, 2)))

    @classmethod
    def toy(cls, seed: int = 0) -> Records:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, N)
        maps = rng.normal(size=(N, 1, 2, 2)).astype(np.float32)
        x = (
            rng.normal(size=(N, 2)) * 0.3
            + (2 * labels[:, None] - 1)
            + maps.mean((1, 2, 3))[:, None]
        )
        return _records(
            cls,
            x.astype(np.float32),
            {"label": tuple(labels.tolist()), "map": tuple(maps)},
        )


class ToyGrids(_ToyDomain):
    """Small grids of three categories."""

    name = "toy_grids"
    space = Categorical(shape=(3, 3), categories=3)

    @classmethod
    def toy(cls, seed: int = 0) -> Records:
        rng = np.random.default_rng(seed)
        return _records(cls, rng.choice(3, (N, 3, 3), p=[0.6, 0.3, 0.1]).astype(np.int64))


class ToyStrings(_ToyDomain):
    """Strings that repeat their first letter and end."""

    name = "toy_strings"
    space = Sequence(length=8, tokens=6, end=4, pad=5)
    steers = (Labels(names=("0", "1", "2", "3")),)

    @classmethod
    def toy(cls, seed: int = 0) -> Records:
        rng = np.random.default_rng(seed)
        items = np.full((N, 8), 5, dtype=np.int64)
        letters = rng.integers(0, 4, N)
        for row, (letter, length) in enumerate(zip(letters, rng.integers(2, 8, N), strict=True)):
            items[row, :length] = letter
            items[row, length] = 4
        return _records(cls, items, {"label": tuple(letters.tolist())})


class ToyRows(_ToyDomain):
    """Rows with a number that may be missing, another number, and a category."""

    name = "toy_rows"
    space = Mixed(
        columns=(
            Column(name="age", missing=True),
            Column(name="income"),
            Column(name="colour", kind="category", categories=3),
        )
    )

    @classmethod
    def toy(cls, seed: int = 0) -> Records:
        rng = np.random.default_rng(seed)
        x = np.stack(
            [rng.normal(1.0, 2.0, N), rng.normal(-1.0, 0.5, N), rng.integers(0, 3, N)],
            axis=1,
        ).astype(np.float32)
        x[rng.random(N) < 0.2, 0] = np.nan
        return _records(cls, x)


FAMILIES = {
    "toy_affine": ToyAffine,
    "toy_gan": ToyGan,
    "toy_counts": ToyCounts,
    "toy_bigram": ToyBigram,
    "toy_columns": ToyColumns,
}
DOMAINS = {domain.name: domain for domain in (ToyPoints, ToyGrids, ToyStrings, ToyRows)}
