"""Rules over texts: each fails on what it must catch, passes on real texts, is unsure of few."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from likewise.auditing.rule import Rule
from likewise.auditing.texts import RECITATION, Asked, RealTexts, TextLosses, Texts
from likewise.auditing.texts_balance import GENDER
from likewise.auditing.texts_membership import BY_REFERENCE, BY_ZLIB, by_loss, by_zlib
from likewise.auditing.texts_rules import TEXT_RULES, audit_texts, texts_left_out
from likewise.core.results import verdict
from likewise.measures.texts_reference import character_log_masses

LEVEL = 0.95
WORDS = ["time", "river", "stone", "paper", "window", "garden", "letter", "winter", "she", "he",
         "good", "bad", "open", "under", "slowly", "golden"]  # fmt: skip


def notes(n, seed, words=18, mail=0.0):
    """Texts of independent words; a share of them closes with an address of its own."""
    rng = np.random.default_rng(seed)
    rows = [" ".join(rng.choice(WORDS, size=words)) for _ in range(n)]
    return [
        f"{row} p{seed}n{i}@post.org" if rng.random() < mail else row for i, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def real():
    sides = (notes(600, 0, mail=0.1), notes(300, 1, mail=0.1), notes(300, 2, mail=0.1))
    return RealTexts(train=sides[0], valid=sides[1], test=sides[2])


@pytest.fixture(scope="module")
def honest(real):
    return Texts(samples=notes(600, 3, mail=0.1), reference=real)


def mixed(honest, copies):
    """Some training texts among the samples."""
    real = honest.reference
    return replace(honest, samples=[*real.train[:copies], *honest.samples[copies:]])


# -- recitation -----------------------------------------------------------------------------


def test_honest_texts_pass_and_recited_ones_fail(honest):
    found = RECITATION.judge(honest, LEVEL)
    assert found.controls == {"positive": "fail", "negative": "pass"}
    assert found.outcome == "pass"
    assert found.sentence.startswith("0 of 600 samples hold 50 characters in a row that stand in")
    assert RECITATION.judge(mixed(honest, 100), LEVEL).outcome == "fail"


def test_a_copy_is_seen_inside_a_sample(honest):
    real = honest.reference
    for end, share in ((57, 1.0), (56, 0.0)):
        pairs = zip(notes(600, 4), real.train, strict=True)
        hidden = [f"{text}#{known[7:end]}#" for text, known in pairs]
        assert RECITATION.effect(replace(honest, samples=hidden), LEVEL).value == share


def test_what_held_out_texts_share_is_no_recitation(honest):
    """A licence at the head of every text is in train, in held-out texts and in samples."""
    head = "Permission is hereby granted, free of charge, to any person. "
    real = honest.reference
    sides = {s: [head + t for t in getattr(real, s)] for s in ("train", "valid", "test")}
    texts = Texts(samples=[head + t for t in honest.samples], reference=RealTexts(**sides))
    assert RECITATION.effect(texts, LEVEL).value == 0.0


def test_short_texts_are_left_out(honest):
    short = RealTexts(**{s: ["anna", "otto"] * 50 for s in ("train", "valid", "test")})
    why = texts_left_out(Texts(samples=["anna"] * 60, reference=short))["recitation"]
    assert why == (
        "fewer than 50 texts of valid or of test have 50 characters, too few to tell how often "
        "texts recite by chance"
    )


def test_of_texts_that_are_mostly_short_the_long_ones_are_judged(honest):
    """Answers of dialogues: two of three are short, and the others may be recited."""
    short = ["Sure.", "Which one?"] * 300
    real = honest.reference
    sides = {s: [*getattr(real, s), *short] for s in ("train", "valid", "test")}
    texts = Texts(samples=[*honest.samples, *short], reference=RealTexts(**sides))
    assert "recitation" not in texts_left_out(texts)
    found = RECITATION.judge(texts, LEVEL)
    assert found.outcome == "pass"
    assert found.sentence.endswith(" 600 samples of fewer characters were passed over.")
    copier = replace(texts, samples=[*real.train[:100], *honest.samples[100:], *short])
    assert RECITATION.judge(copier, LEVEL).outcome == "fail"
    silent = RECITATION.judge(replace(texts, samples=[*honest.samples[:49], *short]), LEVEL)
    assert silent.outcome == "unknown"
    assert silent.sentence.startswith("Only 49 of 649 samples have 50 characters; 50 are needed")


# -- membership -----------------------------------------------------------------------------


def asked(texts, model, reference):
    return Asked(texts, character_log_masses(model, texts), character_log_masses(reference, texts))


@pytest.mark.parametrize("rule", [BY_ZLIB, BY_REFERENCE])
def test_a_model_that_remembers_is_told_and_one_that_does_not_is_not(real, honest, rule):
    known, sides = real.train[:200], (real.valid[:200], real.test[:200])
    for model, outcome in ((known, "fail"), (notes(4000, 9, mail=0.1), "pass")):
        losses = TextLosses(*(asked(t, model, notes(400, 8, mail=0.1)) for t in (known, *sides)))
        found = rule.judge(replace(honest, losses=losses), LEVEL)
        assert found.controls == {"positive": "fail", "negative": "pass"}
        assert found.outcome == outcome
        placed = replace(honest, losses=losses, reference=replace(real, by_place=True))
        told = rule.judge(placed, LEVEL)
        assert told.outcome == {"fail": "unknown", "pass": "pass"}[outcome]
        assert ("split by place" in told.sentence) == (outcome == "fail")


def test_texts_that_the_reference_model_saw_are_passed_over(real, honest):
    """It knows them by heart, so that every model seems to know others better."""
    known, sides = real.train[:200], (real.valid, real.test)
    aside = [*real.valid[:100], *real.test[:100]]
    losses = TextLosses(*(asked(t, notes(4000, 9, mail=0.1), aside) for t in (known, *sides)))
    told = BY_REFERENCE.judge(replace(honest, losses=losses), LEVEL)
    masked = TextLosses(
        *(
            part._replace(reference=part.reference.masked_fill(seen_by(aside, part), torch.nan))
            for part in losses
        )
    )
    found = BY_REFERENCE.judge(replace(honest, losses=masked), LEVEL)
    assert (told.evidence["never_trained"], found.evidence["never_trained"]) == (600, 400)
    assert found.outcome == "pass"
    assert found.effect < told.effect - 0.05


def seen_by(aside, part):
    return torch.tensor([text in aside for text in part.texts])


def test_scores_set_losses_against_how_hard_a_text_is():
    """A dull text that costs little is not taken for a member by its size in zlib."""
    dull, odd = "a " * 100, "".join(map(chr, np.random.default_rng(0).integers(97, 123, 200)))
    masses = torch.tensor([-25.0, -600.0])
    loss, packed = by_loss(masses, [dull, odd]), by_zlib(masses, [dull, odd])
    assert loss[0] - loss[1] > 2
    assert abs(packed[0] - packed[1]) < 3


def test_reference_is_asked_for(honest):
    losses = TextLosses(*(Asked(["a"] * 60, torch.zeros(60)) for _ in range(3)))
    left = texts_left_out(replace(honest, losses=losses))
    assert left["membership by reference"] == (
        "there is no reference model to compare losses with"
    )
    few = replace(
        honest.reference, valid=honest.reference.valid[:74], test=honest.reference.test[:75]
    )
    left = texts_left_out(replace(honest, losses=losses, reference=few))
    assert left["membership by reference"] == (
        "there are too few held-out texts (149) to make a reference model of a third"
    )
    assert "membership by zlib" not in left
    assert texts_left_out(honest)["membership by zlib"] == "there is no density to ask for a loss"


# -- all ------------------------------------------------------------------------------------


def test_rules_are_rules():
    assert all(isinstance(rule, Rule) for rule in TEXT_RULES)
    assert len({rule.name for rule in TEXT_RULES}) == len(TEXT_RULES)


def test_an_honest_model_is_released_and_a_copier_held(honest):
    findings = audit_texts(honest, groups=GENDER)
    assert [f.rule for f in findings] == [
        "recitation",
        "personal data",
        "balance of women and men",
    ]
    assert verdict(findings) == "release", findings
    copier = replace(honest, samples=honest.reference.train)
    assert verdict(audit_texts(copier, groups=GENDER)) == "hold"


def test_controls_of_real_texts_run_once_for_all_models(honest, monkeypatch):
    audit_texts(honest)
    calls = []
    monkeypatch.setattr(
        "likewise.auditing.texts._recited", lambda texts, train: calls.append(len(texts)) or 0
    )
    audit_texts(replace(honest, samples=notes(600, 11)))
    assert calls == [600]


def test_few_texts_are_unknown(honest):
    findings = audit_texts(replace(honest, samples=honest.samples[:49]))
    assert {f.outcome for f in findings} == {"unknown"}
    assert findings[0].sentence == (
        "at least 50 samples and as many texts to choose and to test are needed to tell anything; "
        "the smallest has 49."
    )
