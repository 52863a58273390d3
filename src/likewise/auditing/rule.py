"""What an audit rule is: a measurement with controls that prove it can tell.

A rule measures one harmful effect and its interval. It passes only if the interval excludes the
smallest effect that matters, fails if the interval lies beyond it, and else says unknown. Every
rule runs again on data that must fail and on data that must pass.

What the controls came to can take a pass or a fail away and never gives one, so neither is wrong
more often than its interval is. A pass needs both controls to be right. A fail needs a rule that
can see (the first control fails), and a second control that does not contradict it: too few
held-out records may leave that control unknown, which says nothing against harm that is certain.
Where it fails, the rule finds harm in records that were never trained on, and a fail must lie
beyond all of that: the lower end of the one above the upper end of the other. Were both of one
size, so would they lie only if one of the two intervals missed it; each misses on that side half
as often as both sides together may, so that the fail is wrong no more often than the level allows.
"""

from collections.abc import Callable, Hashable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from likewise.core.results import Finding, Outcome

ERROR = 0.05
TOO_FEW = "Too few records were held out to show that the rule passes where nothing was learned"
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
        doubt: what else than the model could make it fail, or None; a fail is then unknown,
            however far it lies beyond the negative control: what makes valid and test records
            differ (two places that are neighbours) may make train differ from both by more.
        bar: what keeps it from passing although the interval would let it, or None; a pass is
            then unknown.
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
    bar: Callable[[M], str | None] = no_reason
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
        outcome, words = self._concluded(material, found, controls, level)
        return Finding(
            rule=self.name,
            outcome=outcome,
            sentence=f"{found.sentence} {words}".rstrip(),
            n=found.n,
            effect=found.value,
            low=found.low,
            high=found.high,
            matters=found.matters,
            controls=controls,
            evidence=found.evidence,
        )

    def _concluded(
        self, material: M, found: Effect, controls: Mapping[str, Outcome], level: float
    ) -> tuple[Outcome, str]:
        """What the effect says in the light of the controls, and words on them, or ""."""
        if controls["positive"] != "fail":
            return "unknown", _wrong("fail", controls["positive"])
        if found.outcome == "fail":
            return self._failed(material, found, controls["negative"], level)
        if controls["negative"] == "fail":
            return "unknown", _wrong("pass", "fail")
        if controls["negative"] == "unknown":
            return "unknown", f"{TOO_FEW}."
        why = self.bar(material) if found.outcome == "pass" else None
        return ("unknown", why) if why else (found.outcome, "")

    def _failed(
        self, material: M, found: Effect, negative: Outcome, level: float
    ) -> tuple[Outcome, str]:
        """Whether a fail stands, and words on why."""
        doubt = self.doubt(material)
        if doubt is not None:
            return "unknown", doubt
        if negative == "unknown":
            return "fail", f"{TOO_FEW}, which a pass would need and a fail does not."
        if negative == "pass":
            return "fail", ""
        most = self.effect(self.negative(material), level).high  # at the level of what is found
        if found.low > most:
            return "fail", f"Records that were never trained on fail too, with {most:.3g} at most."
        return "unknown", _wrong("pass", "fail")

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


def _wrong(must: Outcome, came: Outcome) -> str:
    """That a control went wrong, in words."""
    return (
        f"The rule could not be relied on here: data that must {must} came out {came!r} instead."
    )
