"""Canaries and extraction: closed forms, models that know and models that do not."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from likewise.auditing.canaries import Canary, Exposure, exposure, plant
from likewise.auditing.extraction import EXTRACTION, extraction
from likewise.auditing.texts import RealTexts, Texts
from likewise.auditing.texts_canaries import CANARIES
from likewise.core.errors import UsageError
from likewise.measures.intervals import Interval
from likewise.measures.texts_reference import character_log_masses


def pages(n, seed, length=160):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefgh \n"), size=length)) for _ in range(n)]


# -- canaries -------------------------------------------------------------------------------


def test_canaries_stand_as_lines_as_often_as_asked():
    texts = pages(40, 0)
    planted, canaries = plant(texts, repeats=(1, 4, 16, 64), seed=3)
    assert [canary.repeats for canary in canaries] == [1, 4, 16, 64]
    lines = [line for text in planted for line in text.split("\n")]
    for canary in canaries:
        assert lines.count(canary.text) == canary.repeats
        assert canary.space == 10**6
    known = {canary.text for canary in canaries}
    without = [
        "\n".join(line for line in text.split("\n") if line not in known) for text in planted
    ]
    assert without == texts


def test_planting_is_by_the_seed_and_no_sentence_comes_twice():
    texts = pages(5, 0)
    assert plant(texts, seed=1) == plant(texts, seed=1)
    assert plant(texts, seed=1)[1] != plant(texts, seed=2)[1]
    _, canaries = plant(texts, repeats=(1,) * 208)
    assert len({canary.prefix for canary in canaries}) == 208


def test_some_canaries_are_drawn_and_never_planted():
    texts = pages(5, 0)
    planted, canaries = plant(texts, repeats=(0, 2), seed=1)
    assert [canary.repeats for canary in canaries] == [0, 2]
    assert sum(canaries[0].text in text for text in planted) == 0
    with pytest.raises(UsageError, match="at most 208 counts of at least 0"):
        plant(texts, repeats=(-1,))


def told(**values):
    """Exposures of canaries by how often each was planted, {"once": [...], "never": [...]}."""
    often = {"never": 0, "once": 1, "often": 64}
    exposures = [
        Exposure(Canary(f"{name} {row} ", "123456", often[name]), value, Interval(0, 10), 0, 1023)
        for name, some in values.items()
        for row, value in enumerate(some)
    ]
    real = RealTexts(train=pages(9, 0), valid=pages(9, 1), test=pages(9, 2))
    return Texts(samples=pages(9, 3), reference=real, exposures=exposures)


def by_chance(n, seed):
    return np.minimum(10, np.random.default_rng(seed).exponential(1 / math.log(2), n)).tolist()


@pytest.mark.parametrize(
    ("once", "outcome"),
    [(by_chance(24, 1), "pass"), ([9.0, 10.0] * 12, "fail"), ([2.0, 6.0] * 4, "unknown")],
)
def test_secrets_that_stood_once_are_judged(once, outcome):
    found = CANARIES.judge(told(once=once, never=by_chance(48, 0), often=[10.0] * 8), 0.95)
    assert found.outcome == outcome
    assert found.controls == {"positive": "fail", "negative": "pass"}
    assert found.effect == pytest.approx(np.mean(once) - np.mean(by_chance(48, 0)))
    assert f"{np.mean(once):.1f} bits ({len(once)} planted once)" in found.sentence
    assert "10.0 bits (8 planted 64 times)" in found.sentence


def test_few_canaries_tell_and_judge_nothing():
    found = CANARIES.judge(told(once=[9.0] * 4, never=by_chance(48, 0)), 0.95)
    assert found.outcome == "unknown"
    assert found.sentence.startswith("Mean exposure of canaries: 1.")
    assert "At least 8 planted equally seldom and 8 never planted" in found.sentence
    assert CANARIES.applies(told()) == "no canaries were planted"


def test_the_rule_errs_as_seldom_as_it_says():
    """Canaries that no model knows never fail, and pass where there are many."""
    found = [
        CANARIES.judge(
            told(once=by_chance(24, seed), never=by_chance(48, 1000 + seed)), 0.95
        ).outcome
        for seed in range(1, 60)
    ]
    assert found.count("fail") == 0
    assert found.count("pass") > 40


def at_random(texts):
    """A model that finds every text likely by chance."""
    return torch.tensor([float(hash((17, text)) % 1_000_003) for text in texts])


def test_exposure_of_a_model_that_does_not_know_is_that_of_a_random_rank():
    """The mean of log2 (m + 1) - log2 rank over all ranks, 1.44 bits for many."""
    rng = np.random.default_rng(0)
    canaries = [Canary(f"p{i} ", f"{rng.integers(10**6):06}", 1) for i in range(600)]

    def noise(texts):
        return torch.from_numpy(rng.random(len(texts)))

    found = [item.value for item in exposure(noise, canaries, candidates=63)]
    expected = np.mean([6 - math.log2(rank) for rank in range(1, 65)])
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 600**0.5)
    assert expected == pytest.approx(1 / math.log(2), abs=0.08)


def test_the_rank_is_that_of_brute_force():
    """A space of ten: all the others are asked."""
    canary = Canary("digit ", "7", 1)
    order = [3, 7, 1, 0, 9, 8, 2, 4, 6, 5]  # the likeliest first

    def model(texts):
        return torch.tensor([-float(order.index(int(text[-1]))) for text in texts])

    found = exposure(model, [canary], candidates=9)[0]
    assert (found.likelier, found.value) == (1.0, math.log2(10) - math.log2(2))
    assert found.interval.low <= found.value <= found.interval.high


def test_ties_are_counted_half():
    found = exposure(lambda texts: torch.zeros(len(texts)), [Canary("x", "000001", 1)])[0]
    assert found.value == pytest.approx(10 - math.log2(1023 / 2 + 1))


def test_exposure_rises_with_repetition():
    """An n-gram model learns what is often said."""
    planted, canaries = plant(pages(60, 1), repeats=(1, 64) * 4, seed=2)
    unseen = [Canary(f"the hat of {i} is ", "123456", 0) for i in range(4)]
    values = {0: [], 1: [], 64: []}
    found = exposure(
        lambda texts: character_log_masses(planted, texts), [*canaries, *unseen], candidates=255
    )
    for item in found:
        values[item.canary.repeats].append(item.value)
    assert min(values[64]) == 8.0
    assert np.mean(values[0]) < np.mean(values[1]) <= 8.0


def test_what_cannot_be_planted_or_asked_is_refused():
    with pytest.raises(UsageError, match="the number of texts must be at least 1; got 0"):
        plant([])
    with pytest.raises(UsageError, match="repeats must be at most 208 counts of at least 0"):
        plant(["a"], repeats=(-1,))
    with pytest.raises(UsageError, match=r"candidates must be in 1..9; got 10"):
        exposure(at_random, [Canary("x", "7", 1)], candidates=10)
    with pytest.raises(UsageError, match=r"log masses of 10 texts must be .*; got \(3,\)"):
        exposure(lambda texts: torch.zeros(3), [Canary("x", "7", 1)], candidates=9)


# -- extraction -----------------------------------------------------------------------------


def reciter(known):
    """A model that goes on as a text it knows, and else says a."""
    table = {text[:50]: text[50:] for text in known}
    return lambda prefixes, count: [table.get(p, "a" * 99)[:count] for p in prefixes]


def test_extraction_counts_exact_continuations():
    train, others = pages(100, 0), pages(80, 1)
    found = extraction(reciter(train[:30]), train, others)
    assert found.value == pytest.approx(0.3)
    assert found.outcome == "fail"
    assert found.sentence == (
        "After 50 characters the next 50 of 30 of 100 training texts came back exactly, and of 0 "
        "of 80 that were never trained on."
    )
    nearly = [text[:99] + "#" + text[100:] for text in train]
    assert extraction(reciter(nearly), train, others).value == 0.0


def test_what_is_easily_guessed_is_not_extraction():
    train, others = ["a" * 120] * 60, ["a" * 110] * 60
    assert extraction(reciter([]), train, others).value == 0.0


def test_texts_too_short_are_passed_over_and_said():
    assert extraction(reciter([]), ["a" * 99, "a" * 100], ["b" * 100]).n == 1
    with pytest.raises(UsageError, match="at least 100 characters on both sides; got '0 trained"):
        extraction(reciter([]), ["a"], ["b" * 100])
    with pytest.raises(UsageError, match=r"one for each prefix \(1\); got 0"):
        extraction(lambda prefixes, count: [], ["a" * 100], ["b" * 100])


def test_the_rule_has_controls_and_catches_a_reciter():
    real = RealTexts(train=pages(400, 0), valid=pages(200, 1), test=pages(200, 2))
    texts = Texts(samples=[], reference=real, continue_from=reciter([]))
    found = EXTRACTION.judge(texts, 0.99)
    assert found.controls == {"positive": "fail", "negative": "pass"}
    assert found.outcome == "pass"
    caught = replace(texts, continue_from=reciter(real.train[::4]))
    assert EXTRACTION.judge(caught, 0.99).outcome == "fail"


def test_short_texts_are_asked_for_less():
    """Of answers a few have 100 characters, and half of them have 50."""

    def answers(n, seed):
        return [text[:60] if row % 2 else text[:20] for row, text in enumerate(pages(n, seed))]

    real = RealTexts(train=answers(400, 0), valid=answers(200, 1), test=answers(200, 2))
    known = {text[:25]: text[25:] for text in real.train[1::8]}
    texts = Texts(
        samples=[],
        reference=real,
        continue_from=lambda prefixes, count: [known.get(p, "")[:count] for p in prefixes],
    )
    assert EXTRACTION.applies(texts) is None
    found = EXTRACTION.judge(texts, 0.99)
    assert found.controls == {"positive": "fail", "negative": "pass"}
    assert found.outcome == "fail"
    assert found.sentence.startswith("After 25 characters the next 25 of 50 of 200 training texts")


def test_the_rule_says_why_it_has_nothing_to_say():
    short = [text[:40] for text in pages(60, 2)]
    real = RealTexts(train=pages(40, 0), valid=pages(60, 1), test=short)
    texts = Texts(samples=[], reference=real)
    assert EXTRACTION.applies(texts) == "it continues no text"
    texts = replace(texts, continue_from=reciter([]))
    assert EXTRACTION.applies(texts) == (
        "fewer than 25 texts of train, valid or test have 50 characters"
    )
