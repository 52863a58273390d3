"""The short way to plain JPEG files: the pixels of Pillow, and only where they are plain."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from likewise.domains.images import Images, jpeg

pytest.importorskip("simplejpeg")


def picture(height: int, width: int, grey: bool = False) -> Image.Image:
    draw = np.random.default_rng(height * 1000 + width)
    coarse = draw.integers(0, 256, (7, 9) if grey else (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def written(shown: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    shown.save(file, "JPEG", **options)
    return file.getvalue()


WAYS = [
    {},
    {"quality": 30},
    {"quality": 97, "subsampling": 0},
    {"subsampling": 1},
    {"progressive": True, "subsampling": 2},
    {"optimize": True, "restart_marker_blocks": 2},
]


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (17, 33), (1, 1), (9, 64)])
@pytest.mark.parametrize("options", WAYS)
def test_pixels_are_those_of_pillow(options, size, grey):
    data = written(picture(*size, grey), **options)
    with Image.open(io.BytesIO(data)) as read:
        wanted = np.array(read).reshape(*size, -1)
    found = jpeg.quickly(data, size)
    assert found is not None
    assert np.array_equal(found, wanted)


def test_a_comment_changes_nothing():
    data = written(picture(8, 8), comment=b"hello")
    assert jpeg.quickly(data, (8, 8)) is not None


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif() -> Image.Exif:
    said = Image.Exif()
    said[0x0112] = 6
    return said


@pytest.mark.parametrize(
    "data",
    [
        written(picture(8, 8), exif=exif()),
        written(picture(8, 8), icc_profile=PROFILE),
        written(picture(8, 8).convert("CMYK")),
        written(picture(8, 16)),
        written(picture(8, 8), keep_rgb=True),
        written(picture(8, 8))[:-60],
        written(picture(8, 8))[:20],
        written(picture(8, 8)).replace(b"JFIF", b"JFXX"),
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
    ],
    ids=["exif", "icc", "cmyk", "size", "rgb", "cut", "header", "unnamed", "empty", "two", "png"],
)
def test_what_is_not_plain_or_not_whole_is_left_to_pillow(data):
    assert jpeg.quickly(data, (8, 8)) is None


def test_a_folder_reads_alike_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        shown = picture(16 + number % 2, 16, grey=number == 3)
        (folder / f"{number}.jpg").write_bytes(written(shown, quality=80))
    (folder / "cut.jpg").write_bytes(written(picture(16, 16))[:-80])
    with_it = Images.load(folder)
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(jpeg, "_decoder", lambda: None)
    without = Images.load(folder)
    assert np.array_equal(with_it.items, without.items)
    assert with_it.skipped == without.skipped
    assert [one.what for one in without.skipped] == ["cut.jpg"]
    assert with_it.facts == without.facts
