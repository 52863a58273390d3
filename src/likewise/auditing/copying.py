"""Copying: are samples nearer to training records than new records would be?

For an example s, let r(s) = d(s, train) / (d(s, train) + d(s, held out)), with d the distance to
the nearest record. A generator that knows the distribution but no record has the same r as
records it never saw; smooth or typical samples are near to both sides alike; a copy has r near 0.
A sample counts as a near-copy if its r lies a fifth below what only 1 % of never-trained records
reach. Where values are few, as in names, an honest generator meets training records by chance, and
held-out ones as often for their number; so as many near-copies are expected as the samples that
are as near to a held-out record say, times the training records for each held-out one. The effect
is the share of near-copies beyond that, and beyond the share among never-trained records. Cannot
see copies that were moved or recoloured. Where 1 % of never-trained records equal a training
record, as short answers do, nothing is nearer than they are; counted are then samples that equal
one.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.auditing.material import Material
from likewise.auditing.rule import Effect, Rule
from likewise.measures.intervals import weighed

RARE = 0.01
CLEARLY = 0.8
MATTERS = 0.05


def _effect(material: Material, level: float) -> Effect:
    real = material.reference
    known = _ratio(real.held_out_to_train, real.held_out_to_held_out)
    samples = _ratio(material.to_train[0], material.to_held_out)
    cut = CLEARLY * float(known.quantile(RARE))
    copies, base = _count_below(samples, cut), _count_below(known, cut)
    n, m = len(samples), len(known)
    met = _count_below(1.0 - samples, cut)  # as near to a held-out record
    times = len(real.train) / len(real.held_out)
    low, high = weighed([(1.0, copies, n), (-1.0, base, m), (-times, met, n)], level)
    near, to = ("are suspiciously near to", "to ") if cut > 0.0 else ("equal", "")
    chance = f", and {met} {to}a held-out one, {times:.1f} times fewer of which there are"
    chance = chance if met else ""
    return Effect(
        value=copies / n - base / m - times * met / n,
        low=low,
        high=high,
        matters=MATTERS,
        sentence=(
            f"{copies} of {n} samples {near} a training record{chance}"
            f"; so are {base} of {m} records that were never trained on."
        ),
        n=n,
        evidence={"near_copies": copies, "ratio_below": cut, "met_by_chance": met},
    )


def _count_below(ratios: Tensor, cut: float) -> int:
    """How many lie below the cut, or are 0, which none lies below."""
    return int(((ratios < cut) | (ratios == 0.0)).sum())


class Pairs(NamedTuple):
    """Samples and the training records nearest to them, those first that most look like copies.

    Attributes:
        samples, train: rows of each, (k,) int64.
        to_train, to_held_out: how far each sample is from that record, and from the nearest
            record that was never trained on, (k,) float64.
        ratio: to_train / (to_train + to_held_out); near 0 for a copy.
    """

    samples: Tensor
    train: Tensor
    to_train: Tensor
    to_held_out: Tensor
    ratio: Tensor


def closest(material: Material, count: int) -> Pairs:
    """The `count` pairs that most look like copying."""
    (to_train, matches), to_held_out = material.to_train, material.to_held_out
    ratio = _ratio(to_train, to_held_out)
    rows = ratio.argsort(stable=True)[:count]
    return Pairs(rows, matches[rows], to_train[rows], to_held_out[rows], ratio[rows])


def _ratio(train: Tensor, held_out: Tensor) -> Tensor:
    total = train + held_out
    return torch.where(total > 0, train / total.clamp(min=1e-12), 0.5)


def _copies(material: Material) -> Material:
    """Training records themselves, as if they were samples."""
    return replace(material, samples=material.reference.train[: len(material.samples)])


COPYING = Rule(
    name="copying",
    effect=_effect,
    positive=_copies,
    negative=Material.untrained,
)
