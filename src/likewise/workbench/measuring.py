"""How much of every family is measured: what the time that is kept for it allows.

All rows of a leaderboard are measured alike, so all families together decide: how many samples
each draws, and how many held-out records each is asked the likelihood of.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from likewise.auditing.extraction import MOST
from likewise.train.plan import FamilyPlan, Plan
from likewise.workbench.fitting import kinds
from likewise.workbench.material import JUDGED
from likewise.workbench.planning import LEAST_N, Costs
from likewise.workbench.texts import RunTexts

EVALUATION = 0.8  # of the time for measuring; the rest is for audit and report
MOST_DRAWS = 32  # of noise, that a bound averages over
COUNTED_DRAWS = 8
LEAST_COMPARED = 100  # texts: fewer tell hardly anything
ASKINGS = 4  # times that extraction asks as many texts: of two sides, for itself and a control


def measuring(plan: Plan, costs: Mapping[str, Costs], *, test: int, seconds: float) -> Plan:
    """A plan with how many samples are drawn, and how many test records are read, by every row.

    Args:
        plan: of all families that will be measured.
        costs: what measuring each of them takes.
        test: how many test records there are.
        seconds: that are kept for measuring.
    """
    half = seconds * EVALUATION / 2  # for samples, and as much for likelihoods
    drawn = sum(cost.sample for cost in costs.values())
    most = max(LEAST_N, int(half / drawn)) if drawn else plan.samples
    judged = judged_by((cost.likelihood for cost in costs.values()), half, test)
    each = half / max(1, len(costs))
    families = {
        name: (_with_draws(name, stages, costs[name].likelihood * judged, each), *stages[1:])
        if name in costs
        else stages
        for name, stages in plan.families.items()
    }
    return replace(
        plan,
        families=families,
        n=min(plan.n, most),
        samples=min(plan.samples, most),
        judged=judged,
    )


def comparing(plan: Plan, costs: Mapping[str, Costs], *, row: float, seconds: float) -> int:
    """How many texts are compared: fewer where asking about all takes more than is left.

    Args:
        plan: with the numbers of samples and of records that are read.
        costs: what measuring each family takes.
        row: seconds that the scores of a row take, however few its texts are.
        seconds: that are kept for measuring.
    """
    assert plan.judged is not None
    asked = ASKINGS * sum(cost.asked for cost in costs.values())
    read = plan.judged + 2 * min(JUDGED, plan.judged)  # by scores, and by the audit
    used = sum(plan.samples * cost.sample + read * cost.likelihood for cost in costs.values())
    left = seconds - used - row * (len(costs) + 1)  # real vs real besides
    most = min(plan.compared, plan.samples)  # so real vs real has no more than the others
    if not asked or left >= MOST * asked:
        return most
    return min(most, max(LEAST_COMPARED, int(left / asked)))


def seconds_of_a_row(texts: RunTexts) -> float:
    """Seconds that the scores of a few texts take: most of it is reading train."""
    x, _ = texts.prepared.tensors("valid", LEAST_COMPARED)
    start = time.monotonic()
    texts.score(x)
    return time.monotonic() - start


def judged_by(likelihoods: Iterable[float], seconds: float, test: int) -> int:
    """How many test records all families can be asked about: all, or what the time allows.

    Example:
        >>> judged_by([0.001, 0.009], 5.0, 892), judged_by([0.001, 0.009], 50.0, 892)
        (500, 892)
    """
    once = sum(likelihoods)
    return min(test, max(LEAST_N, int(seconds / once))) if once else test


def draws_within(seconds: float, one: float, most: int = MOST_DRAWS) -> int:
    """How many draws of noise a likelihood can afford, a power of two.

    Example:
        >>> draws_within(10.0, 2.0), draws_within(1.0, 2.0)
        (4, 1)
    """
    draws = 1
    while 2 * draws <= most and 2 * draws * one <= seconds:
        draws *= 2
    return draws


def _with_draws(
    name: str, stages: tuple[FamilyPlan, ...], one: float, seconds: float
) -> FamilyPlan:
    """The first stage with the draws of its likelihood; nobody ranks a control, so it takes 1."""
    claims = kinds(name)[-1].claims
    if claims.role == "control":
        return replace(stages[0], draws=1)
    most = COUNTED_DRAWS if claims.learning == "counting" else MOST_DRAWS
    return replace(stages[0], draws=draws_within(seconds, one, most))
