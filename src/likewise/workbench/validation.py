"""What a training is asked on held-out records: by its likelihood where it has one that counts.

A family of texts is judged by the bits that held-out texts cost it, so that is what chooses its
checkpoint; any other by the kernel distance of its samples, in other features than the headline
is reported in. Feature nets take long to train, so they are asked for where a distance is taken.
"""

import math
from collections.abc import Callable

import torch

from likewise.core.contract import Claims
from likewise.core.rng import fold
from likewise.evaluation.features import FeatureSet
from likewise.measures.kernel import kernel_distance
from likewise.store.model import Model
from likewise.train.job import Checked
from likewise.workbench.data import Prepared
from likewise.workbench.scoring import tokens_cost

Validate = Callable[[Model], Checked]
Features = Callable[[], FeatureSet]


def validator(
    prepared: Prepared, features: Features, claims: Claims, checked: int, *, seed: int
) -> Validate | None:
    """The question, or None if there is no time for any.

    Args:
        prepared: the data; its valid part is asked about.
        features: gives the feature nets of the run; called only if samples are asked about.
        claims: of the family.
        checked: how many samples, or records, a question takes.
        seed: of the samples.
    """
    if not checked:
        return None
    if prepared.domain.headline == "bits_per_byte" and any(claims.density.values()):
        return _by_likelihood(prepared, checked, seed)
    return _by_samples(prepared, features(), checked, seed)


def _by_samples(prepared: Prepared, features: FeatureSet, checked: int, seed: int) -> Validate:
    """Kernel distance of samples to valid."""
    name = "random" if "classifier" in features else "pca"
    real, _ = prepared.tensors("valid", checked)
    known = features[name](real)

    def validate(model: Model) -> Checked:
        x, _ = model.draw(len(real), seed=fold(seed, "validate"))
        score = kernel_distance(features[name](prepared.canonical(x, model.family.space)), known)
        if score.value is None or score.low is None or score.high is None:
            return Checked(0.0, math.inf)
        return Checked(score.value, (score.high - score.low) / 4)

    return validate


def _by_likelihood(prepared: Prepared, checked: int, seed: int) -> Validate:
    """Nats a token of valid records, all of the same ones each time."""

    def validate(model: Model) -> Checked:
        with torch.no_grad():
            return tokens_cost(prepared, model, "valid", checked, seed=fold(seed, "validate"))

    return validate
