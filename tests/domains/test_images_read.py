"""Reading pictures: what is accepted and what is made of it."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.core.records import split
from likewise.domains.images import Images
from tests.domains.picture_files import encoded, fill, noise, picture_set, zipped


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    records = Images.load("digits")
    original = load_digits()
    assert np.array_equal(records.items[..., 0], original.images)
    assert records.conditions["label"] == tuple(map(str, original.target))
    assert records.facts["levels"] == 17
    assert "CC BY 4.0" in records.notes[0]
    assert Images.recognises("digits").sure == 1.0


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_flat_folder_in_sorted_order(tmp_path, kind):
    contents = picture_set(["b.png", "a.png", "sub/.hidden.png", "__MACOSX/c.png", ".x/d.png"])
    path = (
        fill(tmp_path / "set", contents)
        if kind == "folder"
        else zipped(tmp_path / "set.zip", contents)
    )
    records = Images.load(str(path))
    assert records.ids == ("a.png", "b.png")
    assert np.array_equal(records.items[1], noise(seed=0))
    assert (records.conditions, records.given, records.skipped) == ({}, None, ())
    assert records.origin == str(path)
    assert Images.recognises(path).sure > 0.9


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("wrapper", ["", "outer/", "outer/inner/"])
def test_class_folders_within_split_folders(tmp_path, kind, wrapper):
    names = ["train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "Test/dog/x/3.png"]
    contents = picture_set([wrapper + name for name in names])
    path = (
        fill(tmp_path / "s", contents)
        if kind == "folder"
        else zipped(tmp_path / "s.zip", contents)
    )
    records = Images.load(path)
    assert records.conditions["label"] == ("dog", "cat", "dog", "cat")
    assert records.given == ("test", "train", "train", "valid")
    assert any("kept as the split" in note for note in records.notes)


def test_split_names_beside_other_folders_are_classes_and_noted(tmp_path):
    records = Images.load(fill(tmp_path, picture_set(["test/1.png", "cat/1.png"])))
    assert records.conditions["label"] == ("cat", "test")
    assert records.given is None
    assert any("read as classes, not as a split" in note for note in records.notes)


def test_files_beside_class_folders_have_no_label(tmp_path):
    names = ["1.png", "a/1.png", "b/1.png", "b/2.png"]
    records = Images.load(fill(tmp_path, picture_set(names)))
    assert records.conditions["label"] == (None, "a", "b", "b")
    assert any("1 of 4 pictures are in no class folder" in note for note in records.notes)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_numpy_files(tmp_path, suffix):
    x, y = np.stack([noise(seed=i) for i in range(4)]), np.array([1, 0, 1, 0])
    path = tmp_path / f"set{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, x=x, y=y)
    else:
        np.save(path, x)
    records = Images.load(path)
    assert np.array_equal(records.items, x)
    assert records.conditions == ({"label": ("1", "0", "1", "0")} if suffix == ".npz" else {})
    assert records.ids == ("0", "1", "2", "3")
    assert Images.recognises(path).sure > 0.9


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_splits_in_an_npz_are_given(tmp_path, names):
    values = (np.zeros((3, 8, 8), np.uint8), [0, 1, 0], np.ones((2, 8, 8), np.uint8) * 9, [1, 0])
    np.savez(tmp_path / "a.npz", **dict(zip(names, map(np.array, values), strict=True)))
    records = Images.load(tmp_path / "a.npz")
    assert records.given == ("train",) * 3 + ("test",) * 2
    assert records.ids == ("train/0", "train/1", "train/2", "test/0", "test/1")
    assert records.conditions["label"] == ("0", "1", "0", "1", "0")


def test_arrays_tensors_and_lists_of_every_shape():
    x = np.stack([noise(6, 7, seed=i) for i in range(3)])
    ways = [
        x,
        x.transpose(0, 3, 1, 2),
        torch.from_numpy(x),
        list(x),
        [torch.from_numpy(one) for one in x],
        [Image.fromarray(one) for one in x],
        (x, ["a", "b", "a"]),
        {"images": x, "labels": np.array([b"a", b"b", b"a"])},
        x.astype(np.int64),
        x.astype(np.float64),
        x.tolist(),
    ]
    for way in ways:
        records = Images.load(way)
        assert np.array_equal(records.items, x), type(way)
    assert Images.load(ways[6]).conditions["label"] == ("a", "b", "a")
    assert Images.load(ways[7]).conditions["label"] == ("a", "b", "a")
    grey = x[..., 0]
    for way in (grey, grey[..., None], grey[:, None], x[..., :1].repeat(3, axis=3)):
        assert np.array_equal(Images.load(way).items, grey[..., None])


@pytest.mark.parametrize(
    "labels", [[1, 2], np.array([[1], [2]]), [1.0, 2.0], torch.tensor([1, 2])]
)
def test_labels_are_named_as_text(labels):
    assert Images.load((np.zeros((2, 4, 4)), labels)).conditions["label"] == ("1", "2")


def test_missing_labels_are_none():
    records = Images.load((np.zeros((2, 4, 4)), [float("nan"), 3.0]))
    assert records.conditions["label"] == (None, "3")


@pytest.mark.parametrize(
    ("low", "high", "kind", "levels", "note"),
    [
        (0.0, 1.0, np.float32, 256, "Decimal values from 0 to 1 were rounded to 256 levels"),
        (-1.0, 1.0, np.float16, 256, "Decimal values from -1 to 1"),
        (0.0, 255.0, np.float64, 256, "Decimal values from 0 to 255"),
        (0, 65535, np.uint16, 256, "read as 16 bits and reduced to 256 levels"),
        (0, 1, np.bool_, 2, "whole numbers from 0 to 1: 2 levels"),
        (0, 16, np.float64, 17, "whole numbers from 0 to 16: 17 levels"),
    ],
)
def test_ranges_are_recognised_and_noted(low, high, kind, levels, note):
    steps = np.linspace(low, high, levels).reshape(
        1, -1, 1 if levels == 17 else max(1, levels // 16)
    )
    records = Images.load(steps.astype(kind))
    assert records.facts["levels"] == levels
    expected = np.arange(levels)
    off = np.abs(records.items.ravel().astype(int) - expected).max()
    assert off <= (1 if kind == np.float16 else 0)
    assert any(note in one for one in records.notes)


# Modes, transparency, rotation, frames


def test_every_mode_is_read(tmp_path):
    contents = {
        "cmyk.jpg": encoded(mode="CMYK", kind="JPEG"),
        "grey.png": encoded(mode="L"),
        "alpha.png": encoded(mode="LA"),
        "palette.png": encoded(mode="P"),
        "bits.png": encoded(mode="1"),
        "deep.png": encoded(noise(c=1).astype(np.uint16) * 257),
        "float.tif": encoded(noise(c=1).astype(np.float32) / 255, kind="TIFF"),
        "web.webp": encoded(kind="WEBP", lossless=True),
        "map.bmp": encoded(kind="BMP"),
        "anim.gif": encoded(kind="GIF"),
    }
    records = Images.load(fill(tmp_path, contents))
    assert len(records) == len(contents)
    assert records.skipped == ()
    by_name = dict(zip(records.ids, records.items, strict=True))
    assert np.array_equal(by_name["deep.png"][..., 0], noise(c=1))
    assert np.array_equal(by_name["float.tif"][..., 1], noise(c=1))
    assert np.array_equal(by_name["web.webp"], noise())
    text = " ".join(records.notes)
    assert "2 pictures of more than 8 bits were reduced" in text
    assert "1 pictures in CMYK were turned into RGB" in text


def test_transparency_is_laid_on_white(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[0] = (10, 20, 30, 255)
    half = clear.copy()
    half[1] = (0, 0, 0, 128)
    for way in (fill(tmp_path, {"a.png": encoded(half)}), half[None], [Image.fromarray(half)]):
        records = Images.load(way)
        assert records.items[0, 0, 0].tolist() == [10, 20, 30]
        assert records.items[0, 1, 0].tolist() == [127, 127, 127]
        assert records.items[0, 3, 3].tolist() == [255, 255, 255]
        assert any("laid on white" in note for note in records.notes)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = noise(6, 9)
    records = Images.load(fill(tmp_path, {"a.png": encoded(values, exif=exif)}))
    assert np.array_equal(records.items[0], np.rot90(values, turns))
    assert any("upright" in note for note in records.notes) is (orientation != 1)


def test_only_the_first_frame_is_read_and_noted(tmp_path):
    frames = [Image.fromarray(noise(c=1, seed=i)) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    records = Images.load(tmp_path)
    assert np.array_equal(records.items[0, :, :, 0], noise(c=1))
    assert any("1 pictures had several frames" in note for note in records.notes)


# Size and colour


def test_one_size_is_kept_and_mixed_sizes_become_a_square(tmp_path):
    assert Images.load([noise(20, 28)] * 3).items.shape == (3, 20, 28, 3)
    records = Images.load([noise(20, 28), noise(40, 30), noise(90, 70)])
    assert records.items.shape == (3, 32, 32, 3)
    assert any("20x28 to 90x70) were cropped around the centre" in n for n in records.notes)
    assert Images.load([noise(300, 300)] * 2).items.shape == (2, 64, 64, 3)
    contents = {"a.png": encoded(noise(20, 28)), "b.jpg": encoded(noise(99, 99), "JPEG")[:700]}
    kept = Images.load(fill(tmp_path, contents))
    assert kept.items.shape == (1, 20, 28, 3), "a damaged picture has no say in the size"


@pytest.mark.parametrize(
    "size", [16, "16", "16x24", (16, 24), [16, 24], "16×24"], ids=lambda size: str(size)
)
def test_size_can_be_asked_for(size):
    records = Images.load([noise(40, 48)], size=size)
    assert records.items.shape[1:3] == ((16, 16) if size in (16, "16") else (16, 24))


def test_resizing_crops_the_centre_and_averages():
    values = np.zeros((8, 24), np.uint8)
    values[:, 8:16] = noise(c=1)
    for wide in (values, values.T):
        cropped = Images.load([wide], size=8).items[0, :, :, 0]
        assert np.array_equal(cropped, wide[wide.any(axis=1)][:, wide.any(axis=0)])
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = Images.load(checks[None].astype(np.uint8), size=16).items
    assert small.min() > 100, "without antialiasing a chequerboard turns black or white"
    assert small.max() < 155


def test_resizing_stays_on_few_levels():
    records = Images.load("digits", size=4)
    assert records.items.shape == (1797, 4, 4, 1)
    assert records.items.max() <= 16
    assert records.facts["levels"] == 17
    own = Images.load("digits").items.mean()
    assert abs(records.items.mean() - own) < 0.1 * own


def test_colour_is_grey_only_if_all_are():
    grey, rgb = noise(c=1), noise()
    assert Images.load([grey, grey]).items.shape[3] == 1
    mixed = Images.load([grey, rgb])
    assert mixed.items.shape[3] == 3
    assert any("1 of 2 pictures were grey and became RGB" in note for note in mixed.notes)
    assert Images.load([grey], colour="rgb").items.shape[3] == 3
    reduced = Images.load([rgb], colour="grey").items[0, :, :, 0].astype(int)
    pillow = np.array(Image.fromarray(rgb).convert("L")).astype(int)
    assert np.abs(reduced - pillow).max() <= 1


def test_what_was_read_can_be_split_with_the_split_it_came_with(tmp_path):
    names = [
        f"{part}/{label}/{i}.png"
        for part, label, i in itertools.product(["train", "test"], "ab", range(6))
    ]
    records = Images.load(fill(tmp_path, picture_set(names)))
    parts = split(records, seed=0, stratify="label")
    assert {records.ids[i].split("/")[0] for i in parts.test} == {"test"}
    assert {records.ids[i].split("/")[0] for i in parts.train} == {"train"}


# Recognising


def test_recognises_by_names_and_shapes(tmp_path):
    fill(tmp_path / "mixed", {"a.png": b"", "b.csv": b"", "c.csv": b"", "d.csv": b""})
    np.save(tmp_path / "table.npy", np.zeros((9, 4)))
    np.save(tmp_path / "series.npy", np.zeros((9, 30, 4)))
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    sure = {
        name: Images.recognises(tmp_path / name).sure
        for name in ("mixed", "table.npy", "series.npy", "bad.zip", "missing")
    }
    assert sure["mixed"] == pytest.approx(0.2375)
    assert sure["series.npy"] == 0.3
    assert sure["table.npy"] == sure["bad.zip"] == sure["missing"] == 0.0
    assert Images.recognises([Image.new("L", (3, 3))]).sure > 0.9
    assert Images.recognises((torch.zeros(2, 1, 4, 4), [0, 1])).sure > 0.9
    for other in ("a,b", 3, None, ["text", "more"], {"a": [1, 2]}, ("a", "b"), [], object()):
        guess = Images.recognises(other)
        assert guess.sure == 0.0
        assert guess.why
