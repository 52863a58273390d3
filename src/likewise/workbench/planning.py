"""Planning: a short probe that turns the time that is left into steps, presets and sizes."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from likewise.core.config import from_json
from likewise.core.contract import SIZES, Family
from likewise.core.space import Space
from likewise.store.model import Model
from likewise.train.job import Job
from likewise.train.loop import Trainer
from likewise.train.plan import ENOUGH_STEPS, FamilyPlan
from likewise.workbench.data import Prepared
from likewise.workbench.fitting import build, kinds, preset, space_of, stage_plan, steered

PROBE_SECONDS = 1.0
VALIDATIONS = 4
MOST_DRAWS = 32
LEAST_N = 32


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch with so many threads, for the length of a `with`."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """How many processor cores this process may use."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


class Probe:
    """Measures families on this machine and data; what it trains is thrown away.

    Args:
        prepared: the data.
        seed: of the run.
        device: where it will run.
    """

    def __init__(self, prepared: Prepared, *, seed: int, device: str) -> None:
        self.prepared = prepared
        self.seed = seed
        self.device = device

    def threads(self, name: str) -> int:
        """The number of threads with which one family's steps are fastest: one or all cores."""
        candidates = sorted({1, cores()})
        paces = {}
        for count in candidates:
            with threads(count):
                paces[count] = self.pace(name, "xs")[0]
        return min(candidates, key=lambda count: paces[count])

    def pace(self, name: str, size: str) -> tuple[float, Model]:
        """Seconds a step of a family's (last) stage at a preset, and the untrained model."""
        kind, space = kinds(name)[0], space_of(self.prepared, name)
        config = preset(kind, size, space, self.prepared.domain.conditions())
        return self._pace(name, kind, space, config)

    def _pace(
        self, name: str, kind: type[Family[Any]], space: Space, config: Any
    ) -> tuple[float, Model]:
        conditions = steered(kind, self.prepared.domain.conditions())
        family = build(kind, config, space, conditions, seed=self.seed, name=name)
        source = self.prepared.source("train", space, train=True)
        batch = getattr(config, "batch", 256)
        job = Job(name=name, steps=100_000, batch=batch, seed=self.seed, device=self.device)
        trainer = Trainer(family, source, job)
        with torch.random.fork_rng(devices=[]):
            trainer.start()
            times = list(_timed(trainer.advance, PROBE_SECONDS))
        model = Model(name, family, self.prepared.domain, self.prepared.shares(), {})
        return statistics.median(times[1:] or times), model

    def sampling(self, model: Model, n: int) -> float:
        """Seconds to sample n, by a batch of at most 64."""
        some = min(64, n)
        model.draw(2)
        return _seconds(lambda: model.draw(some)) * n / some

    def density(self, model: Model, n: int) -> float:
        """Seconds for n likelihoods of one draw each; 0 without a density."""
        if model.family.claims.density.get(type(model.family.space)) is None:
            return 0.0
        some = min(16, n)
        x, c = self.prepared.tensors("valid", some, model.family.space)
        return _seconds(lambda: model.log_mass(x, c)) * n / len(x)


def plan_family(
    probe: Probe,
    name: str,
    *,
    share: float,
    evaluation: float,
    n: int,
    size: str | None = None,
    changes: dict[str, str] | None = None,
) -> tuple[tuple[FamilyPlan, ...], int]:
    """The plan of one gradient family for `share` seconds, and the n its sampler can afford.

    The largest preset that still gets enough steps is chosen. A chain's stages share alike.

    Args:
        probe: to measure with.
        name: of the family or chain.
        share: seconds of training.
        evaluation: seconds for sampling and likelihoods.
        n: how many samples are wanted.
        size: a preset to keep to, or None.
        changes: `--set` changes.
    """
    if "+" in name:
        return _plan_chain(probe, name, share, n, size), n
    space = space_of(probe.prepared, name)
    conditions = probe.prepared.domain.conditions()
    kind = kinds(name)[0]
    best = None
    for candidate in (size,) if size else SIZES:
        config = preset(kind, candidate, space, conditions)
        plan = stage_plan(config, candidate, steps=1, seconds=share, changes=changes)
        config = from_json(kind.Config, dict(plan.config))
        pace, model = probe._pace(name, kind, space, config)
        sampling = probe.sampling(model, n)
        validating = VALIDATIONS * min(1.0, 256 / n) * sampling
        steps = int(max(share - validating, share / 2) / pace)
        if best is not None and steps < ENOUGH_STEPS:
            break
        draws = _draws(evaluation / 2, probe.density(model, n))
        affordable = n if sampling <= evaluation / 2 else int(n * evaluation / 2 / sampling)
        best = (replace(plan, steps=max(steps, 1), draws=draws), affordable)
        if steps < 2 * ENOUGH_STEPS:
            break
    assert best is not None
    return (best[0],), max(LEAST_N, best[1])


def _plan_chain(
    probe: Probe, name: str, share: float, n: int, size: str | None
) -> tuple[FamilyPlan, ...]:
    """Half the time for each stage; the second is sized for the codes of the first."""
    first = name.split("+")[0]
    stages, _ = plan_family(probe, first, share=share / 2, evaluation=share, n=n, size=size)
    kind, kind2 = kinds(name)
    space = space_of(probe.prepared, first)
    conditions = probe.prepared.domain.conditions()
    config = from_json(kind.Config, dict(stages[0].config))
    start = build(kind, config, space, steered(kind, conditions), seed=probe.seed, name=first)
    codes = start.code_space
    config2 = preset(kind2, size or "xs", codes, conditions)
    if kind2.claims.learning == "counting":
        return (*stages, stage_plan(config2, size or "xs", steps=None, seconds=share / 2))
    pace = _code_pace(probe, name, kind2, codes, config2)
    steps = max(1, int(share / 2 / pace))
    return (*stages, stage_plan(config2, size or "xs", steps=steps, seconds=share / 2))


def _code_pace(
    probe: Probe, name: str, kind: type[Family[Any]], codes: Space, config: Any
) -> float:
    """Seconds a step of a chain's second stage, on codes drawn at random."""
    from likewise.core.rng import Draws

    class Random:
        space, conditions = codes, probe.prepared.domain.conditions()

        def __len__(self) -> int:
            return 1024

        def batch(self, index: torch.Tensor, rng: Draws) -> tuple[torch.Tensor, dict[str, Any]]:
            return rng.normal(len(index), *codes.shape), {}

    conditions = steered(kind, Random.conditions)
    family = build(kind, config, codes, conditions, seed=probe.seed, name=name)
    job = Job(name=name, steps=100_000, batch=getattr(config, "batch", 256), device=probe.device)
    trainer = Trainer(family, Random(), job)
    with torch.random.fork_rng(devices=[]):
        trainer.start()
        times = list(_timed(trainer.advance, PROBE_SECONDS))
    return statistics.median(times[1:] or times)


def _draws(seconds: float, one: float) -> int:
    """How many draws a likelihood can afford, a power of two up to `MOST_DRAWS`."""
    draws = 1
    while draws < MOST_DRAWS and 2 * draws * one <= seconds:
        draws *= 2
    return draws


def _timed(step: Callable[[], object], seconds: float) -> Iterator[float]:
    """Seconds of each of up to 20 calls, as long as `seconds` last; two calls at least."""
    start = time.monotonic()
    for number in range(20):
        yield _seconds(step)
        if number and time.monotonic() - start > seconds:
            return


def _seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start
