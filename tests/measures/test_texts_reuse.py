"""Verbatim reuse: against brute force and difflib."""

from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.errors import UsageError
from likewise.measures import texts_reuse
from likewise.measures.texts import units
from likewise.measures.texts_reuse import (
    longest_run,
    longest_shared,
    overlap,
    runs_in_train,
    verbatim,
)

LISTS = st.lists(st.text("ab \U0001f642", max_size=14), min_size=1, max_size=5)


@pytest.fixture(params=[1 << 20, 5], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    monkeypatch.setattr(texts_reuse, "BLOCK", request.param)


def plain_mask(text, train, length, unit):
    own, others = units(text, unit), [units(t, unit) for t in train]
    known = {tuple(o[i : i + length]) for o in others for i in range(len(o) - length + 1)}
    mask = [False] * len(own)
    for i in range(len(own) - length + 1):
        if tuple(own[i : i + length]) in known:
            mask[i : i + length] = [True] * length
    return mask


@given(LISTS, LISTS, st.integers(1, 7), st.sampled_from(["word", "character"]))
@settings(deadline=None)
@pytest.mark.usefixtures("block")
def test_runs_are_those_of_brute_force(texts, train, length, unit):
    found = runs_in_train(texts, train, length=length, unit=unit)
    assert [mask.tolist() for mask in found] == [
        plain_mask(text, train, length, unit) for text in texts
    ]


@given(LISTS, LISTS)
@settings(deadline=None, max_examples=50)
@pytest.mark.usefixtures("block")
def test_the_longest_run_is_that_of_difflib(texts, train):
    plain = max(
        SequenceMatcher(None, a, b, autojunk=False).find_longest_match().size
        for a in texts
        for b in train
    )
    assert longest_shared(texts, train) == plain


def test_a_run_does_not_cross_from_one_text_of_train_to_the_next():
    assert longest_shared(["abcd"], ["ab", "cd"]) == 2
    assert longest_shared(["ab", "cd"], ["abcd"]) == 2


def test_collisions_are_found_out(monkeypatch):
    """With hashes that are all alike nothing is claimed that is not there."""
    monkeypatch.setattr(texts_reuse, "_mixed", lambda hashes: hashes * 0)
    assert not runs_in_train(["abcdef"], ["uvwxyz"], length=3)[0].any()


def test_words_that_nobody_asked_about_are_alike_to_none():
    assert longest_shared(["x y"], ["p q r"], unit="word") == 0


def test_verbatim_is_a_share_of_all_characters():
    run = "".join(chr(97 + i % 23) for i in range(60))
    made = [run[:50] + "#" * 50, "?" * 100]
    score = verbatim(made, ["!" * 80] * 2, train=["left " + run + " right"])
    assert score.value == pytest.approx(0.25)
    assert "0.00% of held-out texts stand in such runs" in score.how
    assert verbatim([run[:49]] * 2, [run] * 2, train=[run]).value == 0.0


def test_verbatim_in_words_does_not_see_other_spaces():
    run = "one two three four five six seven eight"
    made = [run.replace(" ", "\n") + " nine ten"] * 2
    assert verbatim(made, made, train=[run], length=8, unit="word").value == pytest.approx(0.8)


def test_overlap_is_a_share_of_all_ngrams():
    made = ["the cat sat on a mat", "the cat sat under it"]
    score = overlap(made, ["nothing like it"] * 2, train=["so the cat sat on it"], size=3)
    assert score.value == pytest.approx(3 / 7)  # the cat sat, cat sat on; the cat sat
    assert "of those of held-out texts 0.0% stand in train" in score.how


def test_the_longest_run_says_that_of_held_out_texts():
    score = longest_run(["abcdefgh"], ["xxcdexx"], train=["--cdefg--"])
    assert (score.value, score.low, score.unit) == (5.0, None, "characters")
    assert score.how == "of 1 texts; 3 characters of 1 held-out texts"


def test_train_may_be_empty_and_texts_too():
    assert longest_shared(["", "ab"], []) == 0
    assert longest_shared([""], ["ab"]) == 0
    assert runs_in_train([""], ["ab"], length=2)[0].tolist() == []
    assert verbatim(["", ""], ["a", "b"], train=["ab"]).why == (
        "fewer than 2 of 2 texts are long enough to be looked at."
    )


def test_a_length_of_none_is_refused():
    with pytest.raises(UsageError, match="length must be at least 1; got 0"):
        runs_in_train(["a"], ["a"], length=0)
