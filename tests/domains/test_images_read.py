"""Reading pictures: what is accepted, what each bad input says, what is noted."""

import io
import itertools
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.core.errors import DataError, UsageError
from likewise.core.records import split
from likewise.domains.images import Images, decode, files, pictures


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path_factory.mktemp("cache")))


def noise(h=8, w=8, c=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (h, w, c), dtype=np.uint8)
    return values[:, :, 0] if c == 1 else values


def encoded(values=None, kind="PNG", mode=None, **options):
    picture = Image.fromarray(noise() if values is None else values)
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, format=kind, **options)
    return buffer.getvalue()


def fill(folder, contents):
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def zipped(path, contents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def picture_set(names):
    return {name: encoded(noise(seed=i)) for i, name in enumerate(names)}


# What is accepted


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    records = Images.load("digits")
    original = load_digits()
    assert np.array_equal(records.items[..., 0], original.images)
    assert records.conditions["label"] == tuple(map(str, original.target))
    assert records.facts == {"levels": 17}
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
    assert np.array_equal(Images.load([values], size=8).items[0, :, :, 0], values[:, 8:16])
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = Images.load(checks[None].astype(np.uint8), size=16).items
    assert small.min() > 100, "without antialiasing a chequerboard turns black or white"
    assert small.max() < 155


def test_resizing_stays_on_few_levels():
    records = Images.load("digits", size=4)
    assert records.items.shape == (1797, 4, 4, 1)
    assert records.items.max() <= 16
    assert records.facts == {"levels": 17}
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


# What cannot be read


def test_what_cannot_be_read_is_skipped_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    contents = {
        "good.png": encoded(),
        "empty.png": b"",
        "text.png": b"hello",
        "readme.txt": b"about these pictures",
        "cut.png": encoded(noise(30, 30))[:-900],
        "cut.jpg": encoded(noise(30, 30), "JPEG")[:-300],
        "head.png": encoded()[:20],
        "bomb.png": encoded(np.zeros((100, 100), np.uint8)),
        "nan.tif": encoded(np.full((4, 4), np.nan, np.float32), "TIFF"),
    }
    records = Images.load(fill(tmp_path, contents))
    assert records.ids == ("good.png",)
    assert {one.what: one.why for one in records.skipped} == {
        "empty.png": "is empty (0 bytes)",
        "text.png": "is not a picture of a readable format",
        "readme.txt": "is not a picture of a readable format",
        "cut.png": "is truncated or damaged",
        "cut.jpg": "is truncated or damaged",
        "head.png": "is truncated or damaged",
        "bomb.png": "has more than 0 million pixels",
        "nan.tif": "holds NaN or infinity",
    }


def test_a_bomb_is_refused_by_its_header(tmp_path):
    """A header that states 60,000 x 60,000 pixels over no pixels at all."""
    data = bytearray(encoded())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    fill(tmp_path, {"bomb.png": bytes(data), "good.png": encoded()})
    assert [s.why for s in Images.load(tmp_path).skipped] == ["has more than 67 million pixels"]


def test_folders_without_pictures(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(
        DataError, match=r"folder '.*none' holds no files\. Bring a folder or a zip"
    ):
        Images.load(tmp_path / "none")
    fill(tmp_path / "bad", {"a.txt": b"a", "b.txt": b"b", "c.png": b""})
    with pytest.raises(DataError) as caught:
        Images.load(tmp_path / "bad")
    assert "must hold pictures that can be read (PNG, JPEG" in str(caught.value)
    assert (
        "got none among 3 files: is not a picture of a readable format (2); is empty (0 bytes) (1)"
    ) in str(caught.value)


def test_paths_that_do_not_exist_name_their_neighbours(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"picturs' does not exist in .*did you mean 'pictures'\?"):
        Images.load(tmp_path / "picturs")
    with pytest.raises(DataError, match=r"picturs' does not exist.*did you mean 'pictures'\?"):
        Images.load(tmp_path / "picturs" / "a.npz")
    with pytest.raises(DataError, match="it holds pictures"):
        Images.load(tmp_path / "zzz")
    with pytest.raises(DataError, match=r"'digts' does not exist.*did you mean 'digits'"):
        Images.load("digts")


def test_paths_of_other_kinds(tmp_path):
    fill(tmp_path, {"a.csv": b"1,2", "b.zip": b"no zip", "c.npz": b"no", "d.npy": b"no"})
    for name, text in [
        ("a.csv", "is not data of pictures: a file ending in '.csv'. Bring a folder"),
        ("b.zip", "cannot be read as a zip"),
        ("c.npz", "is not a whole .npz file"),
        ("d.npy", "is not a whole .npy file"),
    ]:
        with pytest.raises(DataError, match=text.replace(".", r"\.")):
            Images.load(tmp_path / name)
    with pytest.raises(DataError, match="pictures must be a folder or a zip"):
        Images.load(42)


def test_pickles_are_never_opened(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "a.npz", x=objects)
    np.save(tmp_path / "a.npy", objects)
    for name in ("a.npz", "a.npy"):
        with pytest.raises(DataError, match="Python objects, which could run code"):
            Images.load(tmp_path / name)


def test_an_npz_that_lies_about_its_size(tmp_path):
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 1000)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", buffer.getvalue())
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"states a shape .* that it does not hold"):
        Images.load(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"is not a whole \.npy file"):
        Images.load(tmp_path / "a.npy")


def test_an_npz_without_pictures_lists_its_names(tmp_path):
    np.savez(tmp_path / "a.npz", weights=np.zeros(3), bias=np.zeros(3))
    with pytest.raises(DataError, match=r"must hold pictures named 'x'.*\['bias', 'weights'\]"):
        Images.load(tmp_path / "a.npz")


SHAPES = r"of shape \(n, h, w\), \(n, h, w, 1\|3\|4\) or \(n, 1\|3, h, w\); got "


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(5), SHAPES + r"\(5,\)"),
        (np.zeros((8, 8)), SHAPES + r"\(8, 8\)\. One grey picture needs x\[None\]"),
        (np.zeros((2, 64)), r"Flat rows need x\.reshape\(-1, 8, 8\)"),
        (np.zeros((2, 8, 8, 5)), SHAPES),
        (np.zeros((2, 2, 3, 8, 8)), SHAPES),
        (np.zeros((0, 8, 8)), r"other than empty; got \(0, 8, 8\)"),
        ([], SHAPES + r"\(0,\)"),
        (np.array(["a"]), "arrays of numbers; got 'type <U1'"),
        (np.zeros((2, 4, 4), complex), "arrays of numbers"),
        (np.linspace(-3, 3, 32).reshape(2, 4, 4), "in 0 to 1, -1 to 1 or 0 to 255; got '-3 to 3'"),
        (np.arange(-5, 27).reshape(2, 4, 4), "got '-5 to 26'"),
        ((np.zeros((2, 4, 4)), [1, 2, 3]), r"one per picture, of shape \(2,\); got \(3,\)"),
        ((np.zeros((2, 4, 4)), [0.5, 2]), "classes: names or whole numbers; got 0.5"),
        ([np.zeros((4, 4)), Image.new("L", (4, 4))], "all arrays or all Pillow pictures"),
    ],
)
def test_arrays_that_are_no_pictures(value, text):
    with pytest.raises(DataError, match=text):
        Images.load(value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(bad):
    x = np.zeros((5, 4, 6), np.float32)
    x[3, 1, 2] = x[4, 0, 0] = bad
    text = rf"values must be finite; got {bad} first at \[3, 1, 2\], 2 in all"
    with pytest.raises(DataError, match=text):
        Images.load(x)
    with pytest.raises(DataError, match=r"first at \[3, 1, 2\], 1 in all"):
        Images.load(list(x))


def test_options_that_cannot_be():
    x = np.zeros((2, 4, 4))
    for options, text in [
        ({"colr": "grey"}, r"option 'colr' is unknown; did you mean 'colour'\?"),
        ({"colour": "gray"}, r"colour cannot be 'gray'; did you mean 'grey'\?"),
        ({"augment": "shfit"}, r"augment 'shfit' is unknown; did you mean 'shift'\?"),
        ({"size": 0}, "size must be a whole number or HEIGHTxWIDTH, each from 1 to 1024; got 0"),
        ({"size": "8x"}, "got '8x'"),
        ({"size": 5000}, "got 5000"),
        ({"size": (1, 2, 3)}, "Write size=32 or size=32x48"),
        ({"size": 2.5}, "got 2.5"),
    ]:
        with pytest.raises(UsageError, match=text):
            Images.load(x, **options)


def test_more_than_memory_holds_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"20 pictures of 8x8 would take .* Give a smaller size"):
        Images.load(np.zeros((20, 8, 8), np.uint8))


# Archives


def test_names_that_lead_out_of_an_archive_are_skipped(tmp_path):
    bad = ["../evil.png", "/evil.png", "a/../../evil.png", "C:\\evil.png"]
    path = zipped(tmp_path / "a.zip", picture_set([*bad, "good.png"]))
    before = sorted(tmp_path.rglob("*"))
    records = Images.load(path)
    assert records.ids == ("good.png",)
    assert [one.why for one in records.skipped] == ["has a name that leads out of the archive"] * 4
    assert sorted(tmp_path.rglob("*")) == before


def test_archives_that_unpack_to_too_much(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", {"bomb.bmp": bytes(4 << 20), **picture_set(["good.png"])})
    records = Images.load(path)
    assert [one.why for one in records.skipped] == [
        "unpacks to more than 200 times its packed size"
    ]
    monkeypatch.setattr(files, "MAX_UNPACKED", 100)
    with pytest.raises(DataError, match="would unpack to 0 GiB; at most 0 GiB are read"):
        Images.load(path)
    monkeypatch.setattr(files, "MAX_FILE", 50)
    with pytest.raises(DataError, match=r"is larger than 0 MiB \(2\)"):
        Images.load(path, colour="rgb")


def test_damaged_members_are_skipped(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in picture_set(["a.png", "b.png"]).items():
            archive.writestr(name, data)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 255
    path.write_bytes(data)
    records = Images.load(path)
    assert records.ids == ("b.png",)
    assert records.skipped[0].why == "cannot be unpacked from the archive"


# Few, constant, of one class


def test_few_constant_and_lonely_pictures_load_with_a_note(tmp_path):
    one = Images.load(fill(tmp_path / "one", {"a.png": encoded()}))
    assert len(one) == 1
    assert len(Images.load(tmp_path / "one" / "a.png")) == 1
    assert (
        len(Images.load(fill(tmp_path / "n", picture_set([f"{i}.png" for i in range(20)])))) == 20
    )
    flat = Images.load(np.full((3, 4, 4), 7, np.uint8))
    assert flat.items.max() == 7
    assert flat.facts["levels"] == 256
    assert flat.notes == ("3 of 3 pictures are of one single value throughout.",)
    same = Images.load((np.stack([noise(seed=i) for i in range(3)]), ["a", "a", "a"]))
    assert same.notes == ("Every label is 'a': there is nothing to steer by.",)
    lonely = Images.load((np.stack([noise(seed=i) for i in range(3)]), ["a", "a", "b"]))
    assert "1 of 2 classes have a single picture ('b')" in lonely.notes[0]
    domain = Images()
    for records in (one, flat, same, lonely):
        domain.fit(records)
        assert domain.show(records).startswith(b"\x89PNG")


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
