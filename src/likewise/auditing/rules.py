"""The audit: all rules that apply, with the errors controlled over the whole verdict."""

from likewise.auditing.copying import COPYING
from likewise.auditing.labels import DROPPED_CLASSES, LABEL_SHARES
from likewise.auditing.rule import ERROR, Material, Rule
from likewise.auditing.variety import COLLAPSE
from likewise.core.results import Finding

RULES: tuple[Rule, ...] = (COPYING, COLLAPSE, DROPPED_CLASSES, LABEL_SHARES)
FEWEST = 50


def audit(material: Material, *, error: float = ERROR) -> list[Finding]:
    """One finding for each rule that applies.

    With k rules each interval is made at level 1 - error / k (Bonferroni), so the chance that any
    pass or fail of the verdict is wrong is at most `error`.

    Args:
        material: what to judge.
        error: allowed over the whole verdict.
    """
    rules = [rule for rule in RULES if rule.applies(material) is None]
    fewest = min(len(material.samples), len(material.valid), len(material.test))
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
