"""The leaderboard as the page shows it: rows in their order, columns by measure, ties and gaps.

Nothing is computed: the best of a column is looked up, and a tie is two intervals that overlap
(`Score.ties`).
"""

from collections.abc import Mapping
from typing import Any

from likewise.core.results import Score
from likewise.reporting.folder import Plain, mapping, number, rows, text, whole
from likewise.reporting.words import ROLES, meaning

ORDER = ("hold", "unknown", "release")


def board(raw: Plain, cards: Mapping[str, Plain], audits: Mapping[str, Plain]) -> Plain:
    """The leaderboard's view; models first, then what is no model.

    A family with a scorecard but no row stands last and unranked; "place" is a row's place in
    the file.

    Args:
        raw: leaderboard.json.
        cards: NAME/scorecard.json by family.
        audits: NAME/audit.json by family.
    """
    entries = rows(raw.get("rows"))
    known = {text(entry.get("name")) for entry in entries}
    for name, card in cards.items():
        if name not in known and mapping(card.get("scores")):
            entries.append({"name": name, "role": ""})
    found = [_row(entry, place, cards, audits) for place, entry in enumerate(entries)]
    found.sort(key=lambda row: row["role"] != "model")
    names = list(dict.fromkeys(measure for row in found for measure in row["scores"]))
    headline = text(raw.get("headline"))
    if headline in names:
        names = [headline, *(name for name in names if name != headline)]
    _rank(found, headline)
    for name in names:
        _mark(found, name)
    return {
        "headline": headline,
        "best": text(raw.get("best")),
        "budget": number(mapping(raw.get("budget")).get("seconds")),
        "measures": [_column(name, found) for name in names],
        "rows": found,
        "reasons": _reasons(found),
    }


def score_of(row: Plain, measure: str) -> Plain:
    """A row's score by a measure, empty where there is none."""
    return mapping(row["scores"].get(measure))


def ties(one: Plain, other: Plain) -> bool:
    """Whether two shown scores overlap; False where either is missing."""
    if one.get("value") is None or other.get("value") is None:
        return False
    return _score(one).ties(_score(other))


def worst(*verdicts: str) -> str:
    """The strictest of some verdicts; none at all is none."""
    said = [verdict for verdict in verdicts if verdict]
    known = [verdict for verdict in ORDER if verdict in said]
    return known[0] if known else "unknown" if said else ""


def _row(
    entry: Plain, place: int, cards: Mapping[str, Plain], audits: Mapping[str, Plain]
) -> Plain:
    name = text(entry.get("name"))
    role = text(entry.get("role", "model"))
    scores = mapping(entry.get("scores")) or mapping(cards.get(name, {}).get("scores"))
    return {
        "name": name or "(no name)",
        "role": role if role in ROLES else "",
        "place": place,
        "rank": None,
        "verdict": worst(text(entry.get("verdict")), text(audits.get(name, {}).get("verdict"))),
        "scores": {measure: _cell(mapping(score)) for measure, score in scores.items()},
        "seconds": number(entry.get("seconds")),
        "parameters": whole(entry.get("parameters")),
        "samples_per_second": number(entry.get("samples_per_second")),
    }


def _cell(score: Plain) -> Plain:
    value = number(score.get("value"))
    why = text(score.get("why")) or "it was not measured; no reason is recorded"
    better = text(score.get("better"))
    return {
        "value": value,
        "low": number(score.get("low")),
        "high": number(score.get("high")),
        "unit": text(score.get("unit")),
        "better": better if better in {"lower", "higher"} else "",
        "n": whole(score.get("n")),
        "how": text(score.get("how")),
        "why": "" if value is not None else why,
        "mark": "",
    }


def _score(cell: Plain) -> Score:
    return Score(
        value=cell["value"],
        low=cell["low"],
        high=cell["high"],
        unit=cell["unit"],
        better="higher" if cell["better"] == "higher" else "lower",
        n=cell["n"] or 0,
    )


def _rank(found: list[Plain], headline: str) -> None:
    """Number the models that have the headline measure, in the order of the file."""
    place = 0
    for row in found:
        if row["role"] == "model" and score_of(row, headline).get("value") is not None:
            place += 1
            row["rank"] = place


def _mark(found: list[Plain], measure: str) -> None:
    """Mark the best model of a column and the models that tie with it."""
    better = _better(measure, found)
    cells = [
        cell
        for row in found
        if row["role"] == "model"
        for cell in [row["scores"].get(measure)]
        if cell and cell["value"] is not None
    ]
    if not cells or not better:
        return
    best = (min if better == "lower" else max)(cells, key=lambda cell: float(cell["value"]))
    for cell in cells:
        cell["mark"] = "best" if cell is best else "tie" if ties(cell, best) else ""


def _better(measure: str, found: list[Plain]) -> str:
    said = (score_of(row, measure).get("better", "") for row in found)
    return next((better for better in said if better), meaning(measure).better)


def _column(measure: str, found: list[Plain]) -> Plain:
    cells = [(row["name"], row["scores"][measure]) for row in found if measure in row["scores"]]
    ways: dict[str, list[str]] = {}
    for name, cell in cells:
        if cell["how"]:
            ways.setdefault(cell["how"], []).append(name)
    meant = meaning(measure)
    return {
        "name": measure,
        "label": meant.label,
        "what": meant.what,
        "better": _better(measure, found),
        "unit": next((cell["unit"] for _, cell in cells if cell["unit"]), ""),
        "n": sorted({cell["n"] for _, cell in cells if cell["n"] and cell["value"] is not None}),
        "how": [{"sentence": how, "rows": names} for how, names in ways.items()],
    }


def _reasons(found: list[Plain]) -> list[Plain]:
    """Why cells are empty, each reason once; the cell keeps the reason's number."""
    numbers: dict[str, int] = {}
    places: dict[str, list[Any]] = {}
    for row in found:
        for measure, cell in row["scores"].items():
            if cell["why"]:
                cell["reason"] = numbers.setdefault(cell["why"], len(numbers) + 1)
                places.setdefault(cell["why"], []).append(f"{row['name']}, {measure}")
    return [{"why": why, "number": at, "cells": places[why]} for why, at in numbers.items()]
