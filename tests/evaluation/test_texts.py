"""Scores of texts: the same n for all rows, a floor of real texts, refusals with reasons."""

import numpy as np
import pytest

from likewise.core.errors import UsageError
from likewise.evaluation.texts import score_texts

NAMES = {
    "distinct_1", "distinct_2", "distinct_3", "self_bleu", "repetition", "overlap_4", "verbatim",
    "longest_run", "reference_distance",
}  # fmt: skip


def stories(n, seed, words=20):
    """Texts of words that follow one another, each word of letters of its own."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((n, words)) < 0.6, 1, rng.integers(0, 60, (n, words)))
    rows = steps.cumsum(axis=1) % 60
    return [" ".join(chr(97 + w % 23) * (1 + w % 3) + chr(97 + w // 3) for w in r) for r in rows]


TRAIN, VALID, TEST = stories(400, 0), stories(120, 1), stories(150, 2)


def scored(made, **options):
    return score_texts(made, TEST, train=TRAIN, valid=VALID, **options)


def test_all_is_measured_at_the_same_n():
    scores = scored(stories(130, 3))
    assert scores.keys() == NAMES
    assert all(score.value is not None for score in scores.values())
    # Different words are counted in as many words of each side, and these in fewer texts.
    counted = {name for name, score in scores.items() if score.n < 120}
    assert counted <= {"distinct_1", "distinct_2", "distinct_3"}
    assert {score.n for name, score in scores.items() if name not in counted} == {120}


def test_the_seed_says_which_texts():
    made = stories(300, 3)
    assert scored(made, seed=1) == scored(list(made), seed=1)
    assert scored(made, seed=1) != scored(made, seed=2)


def test_real_texts_are_the_floor_of_the_distance():
    floor, fresh, few = (
        scored(made, seed=5)["reference_distance"]
        for made in (VALID, stories(130, 4), TRAIN[:9] * 20)
    )
    assert floor.low <= 0 <= floor.high
    assert fresh.ties(floor)
    assert few.low > 0


def test_copies_of_train_are_seen_and_held_out_texts_are_no_copies():
    copies, real = scored(TRAIN), scored(VALID)
    assert copies["verbatim"].value == copies["overlap_4"].value == 1.0
    assert copies["longest_run"].value > real["longest_run"].value
    assert real["verbatim"].value < 0.2


def test_short_texts_are_read_by_the_letter():
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("aeioubdlmn"), size=9)) for _ in range(2000)]
    scores = score_texts(names[:700], names[700:1400], train=names, valid=names[1400:], n=600)
    assert "2-grams of characters" in scores["distinct_2"].how
    assert scores["reference_distance"].value == pytest.approx(0.0, abs=0.2)


def test_too_few_texts_leave_every_score_without_a_value():
    for score in scored(stories(119, 3)).values():
        assert score.value is None
        assert score.why == "it compares 120 generated texts at once, and there are only 119"
    why = scored(stories(500, 3), n=140)["verbatim"].why
    assert why == "it compares 140 valid texts at once, and there are only 120"


def test_n_must_be_one_or_more():
    with pytest.raises(UsageError, match="n must be at least 1; got 0"):
        scored(VALID, n=0)
