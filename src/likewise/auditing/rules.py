"""The audit: all rules that apply, with the errors controlled over the whole verdict."""

from likewise.auditing.copying import COPYING
from likewise.auditing.labels import DROPPED_CLASSES, LABEL_SHARES, group_shares
from likewise.auditing.material import Material
from likewise.auditing.membership import BY_DISTANCE, BY_LOSS
from likewise.auditing.rule import ERROR, Rule
from likewise.auditing.variety import COLLAPSE, REPEATS
from likewise.core.results import Finding

RULES: tuple[Rule[Material], ...] = (
    COPYING,
    BY_LOSS,
    BY_DISTANCE,
    COLLAPSE,
    REPEATS,
    DROPPED_CLASSES,
    LABEL_SHARES,
)
FEWEST = 50


def audit(material: Material, *, error: float = ERROR) -> list[Finding]:
    """One finding for each rule that applies.

    With k rules each interval is made at level 1 - error / k (Bonferroni), so the chance that any
    pass or fail of the verdict is wrong is at most `error`.

    Args:
        material: what to judge.
        error: allowed over the whole verdict.
    """
    rules = [rule for rule in _rules(material) if rule.applies(material) is None]
    real = material.reference
    fewest = min(len(material.samples), len(real.valid), len(real.test))
    if fewest < FEWEST:
        why = (
            f"at least {FEWEST} samples and as many records to choose and to test are needed to "
            f"tell anything; the smallest has {fewest}."
        )
        return [
            Finding(rule=rule.name, outcome="unknown", sentence=why, n=fewest) for rule in rules
        ]
    level = 1.0 - error / len(rules)
    return [rule.judge(material, level) for rule in rules]


def left_out(material: Material) -> dict[str, str]:
    """The rules that have nothing to say of some material, and why."""
    reasons = {rule.name: rule.applies(material) for rule in _rules(material)}
    return {name: why for name, why in reasons.items() if why is not None}


def _rules(material: Material) -> tuple[Rule[Material], ...]:
    """All rules, one for each further column among them."""
    return (*RULES, *(group_shares(group.name) for group in material.reference.groups))
