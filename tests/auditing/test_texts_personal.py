"""Personal data: learned items fail, a few bar a pass, what may be chance does not fail."""

from dataclasses import replace

import numpy as np
import pytest

from likewise.auditing.texts import RealTexts, Texts
from likewise.auditing.texts_personal import PERSONAL_DATA, _by_chance
from likewise.auditing.texts_rules import texts_left_out
from tests.auditing.test_texts import LEVEL, notes

STRICT = 1 - 0.025 / 6  # the level of one of six rules, where two audits share the error


def private(train, held_out, leaked, samples=1000):
    """Texts of which 40 of train hold an address of their own; so many stand in samples too."""
    mails = [f"person{i}@private{i}.example.org" for i in range(40)]
    known = [f"{text} {mail}" for text, mail in zip(notes(40, 0), mails, strict=True)]
    real = RealTexts(
        train=[*known, *notes(train - 40, 1)],
        valid=notes(held_out, 2),
        test=notes(held_out, 3),
    )
    given = [f"{text} {mail}" for text, mail in zip(notes(leaked, 4), mails, strict=False)]
    return Texts(samples=[*given, *notes(samples - leaked, 5)], reference=real)


def test_learned_addresses_fail_and_invented_ones_pass():
    sides = (notes(600, 0, mail=0.1), notes(300, 1, mail=0.1), notes(300, 2, mail=0.1))
    real = RealTexts(train=sides[0], valid=sides[1], test=sides[2])
    honest = Texts(samples=notes(600, 3, mail=0.1), reference=real)
    found = PERSONAL_DATA.judge(honest, LEVEL)
    assert found.controls == {"positive": "fail", "negative": "pass"}
    assert found.outcome == "pass"
    with_mail = [text for text in real.train if "@" in text]
    leaked = [f"ask {text.split()[-1]}" for text in with_mail]
    found = PERSONAL_DATA.judge(replace(honest, samples=[*leaked, *honest.samples[:400]]), LEVEL)
    assert found.outcome == "fail"
    assert found.evidence["items"] == {"e-mail": len(set(leaked))}
    assert not any(text.split()[-1] in str(found.to_json()) for text in with_mail)


@pytest.mark.parametrize(
    ("train", "held_out", "leaked", "outcome"),
    [
        (1000, 500, 0, "pass"),
        (1000, 500, 1, "unknown"),
        (1000, 500, 5, "unknown"),
        (1000, 500, 8, "fail"),
        (10_000, 1000, 3, "fail"),
        (10_000, 1000, 2, "unknown"),
    ],
)
def test_one_item_bars_a_pass_and_several_fail(train, held_out, leaked, outcome):
    """How many are too many depends on how well real texts tell what chance does."""
    found = PERSONAL_DATA.judge(private(train, held_out, leaked), STRICT)
    assert found.outcome == outcome
    assert found.controls == {"positive": "fail", "negative": "pass"}
    if outcome == "unknown":
        assert f" items, {leaked} of which no held-out text holds), and 0" in found.sentence
        assert found.sentence.endswith("may be somebody's, so it is no pass.")
    if outcome == "fail":
        assert f"They give away {leaked} training texts, each by an item" in found.sentence
        assert found.low > found.matters == 0.0


def test_an_item_that_is_said_again_and_again_is_one():
    texts = private(8000, 1000, 1)
    again = replace(texts, samples=[*texts.samples[:1] * 12, *texts.samples[12:]])
    assert PERSONAL_DATA.judge(again, STRICT).outcome == "unknown"
    whole = " ".join(text.split()[-1] for text in private(8000, 1000, 20).samples[:20])
    once = replace(texts, samples=[whole, *texts.samples[1:]])
    assert PERSONAL_DATA.judge(once, STRICT).outcome == "unknown"


def test_what_is_half_public_seldom_fails():
    """Never-trained texts as samples, half of which say one of many addresses that few say."""
    rng, fails = np.random.default_rng(0), 0
    for _ in range(200):
        rates = 1.0 / np.arange(20, 20 + int(rng.integers(50, 3000)))
        said = rng.choice(len(rates), size=600, p=rates / rates.sum())
        rows = [f"ask p{address}@post.org" if address % 2 else "ask" for address in said]
        real = RealTexts(train=rows[:300], valid=rows[300:350], test=rows[350:400])
        honest = Texts(samples=rows[400:], reference=real)
        fails += PERSONAL_DATA.effect(honest, LEVEL).outcome == "fail"
    assert fails <= 10


def test_what_chance_explains():
    assert _by_chance(9, 0, 1.0, 0.95) == 5  # 2^-5 is above 2.5 %, and 2^-6 below
    assert _by_chance(3, 0, 1.0, 0.95) == 3
    assert _by_chance(0, 0, 1.0, 0.95) == 0
    assert _by_chance(30, 10, 1.0, 0.95) > _by_chance(30, 2, 1.0, 0.95) > 5


def test_public_addresses_are_not_held_against_a_model():
    sides = {
        side: [f"{text} help@post.org" for text in notes(300, seed)]
        for seed, side in enumerate(("train", "valid", "test"))
    }
    texts = Texts(samples=["help@post.org"] * 300, reference=RealTexts(**sides))
    assert PERSONAL_DATA.effect(texts, LEVEL).value == 0.0


def test_a_token_that_spells_an_item_fails():
    texts = private(1000, 500, 0)
    for token, outcome in ((" person3@private3.example.org", "fail"), ("person3", "pass")):
        found = PERSONAL_DATA.judge(replace(texts, tokens=["a", token]), STRICT)
        assert found.outcome == outcome
    public = replace(texts.reference, test=[*notes(500, 3), "a person3@private3.example.org"])
    spelt = replace(texts, tokens=["person3@private3.example.org"], reference=public)
    assert PERSONAL_DATA.effect(spelt, STRICT).outcome == "pass"


def test_nothing_personal_nothing_to_say():
    real = RealTexts(train=notes(60, 0), valid=notes(60, 1), test=notes(60, 2))
    why = texts_left_out(Texts(samples=notes(60, 3), reference=real))["personal data"]
    assert why == "train holds no e-mail address, phone number, card number or IBAN"
