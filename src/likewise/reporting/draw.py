"""Where the marks of a chart go: axes, ticks, lines and interval bars, as plain numbers.

Templates turn these numbers into SVG; nothing here knows about markup.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from likewise.reporting.words import number

WIDTH, HEIGHT = 320, 190
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 36
RATIO_FOR_LOG = 20.0
MOST_TICKS = 5

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Axis:
    """A scale from values to 0..1, straight or logarithmic."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`, held within.

        Example:
            >>> Axis(0, 10).at(2.5), Axis(1, 100, log=True).at(10)
            (0.25, 0.5)
        """
        low, high, here = (self._bent(x) for x in (self.low, self.high, value))
        return min(1.0, max(0.0, (here - low) / (high - low))) if high > low else 0.5

    def ticks(self) -> list[float]:
        """A few round values within the axis.

        Example:
            >>> Axis(0.2, 9.7).ticks(), Axis(0.5, 200, log=True).ticks()
            ([2.0, 4.0, 6.0, 8.0], [1.0, 10.0, 100.0])
        """
        if not self.high > self.low:
            return [self.low]
        if self.log:
            return _decades(self.low, self.high, MOST_TICKS)
        return _steps(self.low, self.high, MOST_TICKS)

    def _bent(self, value: float) -> float:
        return math.log(max(value, math.ulp(0.0))) if self.log else value


def axis(values: Sequence[float | None]) -> Axis:
    """The axis that holds all values; logarithmic where they span more than a factor of 20."""
    known = [value for value in values if value is not None]
    if not known:
        return Axis(0.0, 1.0)
    low, high = min(known), max(known)
    if low > 0 and high / low > RATIO_FOR_LOG:
        return Axis(low, high, log=True)
    room = 0.04 * (high - low)
    return Axis(low - room, high + room) if room > 0 else Axis(low - 0.5, low + 0.5)


def panel(line: dict[str, Any], events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One small chart of a series {"name", "points": [[step, value]]} in pixels.

    A missing value breaks the line; an event is an upright rule with its number.
    """
    points: list[Point] = [(step, value) for step, value in line["points"]]
    across = Axis(min(0.0, *(step for step, _ in points)), max(step for step, _ in points))
    up = axis([value for _, value in points])
    known = [(step, value) for step, value in points if value is not None]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": TOP,
        "bottom": HEIGHT - BOTTOM,
        "log": up.log,
        "lines": _lines(points, across, up),
        "dots": [
            [_x(across, step), _y(up, value)] for step, value in known[:1] if len(known) == 1
        ],
        "across": [[_x(across, tick), number_of_steps(tick)] for tick in across.ticks()],
        "up": [[_y(up, tick), label] for tick, label in labelled(up.ticks())],
        "events": [
            [_x(across, event["step"]), at]
            for at, event in enumerate(events, 1)
            if across.low <= event["step"] <= across.high
        ],
        "summary": f"{line['name']}: {_told(known[0])}, {_told(known[-1])}",
    }


def bar(cell: dict[str, Any], scale: Axis) -> dict[str, Any] | None:
    """An interval with its value, in hundredths of the scale; None without a value."""
    if cell.get("value") is None:
        return None
    outside = not scale.low <= cell["value"] <= scale.high
    low, high = cell.get("low"), cell.get("high")
    ends = None if low is None or high is None else [_hundredth(scale, x) for x in (low, high)]
    return {"value": _hundredth(scale, cell["value"]), "ends": ends, "outside": outside}


def effect(finding: dict[str, Any]) -> dict[str, Any] | None:
    """A finding's interval beside the smallest effect that matters; None without an effect."""
    if finding["effect"] is None:
        return None
    parts = [finding[key] for key in ("effect", "low", "high", "matters")]
    values = [0.0, *(value for value in parts if value is not None)]
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.5
    scale = Axis(low - room, high + room)
    matters = finding["matters"]
    found = bar({"value": finding["effect"], **{k: finding[k] for k in ("low", "high")}}, scale)
    return {
        **(found or {}),
        "zero": _hundredth(scale, 0.0),
        "matters": None if matters is None else _hundredth(scale, matters),
        "beyond": None if matters is None else "right" if matters >= 0 else "left",
    }


def labelled(ticks: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks with as few digits as tell them apart and keep them exact.

    Example:
        >>> labelled([1.0, 1.5, 2.0])
        [(1.0, '1.0'), (1.5, '1.5'), (2.0, '2.0')]
    """
    for digits in range(1, 9):
        kept = [float(f"{tick:.{digits - 1}e}") for tick in ticks]
        if all(math.isclose(one, two, rel_tol=1e-9) for one, two in zip(kept, ticks, strict=True)):
            break
    return [(tick, number(tick, digits)) for tick in ticks]


def number_of_steps(step: float) -> str:
    """A step as an axis says it.

    Example:
        >>> number_of_steps(900), number_of_steps(12000)
        ('900', '12 k')
    """
    if abs(step) >= 10_000:
        return f"{step / 1000:,.10g} k"
    return f"{step:,.10g}"


def _told(point: tuple[float, float]) -> str:
    return f"{number(point[1])} at step {number_of_steps(point[0])}"


def _lines(points: Sequence[Point], across: Axis, up: Axis) -> list[str]:
    """The series as strings of "x,y" pairs, one for each stretch without a gap."""
    stretches: list[list[str]] = [[]]
    for step, value in points:
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append(f"{_x(across, step):g},{_y(up, value):g}")
    return [" ".join(stretch) for stretch in stretches if len(stretch) > 1]


def _x(across: Axis, step: float) -> float:
    return round(LEFT + across.at(step) * (WIDTH - LEFT - RIGHT), 1)


def _y(up: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - up.at(value) * (HEIGHT - BOTTOM - TOP), 1)


def _hundredth(scale: Axis, value: float) -> float:
    return round(100 * scale.at(value), 2)


def _steps(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between low and high."""
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(size * k for k in (1, 2, 5, 10) if (high - low) / (size * k) <= most)
    first, last = math.ceil(low / step), math.floor(high / step)
    ticks = [at * step for at in range(first, last + 1)]
    return [tick for tick in ticks if low <= tick <= high]  # rounding can lead out of an axis


def _decades(low: float, high: float, most: int) -> list[float]:
    """Powers of ten between low and high; 1, 2 and 5 of each where those are too few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    apart = max(1, math.ceil((last - first) / most))
    tens = [10.0**power for power in range(first, last + 1, apart)]
    within = [value for value in tens if low <= value <= high]
    if len(within) > 1:
        return within
    finer = [k * 10.0**power for power in range(first, last + 1) for k in (1, 2, 5)]
    return [value for value in finer if low <= value <= high]
