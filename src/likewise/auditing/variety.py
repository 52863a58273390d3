"""Collapse: how much of the data do the samples reach?

The effect is the share of never-trained records that no sample comes near: 1 - coverage (Naeem et
al., "Reliable fidelity and diversity metrics for generative models", 2020), in the features of a
classifier, or of a random net where there are no labels. Real records leave about 3 % unreached.
Cannot see whether what is reached is reached in the right proportion.
"""

from dataclasses import replace

import torch

from likewise.auditing.rule import Effect, Material, Rule
from likewise.core.rng import fold, generator
from likewise.measures.intervals import wilson
from likewise.measures.nearest import distance_blocks, radii

NEIGHBOURS = 5
MATTERS = 0.5


def _effect(material: Material, level: float) -> Effect:
    name = "classifier" if "classifier" in material.features else "random"
    net = material.features[name]
    n = min(len(material.samples), len(material.test))
    made, real = net(material.samples[:n]), net(material.test)
    near = torch.full((len(real),), torch.inf, dtype=torch.float64)
    for _, distances in distance_blocks(made, real):
        near = torch.minimum(near, distances.min(dim=0).values)
    missed = int((near >= radii(real, min(NEIGHBOURS, len(real) - 1))).sum())
    low, high = wilson(missed, len(real), level)
    return Effect(
        value=missed / len(real),
        low=low,
        high=high,
        matters=MATTERS,
        sentence=f"{missed} of {len(real)} held-out records have no sample near them.",
        n=n,
        evidence={"features": name, "missed": missed},
    )


def _collapsed(material: Material) -> Material:
    """A few never-trained records, over and over."""
    few = material.valid[: max(1, len(material.valid) // 50)]
    seed = fold(material.seed, "audit", "collapse")
    rows = torch.randint(len(few), (len(material.test),), generator=generator(seed))
    return replace(material, samples=few[rows])


COLLAPSE = Rule(
    name="collapse",
    effect=_effect,
    positive=_collapsed,
    negative=lambda material: replace(material, samples=material.valid),
)
