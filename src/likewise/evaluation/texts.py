"""What is measured of generated texts beside held-out ones, with no model but a small n-gram one.

All rows of a leaderboard are measured at the same n on the same held-out texts, in words, or in
characters where the texts of the data are shorter than eight words (names, for example).
"""

from collections.abc import Mapping, Sequence

import torch

from likewise.core.errors import UsageError, must
from likewise.core.results import Score
from likewise.core.rng import fold, generator
from likewise.measures.texts import TextMeasure, Unit, distinct, repetition, self_bleu, units
from likewise.measures.texts_reference import reference_distance
from likewise.measures.texts_reuse import longest_run, overlap, verbatim

MOST = 1000  # texts that are compared: enough for two digits
FEW_WORDS = 8


def score_texts(
    made: Sequence[str],
    held_out: Sequence[str],
    *,
    train: Sequence[str],
    valid: Sequence[str],
    n: int | None = None,
    seed: int = 0,
) -> dict[str, Score]:
    """Scores of generated texts against held-out ones, by name.

    `distinct_1` to `distinct_3`, `self_bleu` and `repetition` for variety; `overlap_4`, `verbatim`
    and `longest_run` for what stands in train; `reference_distance` for what can be learned from
    them. For the floor (real vs real) pass valid texts as `made`: no text is then compared with
    itself.

    Args:
        made: at least n generated texts.
        held_out: at least n test texts.
        train: what the model was trained on; read block by block.
        valid: at least n texts that were never trained on and are no test texts.
        n: how many of each are compared, drawn by the seed; the same for all rows. None for as
            many as there are test or valid texts, at most 1000.
        seed: of which texts are taken.

    Raises:
        UsageError: n is below 1.

    Example:
        >>> texts = [f"the {a} {b} sat on a mat" for a in "abcdef" for b in "ghijkl"]
        >>> scores = score_texts(texts, texts, train=texts, valid=texts)
        >>> scores["overlap_4"].value, scores["longest_run"].value
        (1.0, 20.0)
    """
    n = min(len(held_out), len(valid), MOST) if n is None else n
    if n < 1:
        raise UsageError(must("n", "at least 1", n))
    sides = {"generated": made, "held-out": held_out, "valid": valid}
    short = {whose: len(side) for whose, side in sides.items() if len(side) < n}
    if short:
        whose, count = next(iter(short.items()))
        why = f"it compares {n} {whose} texts at once, and there are only {count}"
        return {name: measure.missing(why) for name, (measure, _) in _measures("word").items()}
    ours, real, others = (_some(side, n, seed) for side in sides.values())
    words = sum(len(units(text, "word")) for text in real) / n
    measures = _measures("word" if words >= FEW_WORDS else "character")
    more: Mapping[str, Mapping[str, object]] = {
        "overlap_4": {"train": train},
        "verbatim": {"train": train},
        "longest_run": {"train": train},
        "reference_distance": {"valid": others},
    }
    return {
        name: measure(ours, real, **options, **more.get(name, {}))
        for name, (measure, options) in measures.items()
    }


def _measures(unit: Unit) -> dict[str, tuple[TextMeasure, dict[str, object]]]:
    """All that `score_texts` measures, with their options, by the name of the score."""
    variety: dict[str, tuple[TextMeasure, dict[str, object]]] = {
        f"distinct_{size}": (distinct, {"size": size, "unit": unit}) for size in (1, 2, 3)
    }
    return variety | {
        "self_bleu": (self_bleu, {"unit": unit}),
        "repetition": (repetition, {"unit": unit}),
        "overlap_4": (overlap, {"unit": unit}),
        "verbatim": (verbatim, {}),
        "longest_run": (longest_run, {}),
        "reference_distance": (reference_distance, {}),
    }


def _some(texts: Sequence[str], n: int, seed: int) -> list[str]:
    """n of some texts by a seed, in random order; as many texts are always taken alike."""
    order = torch.randperm(len(texts), generator=generator(fold(seed, "score", "texts")))
    return [texts[row] for row in order[:n].tolist()]
