"""Membership: can somebody tell which records were trained on?

Two attacks give every record a score that should be high for training records ("members"), and the
effect is how far the area under their ROC curve lies above 0.5, which is chance:

* by loss: the model's own log mass (Yeom et al., "Privacy risk in machine learning: analyzing the
  connection to overfitting", 2018). Needs the model, and a family with a density.
* by distance: how near a record lies to the nearest sample, against how near it lies to the
  nearest held-out record, so that typical records are not taken for members (Hilprecht et al.,
  "Monte Carlo and reconstruction membership inference attacks", 2019; Chen et al., "GAN-Leaks",
  2020).
  Needs nothing but samples, and sees only records that a sample came near.

An area of 0.6 matters: a training record outdoes a new one in 6 of 10 pairs. The share that is
found at 1 % false alarms is evidence beside it, since a few hundred held-out records cannot bound
it from above. Both are attacks on the average record; neither is the strongest attack there is.
"""

from dataclasses import replace

import torch
from torch import Tensor

from likewise.auditing.material import Losses, Material
from likewise.auditing.rule import Effect, Rule
from likewise.measures.nearest import nearest
from likewise.measures.roc import area, found_at

MATTERS = 0.1


def _effect(members: Tensor, others: Tensor, level: float, how: str, n: int) -> Effect:
    """How well a score (m,) of members and (k,) of others tells them apart."""
    whole, strict = area(members, others, level), found_at(members, others)
    return Effect(
        value=whole.value - 0.5,
        low=whole.interval.low - 0.5,
        high=whole.interval.high - 0.5,
        matters=MATTERS,
        sentence=(
            f"{how}, a training record outdoes a never-trained one in {whole.value:.1%} of pairs, "
            f"where 50% is chance ({whole.interval.low:.1%} to {whole.interval.high:.1%}); "
            f"{strict.value:.1%} of {len(members)} training records stand out from 99% of "
            f"{len(others)} others ({strict.interval.low:.1%} to {strict.interval.high:.1%})."
        ),
        n=n,
        evidence={
            "area": whole.value,
            "found_at_1_percent": strict.value,
            "found_low": strict.interval.low,
            "found_high": strict.interval.high,
            "training_records": len(members),
            "never_trained": len(others),
        },
    )


# -- by loss ------------------------------------------------------------------------------


def _has_losses(material: Material) -> str | None:
    return None if material.losses is not None else "there is no density to ask for a loss"


def _unusable(material: Material) -> str | None:
    if material.losses is None:
        return None
    bad = sum(int(values.isnan().sum()) for values in material.losses)
    total = sum(map(len, material.losses))
    return f"{bad} of {total} log masses of real records are no numbers." if bad else None


def _by_loss(material: Material, level: float) -> Effect:
    losses = material.losses
    assert losses is not None
    others = torch.cat([losses.valid, losses.test])
    n = len(losses.train) + len(others)
    return _effect(losses.train, others, level, "By the model's own loss", n)


def _remembered(material: Material) -> Material:
    """The losses of a Parzen window on train, in the limit of no width: the distance to it."""
    real = material.reference
    valid, test = (-real.held_out_to_train).split([len(real.valid), len(real.test)])
    train = torch.zeros(len(real.asked), dtype=valid.dtype)
    return replace(material, losses=Losses(train, valid, test))


def _never_seen(material: Material) -> Material:
    """The losses of valid records as if they had been trained on, against those of test ones."""
    losses = material.losses
    assert losses is not None
    return replace(material, losses=Losses(losses.valid, losses.valid[:0], losses.test))


PLACED = (
    "But the data were split by place, so training records are of another part of them than the "
    "others, and the rule cannot tell that from memory."
)


def _placed(material: Material) -> str | None:
    return PLACED if material.reference.by_place else None


BY_LOSS = Rule(
    name="membership by loss",
    effect=_by_loss,
    positive=_remembered,
    negative=_never_seen,
    applies=_has_losses,
    unable=_unusable,
    doubt=_placed,
    shared=False,
)


# -- by distance --------------------------------------------------------------------------


def _by_distance(material: Material, level: float) -> Effect:
    real = material.reference
    made = real.features.space.flat(material.samples)

    def score(records: Tensor, held_out: Tensor) -> Tensor:
        """The nearer share of the way from held-out records to samples: 1 on a sample."""
        way = nearest(records, made)[0][:, 0] + held_out
        return torch.where(way > 0, held_out / way.clamp(min=1e-12), 0.5)

    members = score(real.flat_train[real.asked], real.asked_to_held_out)
    others = score(real.flat_held_out, real.held_out_to_held_out)
    how = f"By the distance to the nearest of {len(made)} samples"
    return _effect(members, others, level, how, len(made))


def _given_away(material: Material) -> Material:
    """The very training records that are asked about, as if they were samples."""
    real = material.reference
    return replace(material, samples=real.train[real.asked])


BY_DISTANCE = Rule(
    name="membership by distance",
    effect=_by_distance,
    positive=_given_away,
    negative=Material.untrained,
)
