"""What an audit rule is: a measurement with controls that prove it can tell.

A rule measures one harmful effect and its interval. It passes only if the interval excludes the
smallest effect that matters, fails if the interval lies beyond it, and else says unknown. Every
rule runs again on data that must fail and on data that must pass; if either control goes wrong the
rule has proved nothing and says unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor

from likewise.core.results import Finding, Outcome
from likewise.evaluation.features import FeatureSet

ERROR = 0.05


@dataclass(frozen=True, kw_only=True)
class Material:
    """What an audit works on; all examples are of the Space that measures read.

    Attributes:
        samples: (n, ...) what the model made.
        train: (m, ...) what it was trained on.
        valid, test: (k, ...) records that it never saw.
        features: the feature nets of the run.
        labels: (m,) int64 labels of train, or None.
        names: of the labels.
        seed: of the controls.
    """

    samples: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor
    features: FeatureSet
    labels: Tensor | None = None
    names: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Effect:
    """How large a harmful effect is: 0 is none.

    Attributes:
        value, low, high: the effect and its interval.
        matters: the smallest effect that matters.
        sentence: what was seen, in words.
        n: how many samples it rests on.
        evidence: further numbers.
    """

    value: float
    low: float
    high: float
    matters: float
    sentence: str
    n: int
    evidence: Mapping[str, Any]

    @property
    def outcome(self) -> Outcome:
        """Pass, fail or unknown, by where the interval lies."""
        if self.high < self.matters:
            return "pass"
        return "fail" if self.low > self.matters else "unknown"


Measurement: TypeAlias = Callable[[Material, float], Effect]
Control: TypeAlias = Callable[[Material], Material]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One audit rule.

    Attributes:
        name: of the rule.
        applies: why it has nothing to say of some material, or None.
        effect: measures the effect, with intervals at the level given.
        positive: material that must fail.
        negative: material that must pass.
    """

    name: str
    effect: Measurement
    positive: Control
    negative: Control
    applies: Callable[[Material], str | None] = lambda material: None

    def judge(self, material: Material, level: float) -> Finding:
        """The finding, controls included.

        Args:
            material: what to judge.
            level: of the intervals; the audit sets it so that the whole verdict errs rarely.
        """
        found = self.effect(material, level)
        controls: dict[str, Outcome] = {
            "positive": self.effect(self.positive(material), level).outcome,
            "negative": self.effect(self.negative(material), level).outcome,
        }
        finding = Finding(
            rule=self.name,
            outcome=found.outcome,
            sentence=found.sentence,
            n=found.n,
            effect=found.value,
            low=found.low,
            high=found.high,
            matters=found.matters,
            controls=controls,
            evidence=found.evidence,
        )
        wrong = _wrong(controls)
        if wrong:
            words = f"{found.sentence} The rule could not be relied on here: {wrong}."
            return replace(finding, outcome="unknown", sentence=words)
        return finding


def _wrong(controls: Mapping[str, Outcome]) -> str:
    """What is wrong with the controls, or ""."""
    wrong = []
    if controls["positive"] != "fail":
        wrong.append(f"data that must fail came out {controls['positive']!r}")
    if controls["negative"] != "pass":
        wrong.append(f"data that must pass came out {controls['negative']!r}")
    return " and ".join(wrong)
