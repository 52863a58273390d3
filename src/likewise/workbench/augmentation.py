"""Whether augmentation helps: one family trained for a moment, with it and without it, thrice."""

from typing import NamedTuple

import torch

from likewise.core.contract import Source
from likewise.core.rng import Draws, fold
from likewise.evaluation.features import FeatureSet
from likewise.measures.intervals import mean_interval
from likewise.store.model import Model
from likewise.train.job import Job
from likewise.train.loop import Trainer
from likewise.workbench.fitting import build, kinds, preset, space_of, steered
from likewise.workbench.job import Work

SHARE = 0.06  # of the budget that all trainings together may take
PAIRS = 3  # of trainings: two that differ in their seed alone differ too
LEAST_STEPS = 100
CHECKED = 500
LOOKED_AT = 64


class Trial(NamedTuple):
    """What pairs of trainings that differ in augmentation alone came to.

    Attributes:
        family: which was trained.
        steps: how many, each time.
        augmented, plain: kernel distances to valid records, one a pair.
    """

    family: str
    steps: int
    augmented: tuple[float, ...]
    plain: tuple[float, ...]

    @property
    def sentence(self) -> str:
        """What may be said of it: Student's 95 % interval of the paired differences must tell."""
        augmented, plain = torch.tensor(self.augmented), torch.tensor(self.plain)
        low, high = mean_interval((augmented - plain).double())
        word = "made no clear difference"
        if low > 0 or high < 0:
            word = "helped" if high < 0 else "hurt (--load augment=none leaves it out)"
        return (
            f"Augmentation {word}: in {len(plain)} pairs of trainings, of {self.steps} steps of "
            f"{self.family} each, the kernel distance to held-out records came to "
            f"{augmented.mean():.3g} with it and {plain.mean():.3g} without it; the 95% interval "
            f"of the difference is {low:.2g} to {high:.2g}."
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
    steps = int(budget * SHARE / (2 * PAIRS * pace))
    if steps < LEAST_STEPS:
        return None
    work.listener.phase("", "trying augmentation")
    found = [
        tuple(_trained(work, name, features, steps, varied, pair) for pair in range(PAIRS))
        for varied in (True, False)
    ]
    return Trial(name, steps, *found)


def _trained(
    work: Work, name: str, features: FeatureSet, steps: int, augmented: bool, pair: int
) -> float:
    """The kernel distance that one training comes to."""
    seed = fold(work.seed, "augmentation", pair)
    prepared, kind = work.prepared, kinds(name)[0]
    space = space_of(prepared, name)
    conditions = prepared.domain.conditions()
    config = preset(kind, "xs", space, conditions)
    family = build(kind, config, space, steered(kind, conditions), seed=seed, name=name)
    source: Source = prepared.source("train", space, train=augmented)
    job = Job(
        name=f"augmentation trial of {name}",
        steps=steps,
        batch=getattr(config, "batch", 256),
        seed=seed,
        ema=getattr(config, "ema", 0.0),
        device=work.device,
    )
    if Trainer(family, source, job).run().interrupted:
        raise KeyboardInterrupt
    model = Model(name, family, prepared.domain, prepared.shares, {})
    validate = work.validator(name, lambda: features, CHECKED)
    assert validate is not None
    return validate(model).value
