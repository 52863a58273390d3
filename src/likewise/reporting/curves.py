"""What a training log says: series of [step, value] by kind, and events, for each stage."""

from collections.abc import Iterator
from typing import Any

from likewise.reporting.folder import Plain, mapping, number, text

MOST_POINTS = 240


def curves(log: list[Plain], name: str) -> list[Plain]:
    """The curves of each stage of a family; one that is no chain has a single stage, or none.

    Args:
        log: the entries of log.jsonl, those of a chain's stages one after the other.
        name: of the family.
    """
    stages = list(_stages([entry for entry in log if number(entry.get("step")) is not None]))
    kinds = name.split("+")
    return [
        {"stage": kinds[at] if at < len(kinds) and len(stages) > 1 else "", **_stage(entries)}
        for at, entries in enumerate(stages)
    ]


def _stages(log: list[Plain]) -> Iterator[list[Plain]]:
    """The stretches of a log whose clock runs on: each stage counts steps and seconds anew.

    Steps alone would not tell, since a training that was rolled back repeats some.
    """
    stretch: list[Plain] = []
    for entry in log:
        if stretch and _clock(entry) < _clock(stretch[-1]) and _step(entry) < _step(stretch[-1]):
            yield stretch
            stretch = []
        stretch.append(entry)
    if stretch:
        yield stretch


def _clock(entry: Plain) -> float:
    return number(entry.get("seconds")) or 0.0


def _step(entry: Plain) -> float:
    return number(entry.get("step")) or 0.0


def _stage(log: list[Plain]) -> Plain:
    series: dict[str, dict[str, list[Any]]] = {"loss": {}, "valid": {}, "notes": {}}
    events = []
    for entry in log:
        step = _step(entry)
        if "valid" in entry:
            series["valid"].setdefault("validation", []).append([step, number(entry["valid"])])
        for kind in ("loss", "notes"):
            for part, value in mapping(entry.get(kind)).items():
                series[kind].setdefault(part, []).append([step, number(value)])
        if text(entry.get("event")):
            events.append({"step": step, "event": text(entry["event"])})
    return {
        **{
            kind: [
                {"name": name, "points": _thin(points), "entries": len(points)}
                for name, points in lines.items()
                if any(value is not None for _, value in points)
            ]
            for kind, lines in series.items()
        },
        "events": events,
    }


def _thin(points: list[Any]) -> list[Any]:
    """At most MOST_POINTS entries, evenly by position; the last one always stays."""
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return [points[round(at * last / (MOST_POINTS - 1))] for at in range(MOST_POINTS)]
