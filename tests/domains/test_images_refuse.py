"""Pictures that cannot be read: what each bad input says, and what is skipped."""

import io
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from likewise.core.errors import DataError, UsageError
from likewise.domains.images import Images, archives, decode, files, pictures
from tests.domains.picture_files import encoded, fill, noise, picture_set, zipped


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
        "bomb.png": "has 0.0 million pixels, and at most 0.0 are read: make it smaller",
        "nan.tif": "holds NaN or infinity",
    }


def test_a_bomb_is_refused_by_its_header(tmp_path):
    """A header that states 60,000 x 60,000 pixels over no pixels at all."""
    data = bytearray(encoded())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    fill(tmp_path, {"bomb.png": bytes(data), "good.png": encoded()})
    assert [s.why for s in Images.load(tmp_path).skipped] == [
        "has 3,600.0 million pixels, and at most 67.1 are read: make it smaller"
    ]


def test_folders_without_pictures(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(
        DataError, match=r"folder '.*none' holds no files\. Bring a folder, a zip or a tar"
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
    with pytest.raises(DataError, match="pictures must be a folder, a zip or a tar"):
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
    monkeypatch.setattr(archives, "RATIO_FROM", 1 << 20)
    path = zipped(tmp_path / "a.zip", {"bomb.bmp": bytes(4 << 20), **picture_set(["good.png"])})
    records = Images.load(path)
    assert [one.why for one in records.skipped] == [
        "unpacks to more than 200 times its packed size"
    ]
    monkeypatch.setattr(files, "MAX_FILE", 50)
    with pytest.raises(DataError, match=r"is larger than 50 bytes \(1\)"):
        Images.load(path, colour="rgb")
    monkeypatch.setattr(archives, "MAX_UNPACKED", 100)
    with pytest.raises(DataError, match=r"would unpack to more than 0 GiB or to more than 200"):
        Images.load(path)


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
