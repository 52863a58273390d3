"""The leaderboard: models side by side under one declared budget."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from likewise.core.errors import StoreError, UsageError
from likewise.core.results import Score
from likewise.evaluation.scorecard import Row, rank, ties
from likewise.store.model import Model

FLOOR = "real vs real"
BASELINE = "independent"
FALLBACKS = (
    "fd_contrastive",
    "fd_random",
    "fd_pca",
    "kd_classifier",
    "kd_contrastive",
    "kd_random",
    "kd_pca",
    "nll",
)


class Leaderboard:
    """What a run came to; `best` is a Model.

    Args:
        path: of the run folder.
        data: what leaderboard.json holds.
    """

    def __init__(self, path: Path, data: Mapping[str, Any]) -> None:
        self.path = path
        self.data = data

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows, best first."""
        return list(self.data["rows"])

    @property
    def headline(self) -> str:
        """The measure that ranks."""
        return str(self.data["headline"])

    @property
    def best(self) -> Model:
        """The best model whose verdict is not "hold".

        Raises:
            UsageError: every model is held, or none could be ranked.
        """
        if self.data["best"] is None:
            raise UsageError("no model is best: each is held by the audit or could not be ranked.")
        return self[self.data["best"]]

    def __getitem__(self, name: str) -> Model:
        from likewise.workbench.verbs import open_run

        return open_run(self.path, name)

    def tied(self, name: str) -> list[str]:
        """The other models whose interval of the headline overlaps with a model's."""
        rows = [
            Row(name=row["name"], role="model", scores=_scores(row))
            for row in self.rows
            if row["role"] == "model"
        ]
        return list(ties(rows, self.headline)[name])

    def __repr__(self) -> str:
        lines = [f"Leaderboard of {self.path.name} by {self.headline}"]
        for row in self.rows:
            score = row["scores"].get(self.headline, {})
            value = score.get("value")
            number = "-" if value is None else f"{value:.4g}"
            lines.append(
                f"  {row['name']:<16} {number:>10} {score.get('unit', ''):<8} "
                f"{row['role']:<9} {row['verdict']}"
            )
        return "\n".join(lines)


def make_board(
    run: Mapping[str, Any],
    cards: Mapping[str, Mapping[str, Any]],
    verdicts: Mapping[str, str],
    floor: Mapping[str, Score],
    *,
    headline: str,
    n: int,
    excess: Callable[[Score, Score, Score], Score],
) -> dict[str, Any]:
    """What leaderboard.json holds: rows ranked by the headline, the floor last."""
    scores = {name: _scores(card) for name, card in cards.items()}
    models = [name for name, card in cards.items() if card["role"] == "model"]
    chosen = _headline(headline, [scores[name] for name in models])
    if BASELINE in scores and chosen in floor and chosen in scores[BASELINE]:
        for name in scores:
            if chosen in scores[name]:
                scores[name]["excess"] = excess(
                    scores[name][chosen], floor[chosen], scores[BASELINE][chosen]
                )
    rows = [Row(name=name, role=cards[name]["role"], scores=scores[name]) for name in cards]
    order = rank(rows, chosen)
    states = run["states"]
    ranked = [_row(name, cards[name], scores[name], states, verdicts[name]) for name in order]
    return {
        "data": run["data"],
        "budget": run["budget"],
        "best": _best(ranked, chosen),
        "headline": chosen,
        "rows": [*ranked, _floor(floor)],
        "skipped": [
            {"name": name, "why": facts.get("why", "")}
            for name, facts in states.items()
            if facts["state"] in ("failed", "skipped")
        ],
    }


def judged_again(data: Mapping[str, Any], verdicts: Mapping[str, str]) -> dict[str, Any]:
    """What leaderboard.json holds once some families have been audited again.

    Raises:
        StoreError: it is damaged.
    """
    try:
        rows = [
            {**row, "verdict": verdicts.get(row["name"], row["verdict"])} for row in data["rows"]
        ]
        return {**data, "rows": rows, "best": _best(rows, data["headline"])}
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the leaderboard is damaged ({error}); score again.") from error


def _best(rows: Iterable[Mapping[str, Any]], headline: str) -> str | None:
    """The first model of ranked rows that has the headline and is not held."""
    for row in rows:
        score = row["scores"].get(headline, {})
        if row["role"] == "model" and row["verdict"] != "hold" and score.get("value") is not None:
            return str(row["name"])
    return None


def _scores(card: Mapping[str, Any]) -> dict[str, Score]:
    try:
        return {key: Score(**score) for key, score in card["scores"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"a scorecard is damaged ({error}); score again.") from error


def _headline(wanted: str, rows: list[Mapping[str, Score]]) -> str:
    """The wanted measure if any model has it, else the first fallback that one has."""
    for name in (wanted, *FALLBACKS):
        if any(name in row and row[name].value is not None for row in rows):
            return name
    return wanted


def _row(
    name: str,
    card: Mapping[str, Any],
    scores: Mapping[str, Score],
    states: Mapping[str, Mapping[str, Any]],
    verdict: str,
) -> dict[str, Any]:
    return {
        "name": name,
        "role": card["role"],
        "scores": {key: score.to_json() for key, score in scores.items()},
        "seconds": states.get(name, {}).get("seconds"),
        "parameters": card["parameters"],
        "samples_per_second": card["samples_per_second"],
        "verdict": verdict,
    }


def _floor(floor: Mapping[str, Score]) -> dict[str, Any]:
    return {
        "name": FLOOR,
        "role": "floor",
        "scores": {key: score.to_json() for key, score in floor.items()},
        "seconds": None,
        "parameters": None,
        "samples_per_second": None,
        "verdict": "unknown",
    }
