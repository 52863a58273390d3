"""The files of the images domain: the cache, saved pictures, grids."""

import errno
import io
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.core.errors import DataError, UsageError
from likewise.core.records import Records
from likewise.core.rng import Draws
from likewise.domains.images import Images, cache, files, parallel, read
from likewise.store.provenance import SOURCE_KEY, SOURCE_TYPE, read_png

PROVENANCE = {"family": "flow"}


@pytest.fixture(autouse=True)
def store(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("cache") / "deep"
    monkeypatch.setenv("LIKEWISE_CACHE", str(place))
    return place


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = draw.integers(0, 256, (9, 8, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
    (tmp_path / "set" / "bad.png").write_bytes(b"")
    return tmp_path / "set"


def same(a, b):
    assert np.array_equal(a.items, b.items)
    assert a.items.dtype == b.items.dtype
    assert a.items.flags.writeable == b.items.flags.writeable
    for name in ("ids", "conditions", "given", "skipped", "notes", "origin", "facts"):
        assert getattr(a, name) == getattr(b, name), name


def count_decoding(monkeypatch):
    calls = []
    real = read.decode
    monkeypatch.setattr(read, "decode", lambda *a: calls.append(1) or real(*a))
    return calls


def test_a_second_reading_comes_from_the_cache_and_is_equal(folder, store, monkeypatch):
    calls = count_decoding(monkeypatch)
    first, second = Images.load(folder), Images.load(folder)
    assert len(calls) == 1
    same(first, second)
    assert sorted(path.suffix for path in store.iterdir()) == [".json", ".npy"]
    assert store.stat().st_mode & 0o077 == 0, "the cache holds a user's pictures"


def test_other_options_other_content_and_other_names_are_read_afresh(folder, monkeypatch):
    calls = count_decoding(monkeypatch)
    Images.load(folder)
    Images.load(folder, size=4)
    Images.load(folder, colour="grey")
    assert len(calls) == 3
    facts = {**Images.load(folder).facts, "augment": ["flip"]}
    assert Images.load(folder, augment="flip").facts == facts
    assert len(calls) == 3, "augmentation changes no pixel"
    (folder / "b/3.png").rename(folder / "b/4.png")
    assert Images.load(folder).ids[-1] == "b/4.png"
    (folder / "b/4.png").write_bytes((folder / "a/1.png").read_bytes())
    assert np.array_equal(Images.load(folder).items[2], Images.load(folder).items[0])
    assert len(calls) == 5


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", ["cut", "turn", "empty", "gone"])
def test_a_damaged_entry_is_read_afresh_and_written_again(
    folder, store, monkeypatch, suffix, damage
):
    fresh = Images.load(folder)
    (entry,) = store.glob(f"*{suffix}")
    whole = entry.read_bytes()
    turned = bytearray(whole)
    turned[len(whole) // 2] ^= 1
    if damage == "gone":
        entry.unlink()
    else:
        entry.write_bytes({"cut": whole[:-20], "turn": bytes(turned), "empty": b""}[damage])
    same(Images.load(folder), fresh)
    assert entry.exists()
    calls = count_decoding(monkeypatch)
    same(Images.load(folder), fresh)
    assert calls == []


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_fault_that_passes_is_not_kept(folder, monkeypatch, fault):
    real = os.open

    def opened(path, *args, **kwargs):
        if str(path).endswith("1.png"):
            raise fault
        return real(path, *args, **kwargs)

    monkeypatch.setattr(parallel, "cores", lambda: 1)
    monkeypatch.setattr(files, "FRESH", 0)
    monkeypatch.setattr(files.os, "open", opened)
    why = {one.what: one.why for one in Images.load(folder).skipped}
    assert why["a/1.png"].startswith("cannot be read just now (")
    monkeypatch.setattr(files.os, "open", real)
    assert [one.what for one in Images.load(folder).skipped] == ["bad.png"]


@pytest.mark.parametrize("page", [[], {"hash": 1}, {"ids": 3}, None])
def test_a_page_of_another_kind_is_no_entry(folder, store, page):
    fresh = Images.load(folder)
    (entry,) = store.glob("*.json")
    entry.write_text(json.dumps(page))
    same(Images.load(folder), fresh)


def test_a_cache_that_cannot_be_written_is_no_error(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "file"))
    assert len(Images.load(folder)) == 3
    monkeypatch.delenv("LIKEWISE_CACHE")
    assert cache.place().name == "likewise"


def labelled(n, classes, h=8, levels=17):
    draw = np.random.default_rng(0)
    return Records(
        domain="images",
        items=draw.integers(0, levels, (n, h, h, 1), dtype=np.uint8),
        ids=tuple(map(str, range(n))),
        conditions={"label": tuple(str(i % classes) for i in range(n))} if classes else {},
        facts={"levels": levels},
    )


def test_saved_pictures_are_marked_and_read_back_the_same(tmp_path):
    data = labelled(12, 3)
    domain = Images()
    domain.fit(data)
    paths = domain.save(data, tmp_path / "out", PROVENANCE)
    assert [path.name for path in paths[:2]] == ["00000-0.png", "00001-1.png"]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(path.name for path in paths)
    for path in paths:
        number = str(int(path.name[:5]))
        assert read_png(path) == {SOURCE_KEY: SOURCE_TYPE, "number": number, "family": "flow"}
    again = Images.load(tmp_path / "out")
    assert again.items.max() == 255
    space = domain.views()[1]
    before, _ = domain.source(data, space, train=False).batch(torch.arange(12), Draws(0))
    after, _ = domain.source(again, space, train=False).batch(torch.arange(12), Draws(0))
    assert (before == after).all()


def test_a_file_is_named_by_its_number_and_left_alone_if_it_is_that_sample(tmp_path):
    data, domain = labelled(3, 0), Images()
    data = replace(data, ids=("7", "9999", "10000"))
    (tmp_path / "notes.txt").write_text("mine")
    paths = domain.save(data, tmp_path, {"seed": "1"})
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == ["00007.png", "09999.png", "from-10000/10000.png"]
    assert [read_png(path)["number"] for path in paths] == ["7", "9999", "10000"]
    before = [path.stat().st_mtime_ns for path in paths]
    assert domain.save(data, tmp_path, {"seed": "1", "created": "later"}) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before
    with pytest.raises(UsageError, match=r"00007\.png' is there and is not this picture 7"):
        domain.save(data, tmp_path, {"seed": "2"})
    (tmp_path / "00008-x.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="nothing is replaced"):
        domain.save(replace(data, ids=("6", "8", "9")), tmp_path, {"seed": "1"})
    assert (tmp_path / "00008-x.png").read_bytes() == b"mine"


def test_a_grid_is_countable_and_never_replaced(tmp_path):
    data, domain = labelled(64, 3), Images()
    grids = [domain.save(data, tmp_path / "g.png", {})[0] for _ in range(3)]
    assert [path.name for path in grids] == ["g.png", "g-2.png", "g-3.png"]
    assert read_png(grids[0])["number"] == "0-63"
    shown = np.array(Image.open(grids[0]))
    tile, gap = 8 * 5, 3
    for number in (0, 17, 63):  # tens are the row, ones the column
        top, left = (gap + at * (tile + gap) for at in divmod(number, 10))
        cell = shown[top : top + tile : 5, left : left + tile : 5]
        assert np.array_equal(cell, np.rint(data.items[number, :, :, 0] * (255 / 16)))


def test_a_class_of_any_name_makes_a_file_name(tmp_path):
    data = labelled(2, 0)
    names = ("../../etc: a*b?", "日本" * 100)
    odd = Records(
        domain="images",
        items=data.items,
        ids=data.ids,
        conditions={"label": names},
        facts=data.facts,
    )
    paths = Images().save(odd, tmp_path / "out", {})
    assert [path.parent for path in paths] == [tmp_path / "out"] * 2
    assert paths[0].name == "00000-.._.._etc_a_b_.png"


def test_places_that_pictures_cannot_be_written_to(tmp_path, monkeypatch):
    data, domain = labelled(2, 0), Images()
    (tmp_path / "file").write_text("in the way")
    for name in ("out.jpg", "file"):
        with pytest.raises(UsageError, match=r"a folder or end in \.png; got .*written as PNG"):
            domain.save(data, tmp_path / name, {})
    with pytest.raises(UsageError, match="cannot be written"):
        domain.save(data, tmp_path / "file" / "out", {})
    for call in (domain.show, lambda none: domain.save(none, tmp_path, {})):
        with pytest.raises(DataError, match="at least one; got 0"):
            call(data.take([]))


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError, match="No space left"):
        Images().save(labelled(2, 0), tmp_path / "out", {})
    assert os.listdir(tmp_path / "out") == []


def opened(data):
    return np.array(Image.open(io.BytesIO(data)))


def test_a_grid_is_enlarged_by_whole_pixels_and_spaced():
    data = labelled(9, 0)
    shown = opened(Images().show(data))
    tile, gap = 8 * 5, 3
    assert shown.shape == (3 * (tile + gap) + gap,) * 2
    assert (shown[:gap] == shown[0, 0]).all()
    first = shown[gap : gap + tile, gap : gap + tile][::5, ::5]
    assert np.array_equal(first, np.rint(data.items[0, :, :, 0] * (255 / 16)))
    assert shown[0, 0] not in (0, 255)


@pytest.mark.parametrize(
    ("n", "classes", "h", "rows", "columns"),
    [(1, 0, 40, 1, 1), (5, 0, 40, 2, 3), (500, 0, 40, 8, 8), (30, 3, 40, 3, 8),
     (500, 10, 40, 6, 10),     (500, 100, 40, 1, 64), (30, 1, 40, 5, 6)],
)  # fmt: skip
def test_a_grid_has_at_most_64_with_classes_in_rows_or_columns(n, classes, h, rows, columns):
    height, width = opened(Images().show(labelled(n, classes, h))).shape
    gap = max(2, h // 12)
    assert (height, width) == (rows * (h + gap) + gap, columns * (h + gap) + gap)


def test_classes_stand_together():
    data = labelled(30, 3, 40)
    data.items[:] = (np.arange(30) % 3 * 8)[:, None, None, None]
    shown = opened(Images().show(data))
    middle = shown[3 + 20 :: 43, 3 + 20 :: 43]
    assert (middle[:, :1] == middle).all()
    assert middle[:, 0].tolist() == [0, 128, 255]


def test_a_saved_grid_holds_every_record(tmp_path):
    data = labelled(150, 3, 40)
    (path,) = Images().save(data, tmp_path / "new" / "all.png", PROVENANCE)
    assert Image.open(path).size == (20 * 43 + 3, 8 * 43 + 3)
    assert read_png(path) is not None
