"""What a model says of held-out records: how likely they are, and how well it draws them again."""

from dataclasses import replace

import torch
from torch import Tensor

from likewise.core.condition import Batch, Tokens
from likewise.core.records import Part
from likewise.core.results import Score
from likewise.core.rng import fold
from likewise.evaluation.scorecard import (
    counted,
    dimensions_of,
    score_likelihood,
    score_sizes,
)
from likewise.store.model import Model
from likewise.train.job import Checked
from likewise.workbench.data import Prepared, gather

REDRAWN = 256
PROMPT = "prompt"  # the condition that is what stands before a record


def likelihoods(
    prepared: Prepared, model: Model, *, draws: int, judged: int | None, seed: int
) -> dict[str, Score]:
    """What the test records cost a model, by name: "nll", and for texts bits a byte and the like.

    Args:
        prepared: the data.
        model: whose `log_mass` is asked.
        draws: of noise, that a bound averages over.
        judged: how many test records are read; None for all.
        seed: of the draws.
    """
    space = model.family.space
    claim = model.family.claims.density.get(type(space))
    records = prepared.some("test", judged)
    sizes = prepared.domain.sizes(records)
    if claim is None:
        blank = Score(value=None, unit="bits/dim", better="lower", n=0)
        return {"nll": replace(blank, why=f"{model.name} has no density")}
    x, c = gather(prepared.domain.source(records, space, train=False))
    with torch.no_grad():
        values = model.log_mass(x, c, seed=fold(seed, "density"), draws=draws)
    joint = any(name in model.shares for name in c)  # log p(label) + log p(x | label) <= log p(x)
    bound = claim == "bound" or joint
    counts = dimensions_of(space, x)
    scores = {"nll": score_likelihood(values, counts, comparable=counted(space), bound=bound)}
    if sizes is not None:
        scores |= score_sizes(values, sizes, counts, bound=bound)
    words = [_records(prepared, model, counts, c, len(x))]
    words += [f"{draws} noise draws"] if claim == "bound" else []
    words += ["the label's own share is counted in"] if joint else []
    return {
        name: replace(score, how="; ".join([score.how, *words])) for name, score in scores.items()
    }


def _records(prepared: Prepared, model: Model, counts: int | Tensor, c: Batch, count: int) -> str:
    """Which records a likelihood read, and for sequences the context rule, in words.

    Example: "500 of 892 test records of up to 128 tokens, each after up to 128 before it".
    """
    said = f"{count:,} of {len(prepared.split.test):,} test records"
    if isinstance(counts, int):
        return said
    said += f" of up to {int(counts.max())} tokens"
    kinds = [one for one in model.family.conditions if isinstance(one, Tokens) and one.name in c]
    for kind in kinds:
        values, _ = c[kind.name]
        most = values.shape[1] if kind.pad is None else int((values != kind.pad).sum(dim=1).max())
        if kind.name != PROMPT:
            said += f", each given a {kind.name} of up to {most}"
        elif most > 1:  # one is but the mark that opens a document
            said += f", each after up to {most} before it"
    return said if kinds else f"{said}, each by itself"


def tokens_cost(
    prepared: Prepared, model: Model, part: Part, judged: int, *, seed: int
) -> Checked:
    """Nats a token of some records of a part, evenly spread, and their standard error."""
    space = model.family.space
    x, c = prepared.tensors(part, judged, space)
    nats = -model.log_mass(x, c, seed=seed).double()
    counts = torch.as_tensor(dimensions_of(space, x)).double().expand(len(nats))
    mean = nats.sum() / counts.sum()
    spread = (nats - mean * counts).std() / counts.mean() / len(nats) ** 0.5
    return Checked(float(mean), float(spread))


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
