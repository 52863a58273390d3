"""Balance of groups: counts by hand, intervals that cover, controls."""

from dataclasses import replace

import numpy as np
import pytest

from likewise.auditing.texts import RealTexts, Texts
from likewise.auditing.texts_balance import balance, balance_rule
from likewise.core.errors import UsageError


def talk(n, seed, women=0.5, kind=(0.5, 0.5)):
    """Three sentences a text, of a woman or a man, with a word that praises or blames."""
    rng, texts = np.random.default_rng(seed), []
    for _ in range(n):
        said = []
        for _ in range(3):
            who = int(rng.random() >= women)
            mood = "good" if rng.random() < kind[who] else "bad"
            said.append(f"{('She', 'He')[who]} is {mood}. The sky was a good sky.")
        texts.append(" ".join(said))
    return texts


def by_name(shifts):
    return {shift.what: shift for shift in shifts}


def test_words_are_counted_within_sentences():
    real = ["She is good. The bad sky! He said: bad"] * 50
    made = ["HER good, good dog. his bad one\nher day"] * 60
    found = by_name(balance(made, real))
    assert found["women among words of groups"][1:4] == pytest.approx((2 / 3, 1 / 2, 1 / 6))
    assert found["positive words beside women"][1:4] == pytest.approx((1.0, 1.0, 0.0))
    assert found["positive words beside men"][1:4] == pytest.approx((0.0, 0.0, 0.0))
    assert found["women among words of groups"].n == 60


def test_the_intervals_cover():
    hits = [
        shift.interval.low <= 0.0 <= shift.interval.high
        for seed in range(40)
        for shift in balance(talk(150, seed), talk(150, 500 + seed))
    ]
    assert len(hits) == 40 * 4
    assert 0.9 <= np.mean(hits) <= 0.99


def test_shifts_of_number_and_of_mood_are_found():
    rule, real = balance_rule(), RealTexts(train=[], valid=talk(400, 1), test=talk(400, 2))
    for made, outcome, worst in (
        (talk(800, 3), "pass", ""),
        (talk(800, 3, women=0.1), "fail", "among words of groups"),
        (talk(800, 3, kind=(0.1, 0.5)), "fail", "positive words beside women"),
    ):
        found = rule.judge(Texts(samples=made, reference=real), 0.99)
        assert found.controls == {"positive": "fail", "negative": "pass"}
        assert found.outcome == outcome
        assert worst in found.sentence


def test_groups_of_ones_own():
    groups = {"cats": ["cat", "Kitten"], "dogs": ["dog"], "birds": ["bird"]}
    rng = np.random.default_rng(0)
    words = ["a cat", "a dog", "a bird", "good", "bad"]
    real = [" ".join(rng.choice(words, size=12)) for _ in range(1000)]
    texts = Texts(
        samples=[text.replace("bird", "kitten") for text in real],
        reference=RealTexts(train=[], valid=real[:500], test=real[500:]),
    )
    found = balance_rule(groups).judge(texts, 0.95)
    assert found.outcome == "fail"
    assert found.effect == pytest.approx(1 / 3, abs=0.03)
    assert balance_rule(groups).judge(replace(texts, samples=real), 0.95).outcome == "pass"


def test_a_model_that_names_no_group_is_unknown():
    real = talk(400, 1)
    shifts = balance(["nothing"] * 100, real)
    assert {shift.interval for shift in shifts} == {(-1.0, 1.0)}
    assert shifts[0].made is None


def test_texts_without_such_words_are_left_out():
    real = RealTexts(train=[], valid=["no one"] * 90, test=["no one"] * 90)
    texts = Texts(samples=["no one"] * 90, reference=real)
    assert balance_rule().applies(texts) == (
        "held-out texts hold too few words of women or men to tell a shift"
    )


def test_a_share_that_is_seldom_told_is_unknown_and_named():
    """A mood is told in few texts, and in few valid ones only: the other shares are judged."""
    plain = [text.replace("good", "here").replace("bad", "there") for text in talk(1000, 1)]
    real = RealTexts(train=[], valid=plain[:400], test=[*plain[400:700], *talk(100, 2)])
    found = balance_rule().judge(Texts(samples=plain[700:], reference=real), 0.95)
    assert list(found.evidence) == ["women among words of groups", "men among words of groups"]
    assert found.controls == {"positive": "fail", "negative": "pass"}
    assert found.outcome == "unknown"
    assert found.sentence.endswith(
        "Too few valid texts tell of positive words beside women, positive words beside men: not "
        "judged. What was not judged is unknown."
    )
    shifted = [text.replace("He", "She") for text in plain[700:]]
    found = balance_rule().judge(Texts(samples=shifted, reference=real), 0.95)
    assert found.outcome == "fail"
    assert found.sentence.endswith("positive words beside men: not judged.")


def test_lists_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="groups must be at least two lists of words; got"):
        balance_rule({"one": ["a"]})
    with pytest.raises(UsageError, match=r"in one group each; got \['a'\]"):
        balance_rule({"one": ["a"], "two": ["A", "b"]})
    with pytest.raises(UsageError, match="'positive' and 'negative' words; got"):
        balance([], [], sentiment={"good": ["good"]})
