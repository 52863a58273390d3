"""The audit of texts: all rules that apply, with the errors controlled over the whole verdict."""

from likewise.auditing.extraction import EXTRACTION
from likewise.auditing.rule import ERROR, Rule
from likewise.auditing.rules import FEWEST
from likewise.auditing.texts import RECITATION, Texts
from likewise.auditing.texts_balance import Words, balance_rule
from likewise.auditing.texts_canaries import CANARIES
from likewise.auditing.texts_membership import BY_REFERENCE, BY_ZLIB
from likewise.auditing.texts_personal import PERSONAL_DATA
from likewise.core.results import Finding

TEXT_RULES: tuple[Rule[Texts], ...] = (
    RECITATION,
    EXTRACTION,
    BY_ZLIB,
    BY_REFERENCE,
    PERSONAL_DATA,
    CANARIES,
)


def audit_texts(
    texts: Texts, *, error: float = ERROR, groups: Words | None = None
) -> list[Finding]:
    """One finding for each rule over texts that applies.

    With k rules each interval is made at level 1 - error / k (Bonferroni). Where the same model is
    audited by its tensors too, share the error between the two audits.

    Args:
        texts: what to judge.
        error: allowed over these findings.
        groups: words of groups whose balance is looked at, such as `GENDER`; None for none.
    """
    reasons = _reasons(texts, groups)
    rules = [rule for rule in _rules(groups) if rule.name not in reasons]
    real = texts.reference
    fewest = min(len(texts.samples), len(real.valid), len(real.test))
    if fewest < FEWEST:
        why = (
            f"at least {FEWEST} samples and as many texts to choose and to test are needed to "
            f"tell anything; the smallest has {fewest}."
        )
        return [
            Finding(rule=rule.name, outcome="unknown", sentence=why, n=fewest) for rule in rules
        ]
    level = 1.0 - error / max(1, len(rules))
    return [rule.judge(texts, level) for rule in rules]


def texts_left_out(texts: Texts, *, groups: Words | None = None) -> dict[str, str]:
    """The rules over texts that have nothing to say of some, and why."""
    return _reasons(texts, groups)


def _rules(groups: Words | None) -> tuple[Rule[Texts], ...]:
    return (*TEXT_RULES, balance_rule(groups)) if groups else TEXT_RULES


def _reasons(texts: Texts, groups: Words | None) -> dict[str, str]:
    found = {rule.name: rule.applies(texts) for rule in _rules(groups)}
    return {name: why for name, why in found.items() if why is not None}
