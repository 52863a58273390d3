"""Every kind of picture file, its pixels held against closed forms."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from likewise.domains.images import Images, pictures
from tests.domains.picture_files import encoded, fill, noise

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def read(tmp_path, data, name="a.png"):
    """The pixels of one file (h, w, c) and all notes on it."""
    fill(tmp_path, {name: data})
    records = Images.load(tmp_path)
    assert records.skipped == ()
    return records.items[0], " ".join(records.notes)


def saved(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


# Few bits, many bits


def test_palettes(tmp_path):
    colours = noise(4, 1, seed=3)[:, 0]
    index = np.arange(16, dtype=np.uint8).reshape(4, 4) % 4
    picture = Image.fromarray(index).convert("P")
    picture.putdata(index.ravel().tolist())
    picture.putpalette(colours.ravel().tolist())
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        values, _ = read(tmp_path, saved(picture, kind))
        assert np.array_equal(values, colours[index]), kind
    clear, note = read(tmp_path, saved(picture, "PNG", transparency=2))
    expected = colours[index]
    expected[index == 2] = 255
    assert np.array_equal(clear, expected)
    assert "1 pictures were transparent" in note


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_one_bit(tmp_path, kind):
    bits = noise(9, 13, 1) > 127
    values, _ = read(tmp_path, saved(Image.fromarray(bits), kind))
    assert np.array_equal(values[..., 0], bits * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey(tmp_path, kind):
    deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    values, note = read(tmp_path, encoded(deep, kind))
    assert np.array_equal(values[..., 0], np.rint(deep / 65535 * 255))
    assert "1 pictures of more than 8 bits were reduced" in note


def deep_png(values):
    """A PNG of 16 bits a channel (h, w, 3), as its specification has it; Pillow writes none."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    h, w, _ = values.shape
    head = struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def deep_tiff(values):
    """An uncompressed TIFF of 16 bits a channel (h, w, 3)."""
    h, w, _ = values.shape
    pixels = values.astype("<u2").tobytes()
    bits, directory = 8 + len(pixels), 8 + len(pixels) + 6
    entries = [
        (256, 4, 1, w), (257, 4, 1, h), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, h), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", directory)
    tail = struct.pack("<HHH", 16, 16, 16) + struct.pack("<H", len(entries)) + table + bytes(4)
    return head + pixels + tail


@pytest.mark.parametrize("write", [deep_png, deep_tiff])
def test_sixteen_bits_of_colour_keep_their_upper_eight(tmp_path, write):
    deep = np.random.default_rng(0).integers(0, 65536, (6, 7, 3), dtype=np.uint16)
    values, note = read(tmp_path, write(deep))
    assert np.array_equal(values, deep >> 8)
    assert "1 pictures of more than 8 bits were reduced" in note


# Inks and profiles


def cmyk():
    return Image.frombytes("CMYK", (16, 16), noise(16, 16, 4).tobytes())


def naive(inks):
    """Each ink takes away its share, and black its share of what is left."""
    inks = np.asarray(inks, dtype=float)
    return (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255


def without_adobe(data):
    """A JPEG without the marker by which Adobe's inverted ones are known."""
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def test_cmyk_of_both_polarities(tmp_path):
    flat = Image.new("CMYK", (16, 16), (200, 30, 90, 40))
    expected = naive(np.asarray(flat))
    values, note = read(tmp_path, saved(flat, "TIFF"))
    assert np.abs(values - expected).max() <= 1
    assert "1 pictures in CMYK were turned into RGB without a colour profile" in note
    data = saved(flat, "JPEG", quality=100)
    values, _ = read(tmp_path, data)
    assert np.abs(values - expected).max() <= 2, "Adobe's: inverted"
    plain, _ = read(tmp_path, without_adobe(data))
    assert np.abs(plain - naive(255 - np.asarray(flat))).max() <= 2, "others: as they are"
    values, _ = read(tmp_path, saved(cmyk(), "TIFF"))
    assert np.abs(values - naive(np.asarray(cmyk()))).max() <= 1


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(n * 65536)) for n in numbers)


def profile(space, gamma, primaries=()):
    """An ICC profile, version 2, of one gamma for all channels, by its specification."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = (0.9642, 1.0, 0.8249)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(*white)}
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 2) + b"a\0" + bytes(78)
    tags[b"cprt"] = b"text" + bytes(4) + b"none\0" + bytes(3)
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    for name, xyz in zip(b"rgb", primaries, strict=False):
        tags[bytes([name]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*xyz)
        tags[bytes([name]) + b"TRC"] = curve
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"test", 0x02100000, b"mntr", space, b"XYZ "
    )
    head += bytes(12) + b"acsp" + bytes(28) + fixed(*white) + bytes(48)
    return head + table + body


# Of sRGB, adapted to D50 by Bradford's method (IEC 61966-2-1; the ICC's sRGB profile).
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def to_srgb(linear):
    """IEC 61966-2-1's curve."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_a_profile_of_another_gamma(tmp_path, gamma):
    values = noise(16, 16)
    data = encoded(values, icc_profile=profile(b"RGB ", gamma, SRGB))
    got, note = read(tmp_path, data)
    assert np.abs(got - to_srgb((values / 255) ** gamma)).max() <= 3
    assert "1 pictures were of other colours than sRGB" in note


def test_a_profile_of_other_primaries(tmp_path):
    """Red and green change places, so their columns do."""
    swapped = profile(b"RGB ", 2.2, (SRGB[1], SRGB[0], SRGB[2]))
    values = noise(16, 16)
    got, _ = read(tmp_path, encoded(values, icc_profile=swapped))
    expected = to_srgb((values[..., [1, 0, 2]] / 255) ** 2.2)
    assert np.abs(got - expected).max() <= 3


@pytest.mark.parametrize("space", [b"GRAY", b"RGB "])
def test_grey_pictures_stay_grey_under_a_profile(tmp_path, space):
    data = encoded(RAMP, icc_profile=profile(space, 1.0, SRGB if space == b"RGB " else ()))
    got, note = read(tmp_path, data)
    assert got.shape == (16, 16, 1)
    assert np.abs(got[..., 0] - to_srgb(RAMP / 255)).max() <= 2
    assert "turned into it by their profile" in note


def test_a_profile_leaves_transparency_as_it_was(tmp_path):
    values = noise(16, 16, 4)
    got, _ = read(tmp_path, encoded(values, icc_profile=profile(b"RGB ", 1.0, SRGB)))
    opacity = values[..., 3:] / 255
    expected = to_srgb(values[..., :3] / 255) * opacity + 255 * (1 - opacity)
    assert np.abs(got - expected).max() <= 3


def test_srgb_is_left_alone_and_damaged_profiles_are_told(tmp_path):
    values = noise(16, 16)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    got, note = read(tmp_path, encoded(values, icc_profile=srgb))
    assert np.array_equal(got, values)
    assert "profile" not in note
    for bad in (b"no profile", srgb[:200], profile(b"GRAY", 1.0)):
        got, note = read(tmp_path, encoded(values, icc_profile=bad))
        assert np.array_equal(got, values)
        assert "1 pictures had a colour profile that cannot be used" in note


def test_lab(tmp_path):
    """CIE's L* of a grey alone: Y = ((L + 16) / 116) ** 3."""
    light = np.linspace(30, 255, 256).round().astype(np.uint8).reshape(16, 16)
    lab = np.stack([light, np.zeros_like(light), np.zeros_like(light)], axis=-1)
    picture = Image.frombytes("LAB", (16, 16), lab.tobytes())
    got, _ = read(tmp_path, saved(picture, "TIFF"), "a.tif")
    expected = to_srgb(((light / 255 * 100 + 16) / 116) ** 3)
    assert np.abs(got - expected[..., None]).max() <= 3


# Frames, pages, other containers


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]
)
def test_the_first_frame_or_page_is_read(tmp_path, kind, options):
    frames = [Image.fromarray(np.repeat(noise(c=1, seed=i)[..., None], 3, 2)) for i in range(3)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    got, note = read(tmp_path, data)
    assert np.array_equal(got[..., 0], noise(c=1))
    assert "1 pictures had several frames or pages: only the first was read" in note


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_containers_without_loss(tmp_path, kind, channels):
    values = noise(7, 9, channels)
    got, note = read(tmp_path, encoded(values, kind))
    assert np.array_equal(got, values.reshape(7, 9, channels))
    assert note == ""


def test_what_came_in_is_counted(tmp_path):
    contents = {
        "a.png": encoded(noise(9, 8)),
        "b.jpg": encoded(noise(9, 8), "JPEG"),
        "c.jpg": encoded(noise(40, 30), "JPEG"),
        "d.png": b"",
    }
    facts = Images.load(fill(tmp_path, contents)).facts
    assert facts["sizes"] == [[9, 8, 2], [40, 30, 1]]
    assert facts["formats"] == {"JPEG": 2, "PNG": 1}
    assert Images.load(tmp_path).facts == facts, "from the cache"


# Sizes


def test_a_large_jpeg_is_read_at_an_eighth_of_its_size(tmp_path):
    """Of 120 million pixels: more than Pillow would open, and than are held at once."""
    picture = Image.new("L", (12_000, 10_000), 40)
    picture.paste(200, (0, 0, 12_000, 5_000))
    path = tmp_path / "set" / "a.jpg"
    path.parent.mkdir()
    picture.save(path)
    most = Image.MAX_IMAGE_PIXELS
    records = Images.load(tmp_path / "set", size=8)
    assert most == Image.MAX_IMAGE_PIXELS
    assert records.skipped == ()
    assert records.facts["sizes"] == [[10_000, 12_000, 1]]
    assert np.allclose(records.items[0, [1, 6], 4, 0], [200, 40], atol=2)


def test_from_one_pixel_to_very_many(tmp_path, monkeypatch):
    assert Images.load(fill(tmp_path / "one", {"a.png": encoded(noise(1, 1))})).items.shape == (
        1, 1, 1, 3,
    )  # fmt: skip
    huge = bytearray(encoded())
    huge[16:24] = struct.pack(">II", 20_000, 20_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    jpeg = bytearray(encoded(noise(), "JPEG"))
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", 30_000, 30_000)
    contents = {"a.png": bytes(huge), "b.jpg": bytes(jpeg), "thin.png": encoded(noise(1, 5000))}
    records = Images.load(fill(tmp_path / "set", contents), size=8)
    assert records.ids == ("thin.png",)
    assert {one.what: one.why for one in records.skipped} == {
        "a.png": "has 400.0 million pixels, and at most 67.1 are read: make it smaller",
        "b.jpg": "has 900.0 million pixels, and at most 536.9 are read: make it smaller",
    }
    used = []
    real = pictures.resize
    from likewise.domains.images import decode

    monkeypatch.setattr(decode, "resize", lambda p, s: used.append(p.size) or real(p, s))
    Images.load(fill(tmp_path / "big", {"a.jpg": encoded(noise(1600, 1600), "JPEG")}), size=8)
    assert used == [(200, 200)], "a JPEG is decoded at an eighth where that is enough"
