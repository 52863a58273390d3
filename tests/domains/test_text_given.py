"""A split that few long texts came with is kept; only what is missing is taken from train."""

import numpy as np
import pytest

from likewise.core.errors import DataError
from likewise.core.records import split
from likewise.domains.text import Text
from tests.domains.test_text_read import items, prose, write

NAMES = {"train": "train", "valid": "val", "test": "test"}


@pytest.fixture
def texts(tmp_path):
    """Three long texts of words of their own, as files of one folder."""
    made = {}
    for part, name, n in (("train", "train", 200), ("valid", "val", 60), ("test", "test", 50)):
        made[part] = "\n\n".join(f"{part} {text}" for text in prose(n, seed=n))
        write(tmp_path / f"{name}.txt", made[part])
    return made


def joined(records, rows):
    return "".join(records.take(rows).items)


def test_every_part_is_its_file(texts, tmp_path):
    records = Text.load(tmp_path, context=64)
    parts = split(records, seed=0)
    for part, text in texts.items():
        assert joined(records, parts.part(part)) == text
    assert records.skipped == ()


@pytest.mark.parametrize("gone", ["valid", "test"])
def test_a_missing_part_is_the_end_of_train_behind_a_gap(texts, tmp_path, gone):
    (tmp_path / f"{NAMES[gone]}.txt").unlink()
    kept = "test" if gone == "valid" else "valid"
    records = Text.load(tmp_path, context=64)
    parts = split(records, seed=0)
    assert joined(records, parts.part(kept)) == texts[kept]
    train, new = joined(records, parts.train), joined(records, parts.part(gone))
    assert texts["train"].startswith(train)
    assert texts["train"].endswith(new)
    size = len(texts["train"].encode())
    assert len(new.encode()) == pytest.approx(0.1 * size, abs=64)
    assert 64 <= size - len(train.encode()) - len(new.encode()) < 3 * 64
    assert [one.what.split(" ", 1)[1] for one in records.skipped] == [
        f"passages between train and {gone}"
    ]


def test_two_files_of_tokens_without_ends_are_train_and_valid(tmp_path):
    kit = pytest.importorskip("tokenizers")
    made = kit.Tokenizer(kit.models.BPE({f"w{i} ": i for i in range(40)}, []))
    made.decoder = kit.decoders.Fuse()
    made.save(str(tmp_path / "tokenizer.json"))
    draw, texts = np.random.default_rng(0), {}
    for name, n in (("train", 9000), ("val", 3000)):
        tokens = draw.integers(0, 40, n).astype(np.uint16)
        tokens.tofile(tmp_path / f"{name}.bin")
        texts[name] = "".join(f"w{i} " for i in tokens)
    records = Text.load(tmp_path, context=64)
    parts = split(records, seed=0)
    assert joined(records, parts.valid) == texts["val"]
    assert texts["train"].startswith(joined(records, parts.train))
    assert texts["train"].endswith(joined(records, parts.test))


def test_a_short_part_shortens_the_context_and_too_short_a_one_is_refused(texts, tmp_path):
    write(tmp_path / "val.txt", texts["valid"][:400])
    records = Text.load(tmp_path, context=400)
    assert records.facts["context"] == len(texts["valid"][:400].encode()) // 4
    write(tmp_path / "val.txt", "too short")
    with pytest.raises(DataError, match=r"the valid part of folder .* at least 64 bytes; got 9\."):
        Text.load(tmp_path)


def test_pairs_and_texts_in_one_folder(tmp_path):
    write(
        tmp_path / "pairs.tsv", "source\ttarget\n" + "".join(f"e {i}\to {i}\n" for i in range(20))
    )
    write(tmp_path / "plain.txt", "no source")
    records = Text.load(tmp_path)
    assert records.conditions["source"].count(None) == 1
    assert "no source" in items(records)
    assert records.facts["source"] == 4
