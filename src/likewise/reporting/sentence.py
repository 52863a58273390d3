"""The first sentence of a report: which family is best by which measure, and may it be released.

Beside it stand the lines that a careful reader would ask for: ties, families that rank above but
are held, baselines that were not beaten, and whether the best can be told from real records.
"""

from likewise.reporting.board import score_of, ties
from likewise.reporting.folder import Plain
from likewise.reporting.words import EVIDENCE, RELEASE, STATES, count, listed, meaning, number


def verdict(board: Plain, states: list[Plain]) -> Plain:
    """The verdict's view: {"state", "best", "sentence", "notes"}.

    Args:
        board: the leaderboard's view.
        states: [{"name", "state", "why"}] of every family.
    """
    measured = [row for row in board["rows"] if row["rank"] is not None]
    best = next((row for row in measured if row["name"] == board["best"]), None)
    if best is not None and best["verdict"] != "hold":
        return _winner(board, best, measured)
    if measured:
        return _nobody(board, best, measured)
    return {
        "state": "none",
        "best": None,
        "sentence": "No family has been ranked yet.",
        "notes": _where(states),
    }


def _winner(board: Plain, best: Plain, measured: list[Plain]) -> Plain:
    measure = board["headline"]
    lead = score_of(best, measure)
    state = best["verdict"] or "unknown"
    tied = [row for row in measured if row is not best and _tied(row, lead, measure)]
    ahead = measured[: measured.index(best)]
    also = f"; {_named(tied)} {_verb(tied, 'ties', 'tie')} with it" if tied else ""
    won = _said(measure, lead)
    notes = [EVIDENCE[best["verdict"]], f"{_facts(measure, lead)}."]
    if tied:
        notes.append("A tie is two intervals that overlap.")
    if ahead:
        notes.append(_ahead(ahead))
    return {
        "state": state,
        "best": best["name"],
        "sentence": f"{best['name']} is best by {won}, and {RELEASE[state]}{also}.",
        "notes": notes + _others(board, best, lead),
    }


def _nobody(board: Plain, named: Plain | None, measured: list[Plain]) -> Plain:
    first = measured[0]
    held = [row for row in measured if row["verdict"] == "hold"]
    lead = _facts(board["headline"], score_of(first, board["headline"]))
    notes = [f"{first['name']} ranks first by {lead}."]
    if held:
        notes.append(
            f"{_named(held, plain=True)} {_verb(held, 'is', 'are')} held: at least one audit rule "
            f"failed."
        )
    if named is not None:
        notes.append(f"The leaderboard names {named['name']} as best although it is held.")
    everyone = len(held) == len(measured)
    return {
        "state": "hold" if everyone else "none",
        "best": None,
        "sentence": "No family may be released." if everyone else "No family is named best.",
        "notes": notes,
    }


def _said(measure: str, cell: Plain) -> str:
    """A measure's name, the value and its unit."""
    said = "" if cell["unit"] in {"", "1"} else f" {cell['unit']}"
    return f"{meaning(measure).label}, {number(cell['value'])}{said}"


def _facts(measure: str, cell: Plain) -> str:
    """A score with its interval, n and direction."""
    facts = [_said(measure, cell)]
    if cell["low"] is not None and cell["high"] is not None:
        facts.append(f"95\u00a0% interval {number(cell['low'])} to {number(cell['high'])}")
    if cell["n"]:
        facts.append(f"n\u00a0=\u00a0{count(cell['n'])}")
    better = cell["better"] or meaning(measure).better
    if better:
        facts.append(f"{better} is better")
    return ", ".join(facts)


def _others(board: Plain, best: Plain, lead: Plain) -> list[str]:
    """How the best stands beside baselines and the floor."""
    measure, order = board["headline"], board["rows"]
    said = []
    equal = [
        row
        for row in order
        if row["role"] == "baseline"
        and score_of(row, measure).get("value") is not None
        and (row["place"] < best["place"] or _tied(row, lead, measure))
    ]
    if equal:
        said.append(f"It does not clearly beat the baseline {_named(equal, plain=True)}.")
    if any(row["role"] == "floor" and _tied(row, lead, measure) for row in order):
        said.append(
            "By this measure it cannot be told from real records: its interval overlaps that of "
            "real vs real."
        )
    return said


def _ahead(rows: list[Plain]) -> str:
    return (
        f"{_named(rows)} {_verb(rows, 'ranks', 'rank')} above it by the number alone, and "
        f"{_verb(rows, 'is', 'are')} not chosen."
    )


def _where(states: list[Plain]) -> list[str]:
    """Where each family stands, one line per state."""
    lines = []
    for state, words in STATES.items():
        names = [entry["name"] for entry in states if entry["state"] == state]
        if names:
            lines.append(f"{words.capitalize()}: {listed(names)}.")
    return lines


def _tied(row: Plain, lead: Plain, measure: str) -> bool:
    return ties(score_of(row, measure), lead)


def _named(rows: list[Plain], *, plain: bool = False) -> str:
    return listed(
        [
            f"{row['name']} (held)" if row["verdict"] == "hold" and not plain else row["name"]
            for row in rows
        ]
    )


def _verb(rows: list[Plain], one: str, many: str) -> str:
    return one if len(rows) == 1 else many
