"""Planning: a short probe that turns the time that is left into steps, presets and sizes."""

import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from likewise.auditing.extraction import PREFIX, SUFFIX
from likewise.core.condition import take
from likewise.core.config import from_json
from likewise.core.contract import SIZES, Family
from likewise.core.errors import TrainingError
from likewise.core.machine import cores
from likewise.core.space import Space
from likewise.store.model import BATCH, Model
from likewise.train.arithmetic import PLAIN, Arithmetic
from likewise.train.job import Job
from likewise.train.loop import Trainer
from likewise.train.plan import ENOUGH_STEPS, FamilyPlan
from likewise.workbench.data import Prepared
from likewise.workbench.fitting import build, kinds, preset, space_of, stage_plan, steered
from likewise.workbench.forecast import peak_memory
from likewise.workbench.texts import RunTexts, continuing

LOG = logging.getLogger(__name__)
PROBE_SECONDS = 1.0
VALIDATIONS = 4
CHECKING = 0.2  # of a family's time at most goes into validation
LEAST_CHECKED = 40
LEAST_STEPS = 20
LEAST_N = 64
FEW, MANY = 4, 32  # samples that the probe draws
ASKED = 32  # texts that the probe lets a model write on
SLOW = 5.0  # seconds for a few, after which many are not tried
AMORTISED = 8.0  # times that a sample is cheaper in a full batch than among many, at most
LONG = 60.0  # seconds of training, from which on another arithmetic is tried
COMPILING = 600.0  # seconds of training, from which on that minute is not lost
WORTH = 0.85  # of a step's time, at most, for another arithmetic to be taken
PASSES = 3  # over the training data that a larger preset should still get


class Costs(NamedTuple):
    """Seconds that a family takes for one of each; 0 for what it does not do.

    Attributes:
        sample: in a full batch.
        likelihood: of one draw of noise.
        asked: to write on, after the beginning of a text, as the audit asks it to.
    """

    sample: float
    likelihood: float
    asked: float = 0.0


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch with so many threads, for the length of a `with`."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
        """The number of threads with which one family's steps are fastest: 1, 2, 4 … or all."""
        candidates = sorted({1 << k for k in range(cores().bit_length())} | {cores()})
        paces = {}
        for count in candidates:
            with threads(count):
                paces[count] = self.pace(name, "xs")[0]
        return min(candidates, key=lambda count: paces[count])

    def pace(self, name: str, size: str) -> tuple[float, Model]:
        """Seconds a step of a family's (last) stage at a preset, and the untrained model."""
        kind, space = kinds(name)[0], space_of(self.prepared, name)
        config = preset(kind, size, space, self.prepared.domain.conditions())
        return self.paced(name, kind, space, config)

    def paced(
        self,
        name: str,
        kind: type[Family[Any]],
        space: Space,
        config: Any,
        arithmetic: Arithmetic = PLAIN,
    ) -> tuple[float, Model]:
        """Seconds a step with a Config, and the model that was stepped."""
        conditions = steered(kind, self.prepared.domain.conditions())
        family = build(kind, config, space, conditions, seed=self.seed, name=name)
        source = self.prepared.source("train", space, train=True)
        batch = getattr(config, "batch", 256)
        job = Job(
            name=name,
            steps=100_000,
            batch=batch,
            seed=self.seed,
            arithmetic=str(arithmetic),
            device=self.device,
        )
        trainer = Trainer(family, source, job)
        with torch.random.fork_rng(devices=[]):
            trainer.start()
            times = list(_timed(trainer.advance, PROBE_SECONDS))
        trainer.arithmetic.end(trainer.module)
        model = Model(name, family, self.prepared.domain, self.prepared.shares, {})
        return statistics.median(times[1:] or times), model

    def fastest(
        self, name: str, kind: type[Family[Any]], space: Space, config: Any, *, share: float
    ) -> tuple[float, Model, Arithmetic]:
        """Seconds a step, the model, and the arithmetic in which a step is fastest.

        What is tried must repay the look at it: nothing in less than `LONG` seconds.
        """
        best = PLAIN
        pace, model = self.paced(name, kind, space, config)
        for change in _changes(share, self.device):
            tried = best._replace(**change)
            faster = self._tried(name, kind, space, config, tried)
            if faster < WORTH * pace:
                pace, best = faster, tried
        return pace, model, best

    def _tried(
        self, name: str, kind: type[Family[Any]], space: Space, config: Any, tried: Arithmetic
    ) -> float:
        """Seconds a step in an arithmetic; no end of them if this machine cannot do it."""
        try:
            return self.paced(name, kind, space, config, tried)[0]
        except Exception as error:  # a compiler may be missing, or not know a network
            why = str(error).partition("\n")[0]
            LOG.info("%s cannot be trained in %s here (%s)", name, tried, why)
            return math.inf

    def sampling(self, model: Model) -> float:
        """Seconds a sample in a full batch: each one's own, and its part of what any batch takes.

        A sampler that goes pixel by pixel takes nearly as long for one as for a hundred.
        """
        model.draw(2)
        few = _seconds(partial(model.draw, FEW))
        if few > SLOW:
            return few / FEW / AMORTISED
        many = _seconds(partial(model.draw, MANY))
        each = max((many - few) / (MANY - FEW), many / MANY / AMORTISED)
        return max(1e-7, each + max(0.0, few - FEW * each) / BATCH)

    def costs(self, model: Model) -> Costs:
        """What measuring a model takes."""
        return self.first_costs(model)._replace(asked=self.asking(model))

    def first_costs(self, model: Model) -> Costs:
        """What must be known of every preset that comes into question."""
        return Costs(self.sampling(model), self.density(model))

    def density(self, model: Model) -> float:
        """Seconds a likelihood of one draw; 0 without a density."""
        if model.family.claims.density.get(type(model.family.space)) is None:
            return 0.0
        x, c = self.prepared.tensors("valid", 64, model.family.space)
        with torch.no_grad():
            return _each(lambda n: model.log_mass(x[:n], take(c, slice(n))), len(x))

    def asking(self, model: Model) -> float:
        """Seconds for each text that a model is asked to write on; 0 if it writes none."""
        texts = RunTexts.of(self.prepared, self.seed, compared=ASKED)
        go_on = continuing(model) if texts is not None else None
        if texts is None or go_on is None:
            return 0.0
        begun = [text[:PREFIX] for text in texts.some("valid") if text]
        return _seconds(partial(go_on, begun, SUFFIX)) / len(begun)


def _changes(share: float, device: str) -> Iterator[dict[str, Any]]:
    """What may make a step faster, and is worth a look in `share` seconds of training."""
    if share < LONG or device == "mps":
        return
    yield {"width": "bfloat16"}
    yield {"channels_last": True}
    if share >= COMPILING:
        yield {"compiled": True}


def plan_family(
    probe: Probe,
    name: str,
    *,
    share: float,
    evaluation: float,
    size: str | None = None,
    changes: dict[str, str] | None = None,
) -> tuple[tuple[FamilyPlan, ...], Costs]:
    """The plan of one gradient family for `share` seconds, and what measuring it takes.

    The largest preset that still gets enough steps is chosen. A chain's stages share alike.

    Args:
        probe: to measure with.
        name: of the family or chain.
        share: seconds of training.
        evaluation: seconds for sampling.
        size: a preset to keep to, or None.
        changes: `--set` changes.
    """
    if "+" in name:
        return _plan_chain(probe, name, share, size)
    space = space_of(probe.prepared, name)
    conditions = probe.prepared.domain.conditions()
    kind = kinds(name)[0]
    best = None
    for candidate in (size,) if size else SIZES:
        config = preset(kind, candidate, space, conditions)
        plan = stage_plan(config, candidate, steps=1, seconds=share, changes=changes)
        config = from_json(kind.Config, dict(plan.config))
        with peak_memory() as memory:
            pace, model, arithmetic = probe.fastest(name, kind, space, config, share=share)
        costs = probe.first_costs(model)
        each = costs.sample
        checked = min(256, int(share * CHECKING / VALIDATIONS / each))
        checked = checked if checked >= LEAST_CHECKED else 0
        steps = int((share - VALIDATIONS * checked * each) / pace)
        enough = max(ENOUGH_STEPS, PASSES * len(probe.prepared.split.train) // plan.batch)
        if best is not None and steps < enough:
            break
        plan = replace(
            plan,
            steps=steps,
            checked=checked,
            arithmetic=str(arithmetic),
            expected=round(max(steps, 0) * pace + VALIDATIONS * checked * each, 1),
            memory=memory(),
        )
        best = (plan, costs, model)
        if steps < 2 * enough:
            break
    assert best is not None
    plan, costs, model = best
    _check_affordable(plan.steps, int(evaluation / costs.sample), pace, costs.sample)
    return (plan,), costs._replace(asked=probe.asking(model))


def _check_affordable(steps: int, n: int, pace: float, each: float) -> None:
    """Raise TrainingError if the time is too short to train or to judge a family at all."""
    if steps < LEAST_STEPS:
        needed = LEAST_STEPS * pace
        what = f"{max(steps, 0)} steps of training, and {LEAST_STEPS} take {needed:.0f} s"
    elif n < LEAST_N:
        what = f"{n} samples, and {LEAST_N} take {LEAST_N * each:.0f} s"
    else:
        return
    raise TrainingError(f"the time is too short: it allows {what} here. Give more time.")


def _plan_chain(
    probe: Probe, name: str, share: float, size: str | None
) -> tuple[tuple[FamilyPlan, ...], Costs]:
    """Half the time for each stage; the second is sized for the codes of the first."""
    first = name.split("+")[0]
    stages, first_costs = plan_family(probe, first, share=share / 2, evaluation=share, size=size)
    costs = Costs(first_costs.sample, 0.0)  # a chain has no density
    kind, kind2 = kinds(name)
    space = space_of(probe.prepared, first)
    conditions = probe.prepared.domain.conditions()
    config = from_json(kind.Config, dict(stages[0].config))
    start = build(kind, config, space, steered(kind, conditions), seed=probe.seed, name=first)
    codes = start.code_space
    config2 = preset(kind2, size or "xs", codes, conditions)
    if kind2.claims.learning == "counting":
        plan = stage_plan(config2, size or "xs", steps=None, seconds=share / 2)
        return (*stages, plan), costs
    pace = _code_pace(probe, name, kind2, codes, config2)
    steps = max(1, int(share / 2 / pace))
    plan = stage_plan(config2, size or "xs", steps=steps, seconds=share / 2)
    return (*stages, replace(plan, expected=round(steps * pace, 1))), costs


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


def _each(call: Callable[[int], object], most: int = 64) -> float:
    """Seconds an item, by batches that double until a short look is over."""
    size, start = min(4, most), time.monotonic()
    while True:
        each = _seconds(partial(call, size)) / size
        if 2 * size > most or time.monotonic() - start > PROBE_SECONDS / 2:
            return max(each, 1e-7)
        size *= 2


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
