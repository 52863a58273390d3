"""Copying: are samples nearer to training records than new records would be?

For an example s, let r(s) = d(s, train) / (d(s, train) + d(s, held out)), with d the distance to
the nearest record. A generator that knows the distribution but no record has the same r as
records it never saw; smooth or typical samples are near to both sides alike; a copy has r near 0.
A sample counts as a near-copy if its r lies a fifth below what only 1 % of never-trained records
reach, and the effect is the share of near-copies among the samples beyond that share among
never-trained records. Cannot see copies that were moved or recoloured.
"""

from dataclasses import replace

import torch
from torch import Tensor

from likewise.auditing.rule import Effect, Material, Rule
from likewise.measures.intervals import newcombe
from likewise.measures.nearest import nearest

RARE = 0.01
CLEARLY = 0.8
MATTERS = 0.05


def _effect(material: Material, level: float) -> Effect:
    known, samples = _ratios(material)
    cut = CLEARLY * float(known.quantile(RARE))
    copies, base = int((samples < cut).sum()), int((known < cut).sum())
    n, m = len(samples), len(known)
    low, high = newcombe(copies, n, base, m, level)
    return Effect(
        value=copies / n - base / m,
        low=low,
        high=high,
        matters=MATTERS,
        sentence=(
            f"{copies} of {n} samples are suspiciously near to a training record, and {base} of "
            f"{m} records that were never trained on."
        ),
        n=n,
        evidence={"near_copies": copies, "ratio_below": cut},
    )


def closest(material: Material, count: int) -> tuple[Tensor, Tensor]:
    """(rows of samples, rows of train): the `count` pairs that most look like copying."""
    _, samples = _ratios(material)
    rows = samples.argsort()[:count]
    flat = material.features.space.flat
    _, matches = nearest(flat(material.samples[rows]), flat(material.train))
    return rows, matches[:, 0]


def _ratios(material: Material) -> tuple[Tensor, Tensor]:
    """r of never-trained records and r of the samples."""
    flat = material.features.space.flat
    train, made = flat(material.train), flat(material.samples)
    known = flat(torch.cat([material.valid, material.test]))
    return (
        _ratio(nearest(known, train)[0], nearest(known, known, exclude_self=True)[0]),
        _ratio(nearest(made, train)[0], nearest(made, known)[0]),
    )


def _ratio(train: Tensor, held_out: Tensor) -> Tensor:
    total = train + held_out
    return torch.where(total > 0, train / total.clamp(min=1e-12), 0.5)[:, 0]


def _copies(material: Material) -> Material:
    """Training records themselves, as if they were samples."""
    return replace(material, samples=material.train[: len(material.samples)])


def _new(material: Material) -> Material:
    """The test records as if they were samples, judged by the valid ones alone."""
    return replace(material, samples=material.test, test=material.test[:0])


COPYING = Rule(
    name="copying",
    effect=_effect,
    positive=_copies,
    negative=_new,
)
