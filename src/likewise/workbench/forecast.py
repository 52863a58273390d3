"""The forecast: what each family will take and how far it will come, said before it trains."""

import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from likewise.train.plan import FamilyPlan

TIERS = ((1.0, "a first look"), (5.0, "a draft"), (20.0, "fair"), (float("inf"), "good"))
"""What so many passes over the training data come to, at the most."""


class Forecast(NamedTuple):
    """What is expected of one family.

    Attributes:
        name: of the family or chain.
        preset: its size.
        steps: of training, all stages together.
        seconds: of training, by the probe.
        memory: MiB that the process will hold at most, or None if it could not be measured.
        passes: over the training data.
        tier: what so many passes come to.
        arithmetic: how it is worked out.
    """

    name: str
    preset: str
    steps: int
    seconds: float
    memory: int | None
    passes: float
    tier: str
    arithmetic: str


def forecasts(families: Mapping[str, tuple[FamilyPlan, ...]], records: int) -> Iterator[Forecast]:
    """One Forecast for each family that was probed.

    Args:
        families: the plan.
        records: how many there are to train on.

    Example:
        >>> plan = FamilyPlan(config={}, preset="s", steps=3000, batch=64, expected=60.0)
        >>> [(f.passes, f.tier) for f in forecasts({"vae": (plan,)}, 60_000)]
        [(3.2, 'a draft')]
    """
    for name, stages in families.items():
        if any(stage.expected is None for stage in stages):
            continue
        passes = min(stage.steps * stage.batch / records for stage in stages)
        memory = [stage.memory for stage in stages if stage.memory is not None]
        yield Forecast(
            name=name,
            preset="+".join(stage.preset for stage in stages),
            steps=sum(stage.steps for stage in stages),
            seconds=sum(stage.expected or 0.0 for stage in stages),
            memory=max(memory) if memory else None,
            passes=round(passes, 2),
            tier=next(word for most, word in TIERS if passes <= most),
            arithmetic=" + ".join(dict.fromkeys(stage.arithmetic for stage in stages)),
        )


@contextmanager
def peak_memory() -> Iterator[Callable[[], int | None]]:
    """The MiB that this process holds at most within a `with`: call what it gives afterwards.

    Where the system cannot start the peak anew (it can on Linux) it is the peak so far.
    """
    reset = Path("/proc/self/clear_refs")
    with suppress(OSError):
        reset.write_text("5")
    yield _peak


def _peak() -> int | None:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    unit = 2**20 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
