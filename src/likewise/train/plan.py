"""The plan: what a time budget is turned into, once, before training; replayable.

30 % of the time is reserved for features, sampling, evaluation and audit. Counted families come
first and take what they need; the rest is shared equally, and time that is not used moves on to
the families that follow. A short probe measures the seconds of a step at each preset that comes
into question, and of sampling, on this machine with the threads that are fastest.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from likewise.core.errors import StoreError, UsageError, must

RESERVED = 0.3
SHORTEST = 5.0
ENOUGH_STEPS = 2000
COMPARED = 1000  # texts of each part: enough for two digits
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class FamilyPlan:
    """What one family (or one stage of a chain) is to do.

    Attributes:
        config: its whole Config, as plain data.
        preset: what the Config came from.
        steps: of training, or the largest number of passes of a counted family.
        batch: examples a step.
        seconds: what it should take; None where only steps count.
        shorten: (at step, to steps), once the clock has shortened it.
        draws: how many noise draws a bound on the likelihood averages over.
        checked: how many samples a validation draws; 0 for no validation.
        arithmetic: in the words of `Arithmetic`: what the probe found to be fastest.
        expected: seconds that the steps should take by the probe; None if there was none.
        memory: MiB that the process held at most while this family was probed.
    """

    config: Mapping[str, Any]
    preset: str
    steps: int
    batch: int
    seconds: float | None = None
    shorten: tuple[int, int] | None = None
    draws: int = 1
    checked: int = 256
    arithmetic: str = "float32"
    expected: float | None = None
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a whole run is to do; equal plans on equal data give equal bits.

    Attributes:
        seconds: the budget, or None.
        threads: of this process.
        n: how many samples every row of the leaderboard is measured on.
        samples: how many are drawn; the audit reads them all.
        judged: how many held-out records the likelihood of every row reads; None for all.
        compared: how many texts of each part are compared with those of every row, at most.
        features: steps of each feature net that is trained.
        families: {family: a FamilyPlan for each stage}.
        notes: what the probe found worth saying.
        reserved: share of the budget that is not for training.
    """

    seconds: float | None
    threads: int
    n: int
    samples: int
    features: int
    families: Mapping[str, tuple[FamilyPlan, ...]]
    judged: int | None = None
    compared: int = COMPARED
    notes: tuple[str, ...] = ()
    reserved: float = RESERVED


def seconds(text: str | float) -> float:
    """A time such as "90s", "3m", "1h30m" or plain seconds, in seconds.

    Raises:
        UsageError: it is not a time, or too short to train anything.

    Example:
        >>> seconds("1m30s")
        90.0
    """
    words = str(text).strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smh]?)", words)
    if not parts or "".join(a + b for a, b in parts) != words.replace(" ", ""):
        raise UsageError(must("time", "such as 90s, 3m or 1h30m", text))
    value = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
    if value < SHORTEST:
        raise UsageError(
            must("time", f"at least {SHORTEST:g}s", text, "A minute is a sensible start.")
        )
    return value


def to_json(plan: Plan) -> dict[str, Any]:
    """A plan as plain data."""
    return asdict(plan)


def from_json(data: Mapping[str, Any]) -> Plan:
    """A plan out of plain data; StoreError if it is damaged."""
    try:
        if "judged" not in data:  # each family had a number of its own in the first version
            data = {**data, "judged": _fewest(data["families"].values())}
        families = {name: tuple(map(_stage, stages)) for name, stages in data["families"].items()}
        return Plan(**{**data, "families": families, "notes": tuple(data.get("notes", ()))})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"the plan of the run is damaged ({error}).") from error


def _stage(data: Mapping[str, Any]) -> FamilyPlan:
    facts = {**data, "shorten": _pair(data.get("shorten"))}
    if "dtype" in facts:  # its name in the first version
        facts["arithmetic"] = facts.pop("dtype")
    facts.pop("judged", None)
    return FamilyPlan(**facts)


def _fewest(families: Iterable[Any]) -> int | None:
    """How many held-out records all families of a first version's plan can read."""
    found = [stages[0].get("judged") for stages in families]
    return min((count for count in found if count is not None), default=None)


def _pair(value: Any) -> tuple[int, int] | None:
    return (int(value[0]), int(value[1])) if value else None
