"""Whether augmentation helps: one family trained twice for a moment, with it and without it."""

import math
from typing import NamedTuple

import torch

from likewise.core.contract import Source
from likewise.core.rng import Draws
from likewise.evaluation.features import FeatureSet
from likewise.store.model import Model
from likewise.train.job import Checked, Job
from likewise.train.loop import Trainer
from likewise.workbench.fitting import build, kinds, preset, space_of, steered
from likewise.workbench.job import Work

SHARE = 0.03  # of the budget that each of the two trainings may take
LEAST_STEPS = 100
CHECKED = 500
LOOKED_AT = 64


class Trial(NamedTuple):
    """What two trainings that differ in augmentation alone came to.

    Attributes:
        family: which was trained.
        steps: how many, each time.
        augmented, plain: kernel distance to valid records, with its standard error.
    """

    family: str
    steps: int
    augmented: Checked
    plain: Checked

    @property
    def sentence(self) -> str:
        """What may be said of it: a difference of less than two standard errors is none."""
        difference = self.augmented.value - self.plain.value
        error = math.hypot(self.augmented.error, self.plain.error)
        if not math.isfinite(error):
            return "There are too few held-out records to tell whether augmentation helps."
        word = "made no clear difference"
        if abs(difference) > 2 * error:
            word = "helped" if difference < 0 else "hurt (--load augment=none leaves it out)"
        return (
            f"Augmentation {word}: {self.family}, {self.steps} steps with it and without it, "
            f"came to a kernel distance to held-out records of {_said(self.augmented)} and "
            f"{_said(self.plain)}."
        )


def augments(work: Work) -> bool:
    """Whether training batches differ from the records they are made of."""
    plain, varied = (work.prepared.source("train", train=train) for train in (False, True))
    rows = torch.arange(min(LOOKED_AT, len(plain)))
    return not torch.equal(plain.batch(rows, Draws(0))[0], varied.batch(rows, Draws(0))[0])


def try_augmentation(
    work: Work, name: str, features: FeatureSet, *, pace: float, budget: float
) -> Trial | None:
    """Train a family with augmentation and without; None if the budget is too short for it.

    Args:
        work: the run.
        name: of a family that learns by gradients, no chain.
        features: of the run.
        pace: seconds a step of the family at preset "xs".
        budget: seconds of the whole run.
    """
    steps = int(budget * SHARE / pace)
    if steps < LEAST_STEPS:
        return None
    work.listener.phase("", "trying augmentation")
    results = [_trained(work, name, features, steps, varied) for varied in (True, False)]
    return Trial(name, steps, *results)


def _trained(work: Work, name: str, features: FeatureSet, steps: int, augmented: bool) -> Checked:
    prepared, kind = work.prepared, kinds(name)[0]
    space = space_of(prepared, name)
    conditions = prepared.domain.conditions()
    config = preset(kind, "xs", space, conditions)
    family = build(kind, config, space, steered(kind, conditions), seed=work.seed, name=name)
    source: Source = prepared.source("train", space, train=augmented)
    job = Job(
        name=f"augmentation trial of {name}",
        steps=steps,
        batch=getattr(config, "batch", 256),
        seed=work.seed,
        ema=getattr(config, "ema", 0.0),
        device=work.device,
    )
    if Trainer(family, source, job).run().interrupted:
        raise KeyboardInterrupt
    model = Model(name, family, prepared.domain, prepared.shares(), {})
    validate = work.validator(features, CHECKED)
    assert validate is not None
    return validate(model)


def _said(checked: Checked) -> str:
    return f"{checked.value:.3g} ± {checked.error:.2g}"
