"""Texts that say things twice and are split by position: nothing held out stands in train."""

import numpy as np
import pytest

from likewise.domains.text import Text, repeats

WORDS = np.array([f"w{i}" for i in range(2000)])


def prose(n, seed):
    return " ".join(np.random.default_rng(seed).choice(WORDS, n))


def write(path, text):
    path.write_text(text)
    return path


def parts(records):
    found = {name: [] for name in ("train", "valid", "test")}
    for text, name in zip(records.items, records.given, strict=True):
        found[name].append(text)
    return found


def standing(inside, outside):
    """The share of some passages whose middle stands in others."""
    whole = "".join(outside)
    return np.mean([text[len(text) // 4 : -len(text) // 4] in whole for text in inside])


@pytest.mark.parametrize("between", ["", prose(700, 9)])
def test_a_text_that_stands_twice_is_held_out_once(tmp_path, between):
    one = prose(6000, 0)
    records = Text.load(write(tmp_path / "twice.txt", f"{one} {between} {one}"))
    found = parts(records)
    assert min(map(len, found.values())) > 20
    assert standing(found["test"], found["train"] + found["valid"]) == 0
    assert standing(found["valid"], found["train"]) == 0
    (told,) = [one for one in records.skipped if "stand word for word" in one.why]
    assert told.what.endswith("passages of train or valid")


def test_a_text_that_stands_many_times_is_kept_with_a_word(tmp_path):
    records = Text.load(write(tmp_path / "many.txt", f"{prose(1500, 0)} " * 30))
    assert set(records.given) == {"train", "valid", "test"}
    assert any(
        "what is held out is known, and scores flatter" in one.why for one in records.skipped
    )


def test_versions_of_few_documents_are_held_out_once(tmp_path):
    texts = [prose(1500, seed) for seed in range(8)]
    for number, text in enumerate(texts):
        write(tmp_path / f"{number}.txt", text)
    write(tmp_path / "z.txt", f"A licence stands here. {texts[1]} and a word")
    found = parts(Text.load(tmp_path))
    assert standing(found["test"], found["train"] + found["valid"]) == 0
    assert min(map(len, found.values())) > 10


def test_texts_that_do_not_repeat_lose_nothing(tmp_path):
    records = Text.load(write(tmp_path / "once.txt", prose(9000, 0)))
    assert not [one for one in records.skipped if "stand word for word" in one.why]


def test_short_phrases_are_no_repeats(tmp_path):
    lines = [f"{prose(12, seed)}\nThe same old words stand here.\n" for seed in range(900)]
    records = Text.load(write(tmp_path / "refrain.txt", "\n".join(lines)))
    assert not [one for one in records.skipped if "stand word for word" in one.why]


def test_blocks_change_nothing(tmp_path, monkeypatch):
    one = prose(6000, 0)
    path = write(tmp_path / "twice.txt", f"{one} {one}")
    whole = Text.load(path)
    monkeypatch.setattr(repeats, "BLOCK", 1000)
    assert Text.load(path).ids == whole.ids
