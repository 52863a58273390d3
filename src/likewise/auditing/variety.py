"""Variety: do the samples reach the whole of the data, and do they repeat themselves?

Collapse: the effect is the share of never-trained records that no sample comes near: 1 - coverage
(Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020), in the
features of a classifier, or where there are no labels of a net that taught itself (of a random one
if that is missing too). Real records leave about 3 % unreached. Cannot see whether what is reached
is reached in the right proportion.

Repeats: how many different examples does the generator make, by the birthday paradox (Arora and
Zhang, 2017)? Two samples are near-duplicates if they are nearer than half of what only 1 % of
never-trained records have to their nearest other one. A generator matters as poor if it repeats
itself as often as one that only had so many different examples as there are training records (or
20,000, which is variety enough), beyond what never-trained records do themselves. Cannot see
repeats that were moved or recoloured.
"""

import math
from dataclasses import replace

import torch

from likewise.auditing.material import Material, Reference
from likewise.auditing.rule import Effect, Rule
from likewise.core.rng import fold, generator
from likewise.measures.intervals import wilson
from likewise.measures.nearest import inside, radii
from likewise.measures.repeats import Repeats, repeats

NEIGHBOURS = 5
MATTERS = 0.5

RARE = 0.01
CLOSE = 0.5
ENOUGH = 20_000
COMPARED = 1000  # examples, with all of their pairs


def _effect(material: Material, level: float) -> Effect:
    real = material.reference
    name = next(n for n in ("classifier", "contrastive", "random") if n in real.features)
    net = real.features[name]
    n = min(len(material.samples), len(real.test))
    made, test = net(material.samples[:n]), net(real.test)
    _, reached = inside(made, test, radii(test, min(NEIGHBOURS, len(test) - 1)))
    missed = int((reached == 0).sum())
    low, high = wilson(missed, len(test), level)
    return Effect(
        value=missed / len(test),
        low=low,
        high=high,
        matters=MATTERS,
        sentence=f"{missed} of {len(test)} held-out records have no sample near them.",
        n=n,
        evidence={"features": name, "missed": missed},
    )


def _repeated(material: Material, level: float) -> Effect:
    real = material.reference
    within = CLOSE * float(real.held_out_to_held_out.quantile(RARE))
    made = real.features.space.flat(material.samples[:COMPARED])
    found = repeats(made, within, level)
    base = real.once(("repeats", level), lambda: _repeats_of_real(real, within, level))
    few = min(len(real.train), ENOUGH)
    rate, usual = found.pairs / found.possible, base.pairs / base.possible
    excess = rate - usual
    return Effect(
        value=few * excess,
        low=few * (excess - math.hypot(rate - found.rate.low, base.rate.high - usual)),
        high=few * (excess + math.hypot(found.rate.high - rate, usual - base.rate.low)),
        matters=1.0,
        sentence=_many(found, len(made), level),
        n=len(made),
        evidence={
            "near_duplicate_pairs": found.pairs,
            "at_least": _different(found.rate.high),
            "at_most": _different(found.rate.low),
            "pairs_among_real": base.pairs,
            "real_at_least": _different(base.rate.high),
            "within": within,
        },
    )


def _repeats_of_real(real: Reference, within: float, level: float) -> Repeats:
    """Of never-trained records: as many of valid as of test."""
    rows = torch.randperm(len(real.held_out), generator=real.draw("repeats"))[:COMPARED]
    return repeats(real.flat_held_out[rows], within, level)


def _many(found: Repeats, n: int, level: float) -> str:
    """How many different examples, in words."""
    least = _different(found.rate.high) or 0
    if not found.pairs:
        return (
            f"No two of {n} samples are near-duplicates: at least {least:,} different ones exist."
        )
    middle = _different(found.pairs / found.possible) or 0
    are = "pair is" if found.pairs == 1 else "pairs are"
    return (
        f"{found.pairs} of {found.possible:,} {are} near-duplicates, as if about "
        f"{middle:,} different samples existed (at least {least:,} at confidence {level:.1%})."
    )


def _different(rate: float) -> int | None:
    """How many different examples repeat at this rate, to two digits; None for no end."""
    if rate <= 0.0:
        return None
    return int(float(f"{1.0 / rate:.2g}"))


def _collapsed(material: Material) -> Material:
    """A few never-trained records, over and over."""
    real = material.reference
    few = real.valid[: max(1, len(real.valid) // 50)]
    seed = fold(real.seed, "audit", "collapse")
    rows = torch.randint(len(few), (len(real.test),), generator=generator(seed))
    return replace(material, samples=few[rows])


def _valid(material: Material) -> Material:
    """The valid records as if they were samples."""
    return replace(material, samples=material.reference.valid)


COLLAPSE = Rule(
    name="collapse",
    effect=_effect,
    positive=_collapsed,
    negative=_valid,
)
REPEATS = Rule(
    name="repeats",
    effect=_repeated,
    positive=_collapsed,
    negative=_valid,
)
