"""What one training is to do, and what it did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one training is to do; equal jobs on equal data give equal bits.

    Attributes:
        name: of the stream of randomness, so that no two trainings share one.
        steps: how many.
        batch: examples a step, over all ranks.
        seed: of everything.
        ema: decay of the parameter average; 0 for none.
        micro: examples that are in memory at once; None for the whole batch.
        arithmetic: in the words of `Arithmetic`.
        device: where it runs.
        validations: how many times the held-out measure is asked, in the second half.
        seconds: the time it should take; if it would overrun by 10 %, it is shortened once.
        shorten: (at step, to steps): the shortening of a run that is replayed.
    """

    name: str
    steps: int
    batch: int
    seed: int = 0
    ema: float = 0.0
    micro: int | None = None
    arithmetic: str = "float32"
    device: str = "cpu"
    validations: int = 4
    seconds: float | None = None
    shorten: tuple[int, int] | None = None


@dataclass
class Outcome:
    """What one training did.

    Attributes:
        steps: done in all.
        seconds: used in all, resumed parts included.
        best_step: whose weights were kept.
        events: what the watchdog and the clock had to say.
        shorten: (at step, to steps) if the clock shortened it.
        interrupted: whether a person stopped it.
        rows: the log, one row each now and then.
    """

    steps: int = 0
    seconds: float = 0.0
    best_step: int = 0
    events: list[str] = field(default_factory=list)
    shorten: tuple[int, int] | None = None
    interrupted: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)


class Checked(NamedTuple):
    """What a validation says: a value (lower is better) and its standard error."""

    value: float
    error: float


class Progress(NamedTuple):
    """What a person watching is told."""

    step: int
    steps: int
    seconds: float
    losses: Mapping[str, float]
