"""What measuring and auditing say, as plain data: Score, Finding, Verdict."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Better: TypeAlias = Literal["lower", "higher"]
Outcome: TypeAlias = Literal["pass", "fail", "unknown"]
Verdict: TypeAlias = Literal["release", "hold", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measured number with all that makes it readable.

    Attributes:
        value: in its unit, or None where it could not be measured.
        low, high: the ends of its 95 % interval, or None.
        unit: such as "bits/dim", "seconds", "1" for a plain ratio.
        better: which way is better.
        n: how many examples it rests on.
        how: how it was made, in one sentence.
        why: why there is no value.
    """

    value: float | None
    unit: str
    better: Better
    n: int
    low: float | None = None
    high: float | None = None
    how: str = ""
    why: str = ""

    def ties(self, other: "Score") -> bool:
        """Whether the two intervals overlap."""
        ends = (self.low, self.high, other.low, other.high)
        if None in ends:
            return self.value == other.value
        return bool(self.low <= other.high and other.low <= self.high)  # type: ignore[operator]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one audit rule found.

    Attributes:
        rule: its name.
        outcome: "pass" only if the interval excludes the smallest effect that matters, "fail"
            if it lies beyond, else "unknown".
        sentence: the finding in words.
        effect, low, high: the size of the effect and its interval, or None.
        matters: the smallest effect that matters.
        n: how many samples it rests on.
        controls: {"positive": outcome, "negative": outcome} of the same rule on data that must
            fail and on data that must pass; without both no rule passes.
        evidence: further numbers, as plain data; never a training record.
    """

    rule: str
    outcome: Outcome
    sentence: str
    n: int
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    matters: float | None = None
    controls: Mapping[str, Outcome] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def verdict(findings: Iterable[Finding]) -> Verdict:
    """The release decision, by the worst finding; no finding at all is unknown.

    Example:
        >>> verdict([Finding(rule="copying", outcome="pass", sentence="", n=9)])
        'release'
    """
    outcomes = {finding.outcome for finding in findings}
    if "fail" in outcomes:
        return "hold"
    return "unknown" if "unknown" in outcomes or not outcomes else "release"
