"""Zip and tar as they are found: packings, odd members, damage, bombs."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from likewise.core.errors import DataError
from likewise.domains.images import Images, archives
from likewise.domains.images.pictures import UnreadableError
from tests.domains.picture_files import encoded, fill, noise, picture_set


def reasons(records):
    return {one.what: one.why for one in records.skipped}


PACKINGS = {".tar": bytes, ".tar.gz": gzip.compress, ".tgz": gzip.compress,
            ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}  # fmt: skip


def tarred(contents, odd=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in odd:
            tar.addfile(info)
    return buffer.getvalue()


def odd(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("suffix", PACKINGS)
def test_a_tar_is_read_as_its_folder_would_be(tmp_path, suffix):
    contents = picture_set([f"./train/{c}/{i}.png" for c in "ab" for i in range(9)])
    contents["train/metadata.csv"] = b"file_name,age\n" + b"".join(
        f"{c}/{i}.png,{i}\n".encode() for c in "ab" for i in range(9)
    )
    path = tmp_path / f"set{suffix}"
    path.write_bytes(PACKINGS[suffix](tarred(contents, [odd("./train", tarfile.DIRTYPE)])))
    records = Images.load(path)
    plain = Images.load(fill(tmp_path / "set", contents))
    assert (records.ids, records.conditions) == (plain.ids, plain.conditions)
    assert np.array_equal(records.items, plain.items)
    assert records.skipped == ()
    assert Images.recognises(path).sure >= 0.5


def test_odd_members_of_a_tar_are_skipped(tmp_path):
    members = [
        odd("link.png", tarfile.SYMTYPE, "/etc/passwd"),
        odd("hard.png", tarfile.LNKTYPE, "a.png"),
        odd("pipe.png", tarfile.FIFOTYPE),
        odd("zero.png", tarfile.CHRTYPE),
    ]
    contents = picture_set(["a.png", "../evil.png", "/evil.png", "C:\\evil.png", ".hidden.png"])
    (tmp_path / "a.tar").write_bytes(tarred(contents, members))
    before = sorted(tmp_path.rglob("*"))
    records = Images.load(tmp_path / "a.tar")
    assert records.ids == ("a.png",)
    out = "has a name that leads out of the archive"
    not_plain = "is a link, a device or a file with holes, not a plain file"
    assert reasons(records) == {
        **dict.fromkeys(["../evil.png", "/evil.png", "C:\\evil.png"], out),
        **dict.fromkeys(["link.png", "hard.png", "pipe.png", "zero.png"], not_plain),
    }
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_tars(tmp_path):
    whole = tarred(picture_set(["a.png", "b.png", "c.png"]))
    header = bytearray(whole)
    header[whole.index(b"b.png") + 2] ^= 255
    for name, data, text in [
        ("cut.tar", whole[:600], "unexpected end of data"),
        ("none.tar", b"no tar" * 100, "cannot be read as a tar"),
        ("empty.tar", b"", "cannot be read as a tar"),
        ("header.tar", bytes(header), "damaged at byte"),
        ("cut.tar.gz", gzip.compress(whole)[:-20], "cannot be read as a tar"),
        ("cut.tar.xz", lzma.compress(whole)[:-20], "cannot be read as a tar"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=text):
            Images.load(tmp_path / name)


def test_a_packed_tar_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "a.tar.gz"
    monkeypatch.setattr(archives, "RATIO_FROM", 1 << 20)
    path.write_bytes(gzip.compress(bytes(16 << 20)))
    with pytest.raises(DataError, match="or to more than 200 times its size"):
        Images.load(path)
    path.write_bytes(gzip.compress(tarred({"a.png": noise(64, 64).tobytes()})))
    monkeypatch.setattr(archives, "MAX_UNPACKED", 5000)
    with pytest.raises(DataError, match="would unpack to more than 0 GiB"):
        Images.load(path)


def test_zips_as_others_make_them(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in picture_set(["locked.png", "a.png"]).items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", encoded(noise(seed=9)))
        archive.writestr("caf-.png", encoded())
    data = path.read_bytes()
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        place = data.index(mark) + (6 if mark == b"PK\x03\x04" else 8)
        data = data[:place] + bytes([data[place] | 1]) + data[place + 1 :]
    path.write_bytes(data.replace(b"caf-.png", "é".encode() + b"t-.png"))
    records = Images.load(path)
    assert records.ids == ("a.png", "ét-.png"), "UTF-8 without the mark, as macOS writes it"
    assert np.array_equal(records.items[0], noise(seed=9))
    assert reasons(records) == {
        "a.png": "stands in the archive more than once: the last one is read",
        "locked.png": "is encrypted",
    }


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_lies_about_its_sizes_is_not_unpacked(tmp_path, packing):
    """It states 1,000 bytes of 64 MiB; what is read never grows with what is there."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("good.png", encoded(), zipfile.ZIP_STORED)
        file.writestr("bomb.png", bytes(1 << 26))
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\1\2")
    data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    tracemalloc.start()
    with archives.Zip(path) as archive:
        if "bomb.png" in archive.names:
            with pytest.raises(UnreadableError, match="cannot be unpacked"):
                archive.read("bomb.png")
        found = reasons(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    if packing != zipfile.ZIP_DEFLATED:
        assert "only deflate is" in found["bomb.png"]


def test_scans_of_white_pages_are_no_bombs(tmp_path):
    white = encoded(np.full((1200, 1600, 3), 255, np.uint8), "BMP")
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(3):
            file.writestr(f"{number}.bmp", white)
    assert Images.load(path, size=8).skipped == ()
