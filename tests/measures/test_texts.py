"""Variety of texts: against plain implementations, closed forms and known sources."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.errors import UsageError
from likewise.measures.measure import catalogue
from likewise.measures.texts import (
    GROUPS,
    distinct,
    grams,
    repetition,
    self_bleu,
    share,
    units,
)

TEXTS = st.lists(st.text("ab é", max_size=12), min_size=1, max_size=6)


def sentences(n, seed, *, words=12, vocabulary=40):
    """Texts of independent words, some commoner than others."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, vocabulary + 1)
    drawn = rng.choice(vocabulary, size=(n, words), p=weights / weights.sum())
    return [" ".join(f"w{word}" for word in row) for row in drawn]


def plain_grams(text, size, unit):
    found = units(text, unit)
    return [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]


def plain_self_bleu(texts, size, unit="word"):
    """BLEU of each text against all others, one pair at a time."""
    scores = []
    for i, text in enumerate(texts):
        others = texts[:i] + texts[i + 1 :]
        length = len(units(text, unit))
        closest = min((len(units(o, unit)) for o in others), key=lambda m: (abs(m - length), m))
        logs = []
        for order in range(1, size + 1):
            own = Counter(plain_grams(text, order, unit))
            counts = [Counter(plain_grams(other, order, unit)) for other in others]
            common = sum(min(k, max(c[gram] for c in counts)) for gram, k in own.items())
            if order == 1 and not common:
                break
            logs.append(math.log((common or 0.1) / own.total()) / size)
        else:
            scores.append(math.exp(sum(logs) + min(0.0, 1 - closest / length)))
            continue
        scores.append(0.0)
    return sum(scores) / len(scores)


@given(TEXTS, TEXTS, st.integers(1, 4), st.sampled_from(["word", "character"]))
def test_grams_are_numbered_alike_where_they_are_alike(left, right, size, unit):
    meaning = {}
    for side, found in zip((left, right), grams((left, right), size, unit), strict=True):
        plain = [(i, gram) for i, t in enumerate(side) for gram in plain_grams(t, size, unit)]
        assert [row for row, _ in plain] == found.text.tolist()
        for (_, gram), number in zip(plain, found.ids.tolist(), strict=True):
            assert meaning.setdefault(number, gram) == gram
    assert len(set(meaning.values())) == len(meaning)


# -- distinct -------------------------------------------------------------------------------


def test_distinct_of_a_repeated_word_is_one_of_all():
    score = distinct(["no no no no no"] * 40, sentences(40, 0, words=5), size=1)
    assert score.value == 1 / 100  # half of the 200 words that the held-out texts have


def test_distinct_of_words_that_never_return_is_1():
    made = [f"a{i} b{i} c{i}" for i in range(50)]
    assert distinct(made, made, size=2).value == 1.0


def test_distinct_is_a_plain_count():
    made, real = sentences(60, 1), sentences(60, 2)
    found = [gram for text in made for gram in plain_grams(text, 2, "word")]
    half = sum(len(plain_grams(text, 2, "word")) for text in real) // 2
    assert distinct(made, real, size=2).value == len(set(found[:half])) / half


def test_length_does_not_decide_distinct():
    real = sentences(200, 3)
    short, long = sentences(200, 4, words=10), sentences(200, 5, words=60)
    first, second = (distinct(made, real, size=1) for made in (short, long))
    assert first.ties(second)
    assert "over 1,200 1-grams" in first.how
    assert "over 1,200 1-grams" in second.how


def test_the_interval_of_distinct_covers():
    real = sentences(60, 0)
    scores = [distinct(sentences(60, 1000 + seed), real, size=2) for seed in range(100)]
    truth = np.mean([score.value for score in scores])
    assert np.mean([score.low <= truth <= score.high for score in scores]) >= 0.9
    spread = np.std([score.value for score in scores])
    assert np.mean([score.high - score.low for score in scores]) < 3 * 2 * 1.96 * spread


def test_shares_stay_within_0_and_1_and_their_n_is_what_was_counted():
    made = [f"a{i} b{i} c{i}" if i % 30 else "a1 b1 c1" for i in range(160)]
    score = distinct(made, made, size=2)
    assert 0.95 < score.value < score.high == 1.0
    assert score.n == 80  # texts that hold the first half of the pairs
    some = [*sentences(40, 0), *["one", "two"] * 10]
    for measure in (self_bleu, repetition):
        assert measure(some, sentences(60, 1)).n == 40
    assert self_bleu(sentences(40, 3, vocabulary=2), sentences(40, 4)).high <= 1.0


def test_distinct_refuses_texts_that_are_too_short():
    why = distinct(["a b"] * 40, sentences(40, 0), size=2).why
    assert why == (
        "it counts 220 2-grams of words, half of what held-out texts have; the generated texts "
        "have 40."
    )


# -- self-BLEU ------------------------------------------------------------------------------


@given(st.lists(st.text("abc", min_size=3, max_size=9), min_size=GROUPS, max_size=GROUPS + 4))
@settings(max_examples=30, deadline=None)
def test_self_bleu_is_the_plain_one_in_characters(texts):
    score = self_bleu(texts, texts, size=3, unit="character")
    assert score.value == pytest.approx(plain_self_bleu(texts, 3, "character"))


def test_self_bleu_is_the_plain_one_in_words():
    made = [*sentences(30, 0, words=9), *sentences(30, 1, words=14)]
    score = self_bleu(made, sentences(60, 2))
    assert score.value == pytest.approx(plain_self_bleu(made, 4))
    assert score.low < score.value < score.high


def test_self_bleu_of_one_text_is_1_and_of_strangers_0():
    strangers = [f"a{i} b{i} c{i} d{i}" for i in range(30)]
    assert self_bleu(["one and the same text"] * 30, strangers).value == pytest.approx(1.0)
    assert self_bleu(strangers, strangers).value == 0.0


def test_self_bleu_leaves_short_texts_out_and_says_so():
    made = [*sentences(30, 0), *["too short"] * 5]
    assert "5 texts of fewer than 4 words left out" in self_bleu(made, made).how
    assert self_bleu(["too short"] * 30, made).why == (
        "it needs 20 texts of at least 4 words; got 0 of 30."
    )


# -- repetition -----------------------------------------------------------------------------


def test_repetition_is_a_plain_count():
    made, real = sentences(40, 0, vocabulary=4), sentences(40, 1, vocabulary=4)
    found = [plain_grams(text, 2, "word") for text in made]
    plain = np.mean([1 - len(set(own)) / len(own) for own in found])
    assert repetition(made, real, size=2).value == pytest.approx(plain)


def test_loops_are_seen_and_held_out_texts_are_the_yardstick():
    real = sentences(50, 1, words=30, vocabulary=400)
    score = repetition(["round and round it goes "] * 50, real)
    assert score.value == 0.0
    score = repetition(["round and round it goes " * 6] * 50, real)
    assert score.value == pytest.approx(1 - 5 / 27)
    assert "at most 27 of a text; held-out texts repeat 0." in score.how


def test_texts_are_cut_where_held_out_ones_end():
    """A loop that begins only after the usual length is not met."""
    real = sentences(50, 1, words=10)
    late = " ".join(f"new{i}" for i in range(10)) + " again" * 50
    assert repetition([late] * 50, real).value == 0.0


# -- all ------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [distinct, self_bleu, repetition])
def test_every_measure_refuses_few_texts_and_one_string(measure):
    texts = sentences(60, 0)
    score = measure(texts[:19], texts)
    assert (score.value, score.why) == (None, "it needs at least 20 texts; got 19.")
    with pytest.raises(UsageError, match="generated texts must be a list of strings; got 'one"):
        measure("text" * 30, texts)
    assert "held-out texts" in measure(texts, texts[::-1]).how
    assert "is no merit" in measure.__doc__


def test_measures_of_texts_are_no_measures_of_tensors():
    assert not {"distinct", "self_bleu"} & set(catalogue())


def test_nothing_found_is_not_certainty():
    _, interval, how, _ = share(np.zeros(100), np.full(100, 7.0))
    assert interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert how == "exact interval over 100 examples, all alike"
