"""A mixture of Gaussians, learned by expectation maximisation.

Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977,
with correlations drawn towards a common one, whose own intensity is that of Schäfer and Strimmer,
"A shrinkage approach to large-scale covariance matrix estimation", 2005. Two choices are made by
the likelihood of rows that the trial fits have not seen: how many components, and for how many
rows the common correlations count (0: none of them; very many: all components share them).

* With Labels, every label has components of its own; without a label the mixture is over all
  components, with the labels' shares, which is the exact marginal.
* Values counted in steps are learned and scored with uniform noise as wide as a cell, so a
  variance stays above step^2 / 12 and `log_prob` is a lower bound on the cell's log mass.
* A pass holds sufficient statistics only; whatever the number of rows, memory stays bounded.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from math import log, prod
from typing import ClassVar, TypeAlias, cast, final

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels
from likewise.core.config import setting
from likewise.core.contract import Batches, Claims, Controls, Family, Size
from likewise.core.errors import DataError, UsageError, must
from likewise.core.rng import Draws, fold
from likewise.core.space import Continuous, Space
from likewise.nn import gaussian
from likewise.nn.labels import codes, matches
from likewise.nn.mixture import (
    Mixture,
    Prior,
    Rows,
    begin,
    climb,
    expect,
    log_likelihoods,
    maximise,
)
from likewise.nn.stored import Stored

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
PSEUDO_COUNTS = (0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0)
TYPICAL = 16.0  # where too few rows are there to choose
FLOORS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
LARGEST_FULL = 4096  # numbers; a full covariance of more takes over 128 MiB
HELD_OUT = 0.2
FEWEST = 20  # rows, below which nothing is held out
TRIAL_PASSES = 15
TRIAL_TOLERANCE = 1e-3  # nats a number that end the passes of a trial
TRIAL_WORK = 2**31  # products a pass of a trial may take for each component
CHUNK = 1024
KEPT = 2**24  # numbers kept in memory for the start and for the choice of settings


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `GMM`."""

    components: int | None = setting(
        None, "Gaussians for each label; none: by held-out likelihood", low=1, high=1024
    )
    most: int = setting(16, "the most Gaussians for each label that are tried", low=1, high=64)
    covariance: str = setting(
        "full", "what a covariance may be", choices=("full", "tied", "diag"), scale="choice"
    )
    shrinkage: float | None = setting(
        None, "rows that the common covariance counts for; none: by likelihood", low=0.0, high=1e6
    )
    floor: float | None = setting(
        None,
        "added to each variance, as a share of the mean one; none: by likelihood",
        low=1e-12,
        high=1.0,
    )
    tolerance: float = setting(1e-4, "nats per example that end the passes", low=0.0, high=1.0)
    passes: int = setting(100, "the most passes", low=1, high=10_000)


Settings: TypeAlias = Config  # the class below has an attribute of that name


@final
class GMM(Family[Config]):
    """A Gaussian mixture over vectors and pictures.

    Without a step `log_prob` is an exact log density (before samples are clamped to a range).

    Example:
        >>> space = Continuous(shape=(2,))
        >>> model = GMM(Config(components=1), space)
        >>> passes = list(model.learn([(torch.eye(2), {})], rng=Draws(0)))
        >>> tuple(model.sample(3, rng=Draws(0)).shape)
        (3, 2)
    """

    claims: ClassVar[Claims] = Claims(
        density={Continuous: "bound"},
        conditions=(Labels,),
        completion=True,
        learning="counting",
        controls=frozenset({"temperature"}),
    )
    Config = Config

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        if not isinstance(space, Continuous):
            raise UsageError(must("the data of a gmm", "continuous", space.kind))
        if config.covariance != "diag" and space.dimensions > LARGEST_FULL:
            what = f"covariance of examples of {space.dimensions} numbers"
            raise UsageError(must(what, "'diag'", config.covariance, "Set covariance=diag."))
        self.dimensions, self.step = space.dimensions, space.step
        self.labels = sum(isinstance(condition, Labels) for condition in conditions)
        d, double = space.dimensions, torch.float64
        factor = (0, d) if config.covariance == "diag" else (0, d, d)
        self.learned = Stored(
            log_weight=torch.zeros(0, dtype=double),
            mean=torch.zeros(0, d, dtype=double),
            factor=torch.zeros(factor, dtype=double),
            group=torch.zeros(0, dtype=torch.int64),
            labels=torch.zeros(0, self.labels, dtype=torch.int64),
        )

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """Full covariances while they are small, then one for all, then variances alone."""
        d = space.dimensions
        covariance = "full" if d <= 1024 else "tied" if d <= LARGEST_FULL else "diag"
        numbers = {"xs": 2**24, "s": 2**25, "m": 2**26, "l": 2**27}[size]
        groups = prod(max(1, len(c.names)) for c in conditions if isinstance(c, Labels))
        each = groups * (d * d if covariance == "full" else d)
        return Config(covariance=covariance, most=max(1, min(32, numbers // each)))

    def learn(self, batches: Batches, *, rng: Draws) -> Iterator[float]:
        """Yields the objective of each pass: of trials in memory first, then over all rows.

        The objective is the mean negative log density of (noisy) rows, given their labels.

        Raises:
            DataError: there is no row.
        """
        x, names = self._kept(batches, rng)
        self.learned.put(labels=names.unique(dim=0) if self.labels else names[:1])
        group = _find(names, self.learned["labels"])
        k, pseudo, floor = yield from self._choose(x, group, rng)
        first, prior = self._begin(x, group, k, pseudo, floor, rng)
        previous = float("inf")
        passes = climb(_Passes(self, batches, rng), first, prior)
        for mixture, likelihood in islice(passes, self.config.passes):
            self._put(mixture)
            yield -likelihood
            if abs(previous + likelihood) < self.config.tolerance:
                return
            previous = -likelihood

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, *shape): a component of the label, then a draw of it."""
        mixture = self._mixture()
        which = rng.categorical(self._shares(mixture, c, n)).to(self.device)
        noise = rng.normal(n, self.dimensions).to(mixture.mean) * controls.temperature
        x = gaussian.place(noise, which, mixture.mean, mixture.factor)
        return self._shaped(x)

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats: exact log density, or a lower bound on the log mass of the cell."""
        mixture, rng = self._mixture(), rng or Draws(0)
        shares = self._shares(mixture, c, len(x))
        parts = []
        for _ in range(draws if self.step else 1):
            noisy = self._noisy(x, rng)
            joint = gaussian.log_densities(noisy, mixture.mean, mixture.factor) + shares
            parts.append(joint.logsumexp(dim=1))
        density = torch.stack(parts).logsumexp(dim=0) - log(len(parts))
        return (density + self.dimensions * log(self.step or 1.0)).float()

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, c: Batch | None = None, *, rng: Draws) -> Tensor:
        """Draws of the unknown places given the known ones: exact conditioning."""
        mixture, n = self._mixture(), len(x)
        shares = self._shares(mixture, c, n)
        known = known.reshape(n, -1).to(self.device)  # (n, d)
        given = torch.where(known, x.reshape(n, -1).to(mixture.mean), 0.0)
        patterns, pattern = known.unique(dim=0, return_inverse=True)
        for i, places in enumerate(patterns):
            part = gaussian.marginal(mixture.mean, mixture.factor, places)
            rows = pattern == i
            shares[rows] += gaussian.log_densities(given[rows][:, places], *part)
        which = rng.categorical(shares).to(self.device)
        noise = rng.normal(n, self.dimensions).to(given)
        draw = gaussian.place(noise, which, mixture.mean, mixture.factor)
        for i, k in torch.stack([pattern, which], dim=1).unique(dim=0).tolist():
            rows = (pattern == i) & (which == k)
            factor = mixture.factor[min(k, len(mixture.factor) - 1)]
            draw[rows] = gaussian.condition(draw[rows], given[rows], patterns[i], factor)
        return torch.where(known.reshape(x.shape), x.to(self.device), self._shaped(draw))

    def _choose(
        self, x: Tensor, group: Tensor, rng: Draws
    ) -> Generator[float, None, tuple[int, float, float]]:
        """How many components, pseudo-counts and what floor make held-out rows likeliest.

        A larger count must be better by more than two standard errors (of paired differences);
        the first that is worse ends the climb. Yields the objective of each pass.
        """
        counts, pseudos, floors = self._candidates()
        k, pseudo, floor = counts[0], TYPICAL if len(pseudos) > 1 else pseudos[0], floors[0]
        stride = -(-len(x) * self.dimensions**2 // TRIAL_WORK)
        x, group = x[::stride], group[::stride]
        held = Draws(fold(rng.seed, "held")).uniform(len(x)).to(x.device) < HELD_OUT
        held &= torch.bincount(group[~held], minlength=int(group.max()) + 1)[group] > 0
        fixed = len(counts) == len(pseudos) == len(floors) == 1
        if fixed or len(x) < FEWEST or not held.any():
            return k, pseudo, floor
        fitted, tested = _chunks(x[~held], group[~held]), _chunks(x[held], group[held])
        best: Tensor | None = None
        for count in counts:
            mixture, prior = self._begin(x[~held], group[~held], count, pseudo, floor, rng)
            if best is None:
                self._put(mixture)
            mixture = yield from self._settle(fitted, mixture, prior)
            scores, better, mixture = yield from self._likeliest(fitted, tested, mixture, prior)
            gain = scores - best if best is not None else torch.ones_like(scores)
            if float(gain.mean()) > 2 * float(gain.std(correction=0)) / len(gain) ** 0.5:
                k, pseudo, best = count, better.pseudo, scores
                floor = floors[0] * better.floor / prior.floor
                self._put(mixture)
            if float(gain.mean()) <= 0:
                break
        return k, pseudo, floor

    def _settle(
        self, rows: Rows, mixture: Mixture, prior: Prior
    ) -> Generator[float, None, Mixture]:
        """A few passes, fewer if they change little; yields the objective of each."""
        previous = float("inf")
        for better, likelihood in islice(climb(rows, mixture, prior), TRIAL_PASSES):
            mixture = better
            yield -likelihood
            if abs(previous + likelihood) < TRIAL_TOLERANCE * self.dimensions:
                break
            previous = -likelihood
        return mixture

    def _likeliest(
        self, fitted: Rows, tested: Rows, mixture: Mixture, prior: Prior
    ) -> Generator[float, None, tuple[Tensor, Prior, Mixture]]:
        """The pseudo-counts, then the floor, that make held-out rows likeliest.

        Returns the scores of the rows, and that prior and mixture. Yields the objective of the
        mixture it was given, so that a clock is asked at each one.
        """
        stats, likelihood = expect(fitted, mixture, exact=True)
        _, pseudos, floors = self._candidates()

        def judged(tried: Prior) -> tuple[Tensor, Prior, Mixture]:
            made = maximise(stats, mixture.mean, mixture.factor, mixture.group, tried)
            return log_likelihoods(tested, made), tried, made

        best = judged(prior)
        for pseudo in pseudos:
            best = max(best, judged(prior._replace(pseudo=pseudo)), key=_score)
            yield -likelihood
        for floor in floors[1:]:
            higher = best[1]._replace(floor=prior.floor * floor / floors[0])
            best = max(best, judged(higher), key=_score)
            yield -likelihood
        return best

    def _candidates(self) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
        """Counts, pseudo-counts and floors to choose from: one of what the Config fixes."""
        fixed = self.config
        counts = tuple(k for k in COUNTS if k <= fixed.most)
        return (
            (fixed.components,) if fixed.components is not None else counts,
            (fixed.shrinkage,) if fixed.shrinkage is not None else PSEUDO_COUNTS,
            (fixed.floor,) if fixed.floor is not None else FLOORS,
        )

    def _begin(
        self, x: Tensor, group: Tensor, k: int, pseudo: float, floor: float, rng: Draws
    ) -> tuple[Mixture, Prior]:
        """The start for k components, with a floor in the scale of the data."""
        variance = float(x.var(dim=0, correction=0).mean())
        prior = Prior(x.new_zeros(0), pseudo, floor * (variance or 1.0))
        likeness = self.learned["factor"][:0]
        if self.config.covariance == "tied":
            likeness = x.new_zeros(1, 0, 0)
        draws = Draws(fold(rng.seed, "start", k), device=rng.device)
        return begin(x, group, k, likeness, prior=prior, rng=draws)

    def _rows(self, batches: Batches, rng: Draws) -> Iterator[tuple[Tensor, Tensor]]:
        """(n, d) noisy rows and (n, l) labels, the same at every pass, a chunk at a time.

        They are in float32, as exact as the data; what EM makes of them is in float64.
        """
        noise = Draws(fold(rng.seed, "cells"), device=rng.device)
        for x, c in batches:
            names = codes(c, self.conditions, len(x), self.device)
            for part, name in zip(x.split(CHUNK), names.split(CHUNK), strict=True):
                yield self._noisy(part, noise.shifted(0), torch.float32), name
                noise = noise.shifted(len(part))

    def _kept(self, batches: Batches, rng: Draws) -> tuple[Tensor, Tensor]:
        """As many rows as memory allows, evenly spaced, and the first of every label."""
        stride = -(-len(batches) // max(CHUNK, KEPT // self.dimensions))
        seen: set[tuple[int, ...]] = set()
        rows, names, start = [], [], 0
        for x, name in self._rows(batches, rng):
            chosen = torch.arange(start, start + len(x), device=x.device) % max(1, stride) == 0
            for i, label in enumerate(map(tuple, name.tolist())):
                chosen[i] |= label not in seen
                seen.add(label)
            rows.append(x[chosen])
            names.append(name[chosen])
            start += len(x)
        if start == 0:
            raise DataError(must("the number of training examples", "at least 1", 0))
        return torch.cat(rows), torch.cat(names)

    def _noisy(self, x: Tensor, rng: Draws, dtype: torch.dtype = torch.float64) -> Tensor:
        """(n, d), moved within their cells where the Space counts in steps."""
        flat = x.reshape(len(x), -1).to(self.device, dtype)  # (n, *shape) -> (n, d)
        if self.step is None:
            return flat
        return flat + (rng.uniform(*flat.shape).to(flat) - 0.5) * self.step

    def _shaped(self, x: Tensor) -> Tensor:
        space = cast(Continuous, self.space)
        return space.quantise(x.float().reshape(-1, *space.shape))  # (n, d) -> (n, *shape)

    def _shares(self, mixture: Mixture, c: Batch | None, n: int) -> Tensor:
        """(n, k) log shares of the components among those of each row's label."""
        asked = codes(c, self.conditions, n, self.device)
        fits = matches(asked, self.learned["labels"][mixture.group])
        return torch.where(fits, mixture.log_weight, -torch.inf).log_softmax(dim=1)

    def _mixture(self) -> Mixture:
        if len(self.learned["mean"]) == 0:
            raise UsageError("this gmm has learned nothing yet; call learn, or load its weights.")
        return Mixture(*(self.learned[name] for name in Mixture._fields))

    def _put(self, mixture: Mixture) -> None:
        self.learned.put(**mixture._asdict())


def _score(judged: tuple[Tensor, Prior, Mixture]) -> float:
    return float(judged[0].mean())


def _chunks(x: Tensor, group: Tensor) -> Rows:
    return list(zip(x.split(CHUNK), group.split(CHUNK), strict=True))


class _Passes:
    """All training rows with the group of each, as often as asked for."""

    def __init__(self, family: GMM, batches: Batches, rng: Draws) -> None:
        self.family, self.batches, self.rng = family, batches, rng

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, names in self.family._rows(self.batches, self.rng):
            yield x, _find(names, self.family.learned["labels"])


def _find(names: Tensor, table: Tensor) -> Tensor:
    """(n,) int64: where in a table (g, l) each row of labels (n, l) stands."""
    return (names[:, None] == table[None]).all(dim=-1).long().argmax(dim=1)
