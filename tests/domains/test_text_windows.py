"""Windows of a stream of tokens to train on, and the cache of what is too large for memory."""

import os

import numpy as np
import pytest
import torch

from likewise.core.rng import Draws
from likewise.domains.text import Text, cache, stream
from tests.domains.texts import fitted, load_long, real, story


@pytest.mark.parametrize("tokenizer", ["characters", "bytes", "bpe"])
def test_windows_that_are_not_shifted_tile_the_stream(tokenizer):
    records = Text.load(story(), tokenizer=tokenizer, vocabulary=300, context=48)
    domain = fitted(records)
    packed = domain.views()[1]
    source = domain.source(records, packed, train=True)
    starts = np.arange(len(source)) * packed.length
    x, c = source.windows(starts, np.zeros(len(starts), dtype=bool))
    flat = x.flatten()
    flat = flat[packed.mask(x).flatten()].numpy()
    documents = np.split(flat, np.flatnonzero(flat == packed.end) + 1)
    assert len(documents[-1]) == 0
    back = [domain.codec.vocabulary.decode(ids) for ids in documents[:-1]]
    assert back == story()
    assert c["prompt"][0][1:, 0].tolist() == flat[starts[1:] - 1].tolist()
    assert c["prompt"][0][0, 0] == packed.end
    assert bool(c["prompt"][1].all())
    rows, known = c["earlier"]
    assert rows.shape == x.shape
    assert known.tolist() == [start > 1 for start in starts.tolist()]
    for start, row in zip(starts.tolist(), rows, strict=True):
        wanted = flat[max(0, start - 1 - packed.length) : max(0, start - 1)].tolist()
        assert real(row, packed.pad) == wanted


def test_what_stands_behind_a_seam_is_not_carried_over_it():
    records = Text.load(story(), tokenizer="characters", context=48).take(range(0, 30, 3))
    domain = fitted(records)
    packed = domain.views()[1]
    source = domain.source(records, packed, train=True)
    tokens = source.stream.tokens
    tokens[100] = packed.pad
    rows, known = source.windows(np.array([99, 101, 102, 110]), np.zeros(4, dtype=bool))[1][
        "earlier"
    ]
    assert known.tolist() == [True, False, False, True]
    assert real(rows[3], packed.pad) == tokens[101:109].tolist()


def test_windows_are_shifted_and_some_begin_with_a_record():
    records = Text.load(story(), tokenizer="characters", context=48)
    domain = fitted(records)
    packed = domain.views()[1]
    source = domain.source(records, packed, train=True)
    tokens = source.stream.tokens.astype(np.int64)
    index = torch.arange(len(source)).repeat(40)
    x, c = source.batch(index, Draws(3))
    packed.check(x)
    prompt, present = c["prompt"]
    assert 0.09 < float((~present).float().mean()) < 0.16
    begins = {tuple(tokens[start : start + 48]) for start in source.stream.starts}
    whole = {
        tuple(tokens[start : start + 48]): tokens[start - 1] if start else packed.end
        for start in range(len(tokens) - 47)
    }
    for row, before, known in zip(x, prompt[:, 0], present, strict=True):
        if known:
            assert tuple(row.tolist()) in whole
            assert before in (packed.end, *tokens)
        else:
            assert tuple(real(row, packed.pad)) in begins
    assert len(torch.unique(x, dim=0)) > 10 * len(source)
    again, _ = source.batch(index, Draws(3))
    assert torch.equal(x, again)
    part, _ = source.batch(index[7:], Draws(3, start=7))
    assert torch.equal(x[7:], part)


def test_a_hole_in_a_document_is_a_seam_that_nothing_is_learned_of(tmp_path):
    records = load_long(tmp_path, context=64)
    domain = fitted(records)
    packed = domain.views()[1]
    some = records.take([0, 1, 3, 4])
    tokens = domain.source(some, packed, train=True).stream.tokens
    assert (tokens == packed.pad).sum() == 1
    before, after = np.split(tokens, np.flatnonzero(tokens == packed.pad))
    words = domain.codec.vocabulary
    assert words.decode(before) == records.items[0] + records.items[1]
    assert words.decode(after[1:]) == records.items[3] + records.items[4]


def test_a_large_corpus_is_one_mapped_file_that_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    records = load_long(tmp_path)
    domain = fitted(records)
    packed = domain.views()[1]
    held = domain.source(records, packed, train=True).stream
    monkeypatch.setattr(stream, "HELD", 0)
    first = domain.source(records, packed, train=True).stream
    assert isinstance(first.tokens, np.memmap)
    assert first.tokens.dtype == np.uint16
    assert np.array_equal(first.tokens, held.tokens)
    assert np.array_equal(first.starts, held.starts)
    (entry,) = cache.place().iterdir()
    monkeypatch.setattr(stream, "_write", None)  # a second reading must not need it
    again = domain.source(records, packed, train=True).stream
    assert np.array_equal(again.tokens, held.tokens)
    other = domain.source(records.take(range(3)), packed, train=False)
    assert len(other) == 3
    entry.write_bytes(entry.read_bytes()[:-2])
    monkeypatch.undo()
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stream, "HELD", 0)
    mended = domain.source(records, packed, train=True).stream
    assert np.array_equal(mended.tokens, held.tokens)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    records = load_long(tmp_path)
    domain = fitted(records)
    held = domain.source(records, domain.views()[1], train=True).stream
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(stream, "HELD", 0)
    found = domain.source(records, domain.views()[1], train=True).stream
    assert np.array_equal(found.tokens, held.tokens)
    assert np.array_equal(found.starts, held.starts)


def test_old_entries_of_the_cache_go_first(tmp_path, monkeypatch):
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    paths = [cache.entry(f"{number:032x}") for number in range(3)]
    for age, path in zip((30, 20, 10), paths, strict=True):
        path.write_bytes(b"x" * 100)
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    (tmp_path / f"images-{0:032x}.npy").write_bytes(b"x" * 1000)
    monkeypatch.setattr(cache, "LIMIT", 250)
    cache.prune(keep=paths[2])
    assert [path.exists() for path in paths] == [False, True, True]
    assert len(list(tmp_path.iterdir())) == 3
