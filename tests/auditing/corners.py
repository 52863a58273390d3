"""Records around five corners of a cube, and how the tests of the audit judge them."""

from dataclasses import replace

import torch

from likewise.auditing.rules import audit
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.train.job import Job
from likewise.train.loop import Trainer

SPACE = Continuous(shape=(4,))
NAMES = tuple("abcde")
LEVEL = 0.9875


def points(n, start, shares=None):
    """n points around five corners, and which corner."""
    rng = Draws(11, start)
    logits = torch.zeros(n, 5) if shares is None else torch.tensor(shares).log().expand(n, -1)
    label = rng.categorical(logits)
    corners = 7.0 * torch.nn.functional.one_hot(label, 5)[:, :4].float()
    return corners + rng.normal(n, 4), label


def log_density(x):
    """Of `points`, up to a constant."""
    corners = 7.0 * torch.eye(5)[:, :4]
    return (-torch.cdist(x, corners).square() / 2).logsumexp(dim=1)


def fit(trainable, source, *, steps, batch, seed):
    Trainer(trainable, source, Job(name="features", steps=steps, batch=batch, seed=seed)).run()


def judged(material, reference=None, **changes):
    if reference:
        changes["reference"] = replace(material.reference, **reference)
    return {finding.rule: finding for finding in audit(replace(material, **changes))}
