"""What a model says of held-out records: how likely they are, and how well it draws them again."""

from dataclasses import replace

import torch
from torch import Tensor

from likewise.core.condition import Batch
from likewise.core.results import Score
from likewise.core.rng import fold
from likewise.evaluation.scorecard import counted, dimensions_of, score_likelihood
from likewise.store.model import Model
from likewise.workbench.data import Prepared

REDRAWN = 256


def likelihood(
    prepared: Prepared, model: Model, *, draws: int, judged: int | None, seed: int
) -> Score:
    """Bits per dimension of the test records, or why there are none.

    Args:
        prepared: the data.
        model: whose `log_mass` is asked.
        draws: of noise, that a bound averages over.
        judged: how many test records are read; None for all.
        seed: of the draws.
    """
    space = model.family.space
    claim = model.family.claims.density.get(type(space))
    if claim is None:
        blank = Score(value=None, unit="bits/dim", better="lower", n=0)
        return replace(blank, why=f"{model.name} has no density")
    x, c = prepared.tensors("test", judged, space)
    with torch.no_grad():
        values = model.log_mass(x, c, seed=fold(seed, "density"), draws=draws)
    joint = any(name in model.shares for name in c)  # log p(label) + log p(x | label) <= log p(x)
    bound = claim == "bound" or joint
    score = score_likelihood(
        values, dimensions_of(space, x), comparable=counted(space), bound=bound
    )
    words = [f"{draws} noise draws"] if claim == "bound" else []
    words += ["the label's own share is counted in"] if joint else []
    return replace(score, how="; ".join([score.how, *words]))


def reconstruction(
    prepared: Prepared, model: Model, *, judged: int | None
) -> tuple[Score, Tensor, Batch]:
    """Root mean squared difference of test records and their decoded codes, and the latter.

    Args:
        prepared: the data.
        model: that has a latent.
        judged: how many records the likelihood reads, None for all; a few hundred do here.
    """
    few = REDRAWN if judged is None else min(REDRAWN, judged)
    x, c = prepared.tensors("test", few, model.family.space)
    names = {condition.name for condition in model.family.conditions}
    known = {name: pair for name, pair in c.items() if name in names}
    with torch.no_grad():
        x = x.to(model.family.device)
        again = model.family.decode(model.family.encode(x, known), known)
    blank = Score(value=None, unit="of the value's scale", better="lower", n=len(x))
    if x.dtype != torch.float32 or bool(x.isnan().any()):
        return replace(blank, why="it is measured on complete numbers only"), again.cpu(), c
    value = float((again - x).square().mean().sqrt())
    how = "root mean square over test records, through encode and decode"
    return replace(blank, value=value, how=how), again.cpu(), c
