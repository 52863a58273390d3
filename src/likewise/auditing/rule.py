"""What an audit rule is: a measurement with controls that prove it can tell.

A rule measures one harmful effect and its interval. It passes only if the interval excludes the
smallest effect that matters, fails if the interval lies beyond it, and else says unknown. Every
rule runs again on data that must fail and on data that must pass; if either control goes wrong the
rule has proved nothing and says unknown.
"""

from collections.abc import Callable, Hashable, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from likewise.core.results import Finding, Outcome

ERROR = 0.05
Value = TypeVar("Value")


class Real(Protocol):
    """The real records that samples are judged against."""

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What `make` gives, made at the first call with this key."""
        ...


class Judged(Protocol):
    """What a rule reads: samples of tensors (`Material`), or of texts (`Texts`)."""

    @property
    def samples(self) -> Sized:
        """What the model made."""
        ...

    @property
    def reference(self) -> Real:
        """The real records."""
        ...


M = TypeVar("M", bound=Judged)


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


def no_reason(material: object) -> None:
    """There is none: a rule applies, or can tell."""
    return


@dataclass(frozen=True, kw_only=True)
class Rule(Generic[M]):
    """One audit rule.

    Attributes:
        name: of the rule.
        effect: measures the effect, with intervals at the level given.
        positive: material that must fail.
        negative: material that must pass.
        applies: why it has nothing to say of some material, or None.
        unable: why it cannot tell although it should, or None; it then says unknown.
        doubt: what else than the model could make it fail, or None; a fail is then unknown.
        shared: the controls are made of real records alone, so that they come out alike for all
            families with equally many samples and are run once.
    """

    name: str
    effect: Callable[[M, float], Effect]
    positive: Callable[[M], M]
    negative: Callable[[M], M]
    applies: Callable[[M], str | None] = no_reason
    unable: Callable[[M], str | None] = no_reason
    doubt: Callable[[M], str | None] = no_reason
    shared: bool = True

    def judge(self, material: M, level: float) -> Finding:
        """The finding, controls included.

        Args:
            material: what to judge.
            level: of the interval; the audit sets it so that the whole verdict errs rarely.
        """
        why = self.unable(material)
        if why is not None:
            n = len(material.samples)
            return Finding(rule=self.name, outcome="unknown", sentence=why, n=n)
        found, controls = self.effect(material, level), self._controls(material)
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
        doubt = self.doubt(material) if finding.outcome == "fail" else None
        if doubt is not None:
            return replace(finding, outcome="unknown", sentence=f"{found.sentence} {doubt}")
        return finding

    def _controls(self, material: M) -> dict[str, Outcome]:
        """How the controls came out, each at level 1 - `ERROR`.

        They check the rule and are no part of the verdict, so they need not share its error.
        """

        def run() -> dict[str, Outcome]:
            level = 1.0 - ERROR
            return {
                "positive": self.effect(self.positive(material), level).outcome,
                "negative": self.effect(self.negative(material), level).outcome,
            }

        if not self.shared:
            return run()
        return material.reference.once(("controls", self.name, len(material.samples)), run)


def _wrong(controls: Mapping[str, Outcome]) -> str:
    """What is wrong with the controls, or ""."""
    wrong = []
    if controls["positive"] != "fail":
        wrong.append(f"data that must fail came out {controls['positive']!r}")
    if controls["negative"] != "pass":
        wrong.append(f"data that must pass came out {controls['negative']!r}")
    return " and ".join(wrong)
