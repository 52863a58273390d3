"""Marks: what is written is read back, by us and by Pillow; nothing false is read."""

import io
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from likewise.core.errors import DataError, StoreError
from likewise.store.provenance import (
    MAX_TEXT,
    SOURCE_KEY,
    SOURCE_TYPE,
    mark_png,
    read_png,
    read_sidecar,
    write_sidecar,
)

PROVENANCE = {"family": "flow", "model": "3f2a", "note": "Äpfel & <b>"}


def png(mode="L", size=(5, 4), info=None):
    buffer = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA"])
def test_what_is_marked_is_read_back_and_pixels_stay(tmp_path, mode):
    data = png(mode)
    path = tmp_path / "a.png"
    path.write_bytes(mark_png(data, PROVENANCE))
    assert read_png(path) == {SOURCE_KEY: SOURCE_TYPE, **PROVENANCE}
    with Image.open(path) as marked, Image.open(io.BytesIO(data)) as plain:
        assert SOURCE_TYPE in marked.info["XML:com.adobe.xmp"]
        assert '"family": "flow"' in marked.text["likewise"]
        packet = ElementTree.fromstring(marked.info["XML:com.adobe.xmp"].split("?>", 1)[1])
        assert [e.text for e in packet.iter() if e.tag.endswith(SOURCE_KEY)] == [SOURCE_TYPE]
        assert marked.tobytes() == plain.tobytes()


def test_marking_again_replaces_the_mark(tmp_path):
    once = mark_png(png(), PROVENANCE)
    path = tmp_path / "a.png"
    path.write_bytes(mark_png(once, {"family": "gan"}))
    assert read_png(path) == {SOURCE_KEY: SOURCE_TYPE, "family": "gan"}
    assert mark_png(once, PROVENANCE) == once


def test_other_text_of_a_png_is_left_alone(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    path = tmp_path / "a.png"
    path.write_bytes(mark_png(png(info=info), {}))
    with Image.open(path) as picture:
        assert picture.text["Author"] == "somebody"


def test_no_mark_is_none(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.txt").write_text("not a picture")
    (tmp_path / "c.png").write_bytes(b"")
    assert [read_png(tmp_path / name) for name in ("a.png", "b.txt", "c.png")] == [None] * 3


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>",
        '<Iptc4xmpExt:DigitalSourceType rdf:resource="{}"/>',
        '<rdf:Description Iptc4xmpExt:DigitalSourceType="{}"/>',
    ],
)
def test_xmp_of_other_programs_is_understood(tmp_path, form, compressed):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", form.format(SOURCE_TYPE), zip=compressed)
    (tmp_path / "a.png").write_bytes(png(info=info))
    assert read_png(tmp_path / "a.png") == {SOURCE_KEY: SOURCE_TYPE}


def chunk(kind, body, length=None, checksum=None):
    length = len(body) if length is None else length
    checksum = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", length) + kind + body + struct.pack(">I", checksum)


@pytest.mark.parametrize(
    "bad",
    [
        chunk(b"tEXt", b'likewise\0{"a": "b"}', checksum=1),
        chunk(b"tEXt", b'likewise\0{"a": "b"}', length=0xFFFFFFF0),
        chunk(b"tEXt", b'likewise\0{"a": "' + b"b" * MAX_TEXT + b'"}'),
        chunk(b"tEXt", b"likewise\0" + b"[" * 100_000),
        chunk(b"tEXt", b"likewise\0[1, 2]"),
        chunk(b"tEXt", b'likewise\0{"a": 1}'),
        chunk(b"tEXt", b"likewise\0\xff\xfe"),
        chunk(b"iTXt", b"XML:com.adobe.xmp"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0not zlib"),
        chunk(
            b"iTXt",
            b"XML:com.adobe.xmp\0\1\0\0\0"
            + zlib.compress(b" " * 10**7 + SOURCE_KEY.encode() + b" " + SOURCE_TYPE.encode()),
        ),
    ],
    ids=lambda bad: repr(bad[4:40]),
)
def test_hostile_chunks_are_passed_over(tmp_path, bad):
    data = png()
    (tmp_path / "a.png").write_bytes(data[:33] + bad + data[33:])
    assert read_png(tmp_path / "a.png") is None


def test_every_cut_of_a_marked_file_is_read_without_error(tmp_path):
    data = mark_png(png(), PROVENANCE)
    path = tmp_path / "a.png"
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        assert read_png(path) in (
            None,
            {SOURCE_KEY: SOURCE_TYPE},
            {SOURCE_KEY: SOURCE_TYPE, **PROVENANCE},
        )


def test_only_a_png_is_marked_as_one(tmp_path):
    with pytest.raises(DataError, match="only a PNG can be marked"):
        mark_png(b"\xff\xd8\xff\xe0", {})
    with pytest.raises(StoreError, match="cannot be read"):
        read_png(tmp_path / "missing.png")


def test_a_sidecar_is_bound_to_its_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    assert read_sidecar(path) is None
    sidecar = write_sidecar(path, PROVENANCE)
    assert sidecar.name == "a.csv.likewise.json"
    mark = read_sidecar(path)
    assert mark is not None
    assert {key: mark[key] for key in PROVENANCE} == PROVENANCE
    assert mark[SOURCE_KEY] == SOURCE_TYPE
    path.write_text("a,b\n1,3\n")
    with pytest.raises(StoreError, match="has changed since it was marked"):
        read_sidecar(path)
    sidecar.write_text("{}")
    with pytest.raises(StoreError, match="is not a mark that Likewise wrote"):
        read_sidecar(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.csv", "a.csv.likewise.json"]
