"""Any picture as uint8 of one size and colour: modes, transparency, rotation, size, grey.

Shapes: h by w pixels, c channels (1 grey, 3 red, green and blue).
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from likewise.core.errors import DataError
from likewise.domains.images.augment import LUMA
from likewise.domains.images.profile import PROFILE, to_srgb

if TYPE_CHECKING:
    from PIL import Image

Pixels: TypeAlias = npt.NDArray[np.uint8]
Size: TypeAlias = tuple[int, int]

SIDES = (8, 12, 16, 24, 32, 48, 64)
"""Sides that a size is chosen from: networks halve them evenly, and two cores can learn them."""
OWN_SIDE = 128
"""Pictures that are all of one size keep it up to this side."""
MAX_BYTES = 1 << 33
"""Pictures are held in memory as bytes; more than this is refused."""
DEEP = ("I", "F")  # Pillow's modes of more than 8 bits; "I;16" and its kin begin with "I" too
ORIENTATION, BITS_PER_SAMPLE = 0x0112, 0x0102  # tags of EXIF and of TIFF


class UnreadableError(Exception):
    """Why one picture cannot be read; loading turns it into a `Skipped`."""


def choose_size(sizes: Sequence[Size]) -> Size:
    """(height, width) for pictures of these sizes.

    One size for all is kept up to `OWN_SIDE`; otherwise a square whose side is the one of
    `SIDES` nearest to the median short side.

    Example:
        >>> choose_size([(28, 20)] * 3), choose_size([(40, 30), (300, 500), (33, 90)])
        ((28, 20), (32, 32))
    """
    if len(set(sizes)) == 1 and max(sizes[0]) <= OWN_SIDE:
        return sizes[0]
    median = statistics.median(min(size) for size in sizes)
    side = min(SIDES, key=lambda side: max(side / median, median / side))
    return side, side


def about_size(sizes: Sequence[Size], size: Size, chosen: bool) -> list[str]:
    """A note on what was cropped and resized, if anything was."""
    counts = Counter(sizes)
    changed = sum(count for old, count in counts.items() if old != size)
    if not changed:
        return []
    smallest, largest = (f(counts, key=lambda s: s[0] * s[1]) for f in (min, max))
    span = _by(smallest) if len(counts) == 1 else f"{_by(smallest)} to {_by(largest)}"
    note = (
        f"{changed} of {len(sizes)} pictures ({span}) were cropped around the centre to the "
        f"shape of {_by(size)} and resized to it (Lanczos, antialiased)."
    )
    hint = " The size was chosen from the data; the option size sets another." if chosen else ""
    return [note + hint]


def check_memory(count: int, size: Size, channels: int) -> None:
    """DataError if pictures of this size cannot be held in memory."""
    needed = count * size[0] * size[1] * channels
    if needed > MAX_BYTES:
        raise DataError(
            f"{count} pictures of {_by(size)} would take {needed / 2**30:.0f} GiB of memory; at "
            f"most {MAX_BYTES / 2**30:.0f} GiB are held. Give a smaller size, such as size=32, or "
            "fewer pictures, such as most=10000."
        )


def plain(picture: "Image.Image") -> tuple["Image.Image", set[str]]:
    """A picture as mode L or RGB, upright, opaque, first frame; and what had to be done.

    Returns:
        the picture and names out of `WHAT_WAS_DONE`.

    Raises:
        UnreadableError: its values have no known range.
    """
    from PIL import Image, ImageChops, ImageOps

    done: set[str] = set()
    # Pillow takes every CMYK JPEG for one of Adobe's, which are inverted; the others say nothing.
    inverted = picture.format in ("JPEG", "MPO") and "adobe" not in picture.info
    if getattr(picture, "is_animated", False):
        picture.seek(0)
        done.add("animated")
    if np.max(getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, 8)) > 8:
        done.add("deep")
    if picture.getexif().get(ORIENTATION, 1) in range(2, 9):
        picture = ImageOps.exif_transpose(picture)
        done.add("turned")
    if picture.mode.startswith(DEEP):
        profile = picture.info.get(PROFILE)
        values = np.asarray(picture, dtype=np.float64)
        picture = Image.fromarray(_shallow(values, picture.mode))
        picture.info[PROFILE] = profile
        done.add("deep")
    if picture.mode == "CMYK" and inverted:
        picture = ImageChops.invert(picture)
    alpha = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
        done.update({"transparent"} if alpha.getextrema()[0] != 255 else ())
    upright, how = _coloured_plainly(picture)
    return _on_white(upright, alpha), done | how


def _coloured_plainly(picture: "Image.Image") -> tuple["Image.Image", set[str]]:
    """A picture as mode L or RGB in sRGB, opaque; and what had to be done."""
    if picture.mode not in ("L", "RGB", "CMYK", "LAB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    turned, how = to_srgb(picture)
    done = {how} if how else set()
    if turned.mode == "CMYK":
        done.add("cmyk")
    return turned if turned.mode in ("L", "RGB") else turned.convert("RGB"), done


def _on_white(picture: "Image.Image", alpha: "Image.Image | None") -> "Image.Image":
    from PIL import Image

    if alpha is None:
        return picture
    coloured = picture.convert("RGB")
    coloured.putalpha(alpha)
    white = Image.new("RGBA", coloured.size, "white")
    return Image.alpha_composite(white, coloured).convert("RGB")


def is_deep_png(data: bytes) -> bool:
    """Whether a PNG has 16 bits a channel, of which Pillow reads the upper eight of a colour."""
    return data[12:16] == b"IHDR" and data[24:25] == b"\x10"


WHAT_WAS_DONE = {
    "animated": "had several frames or pages: only the first was read",
    "turned": "were turned upright as their EXIF orientation says",
    "deep": "of more than 8 bits were reduced to 256 levels",
    "transparent": "were transparent: they were laid on white",
    "profile": "were of other colours than sRGB and were turned into it by their profile (ICC)",
    "unread": "had a colour profile that cannot be used: their values were kept as they are",
    "cmyk": "in CMYK were turned into RGB without a colour profile",
}


def resize(picture: "Image.Image", size: Size) -> "Image.Image":
    """Crop around the centre to the shape of `size` and resize (Lanczos, antialiased)."""
    from PIL import Image

    height, width = size
    if (picture.height, picture.width) == size:
        return picture
    scale = min(picture.width / width, picture.height / height)
    left = (picture.width - scale * width) / 2
    top = (picture.height - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


def pixels(picture: "Image.Image") -> Pixels:
    """(h, w, c) of a picture in mode L or RGB, one channel if all three are equal."""
    values = np.array(picture, dtype=np.uint8)
    return uncoloured(values if values.ndim == 3 else values[:, :, None])  # (h, w) -> (h, w, 1)


def uncoloured(values: Pixels) -> Pixels:
    """(h, w, c) with one channel if all three are equal, else as it is."""
    if values.shape[2] == 3 and (values == values[:, :, :1]).all():
        return values[:, :, :1]
    return values


def together(pictures: Sequence[Pixels], colour: str) -> tuple[Pixels, list[str]]:
    """(n, h, w, c) of pictures (h, w, 1 or 3) of one size, and a note on what was changed."""
    grey = sum(picture.shape[2] == 1 for picture in pictures)
    if colour == "auto":
        colour = "grey" if grey == len(pictures) else "rgb"
    check_memory(len(pictures), pictures[0].shape[:2], 1 if colour == "grey" else 3)
    turn = _grey if colour == "grey" else _coloured
    notes = about_colour(grey, len(pictures), colour)
    return np.stack([turn(picture) for picture in pictures]), notes


def about_colour(grey: int, count: int, colour: str) -> list[str]:
    """A note on pictures of which `grey` are grey, if any did not keep their colour."""
    if colour == "auto":
        colour = "grey" if grey == count else "rgb"
    changed = count - grey if colour == "grey" else grey
    became = "reduced to grey" if colour == "grey" else "grey and became RGB"
    return [f"{changed} of {count} pictures were {became}."] if changed else []


def greyed(pictures: Pixels, grey: npt.NDArray[np.bool_]) -> Pixels:
    """(n, h, w, 1) of pictures (n, h, w, 3), of which those that are `grey` (n,) already are."""
    reduced = pictures[..., :1].copy()
    for row in np.flatnonzero(~grey):
        reduced[row] = _grey(pictures[row])
    return reduced


def _grey(picture: Pixels) -> Pixels:
    if picture.shape[2] == 1:
        return picture
    return np.rint(picture @ np.array(LUMA)).astype(np.uint8)[:, :, None]  # (h, w) -> (h, w, 1)


def _coloured(picture: Pixels) -> Pixels:
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def _shallow(values: npt.NDArray[np.float64], mode: str) -> Pixels:
    """A grey picture of 16 bits, or of floats in 0..1 or 0..255, as 256 levels."""
    if not np.isfinite(values).all():
        raise UnreadableError("holds NaN or infinity")
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise UnreadableError("has values outside 0..65535")
    top = 65535.0
    if mode == "F" and high <= 255:
        top = 1.0 if high <= 1 else 255.0
    return np.rint(values / top * 255).astype(np.uint8)


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def conform(
    pictures: Sequence[Pixels], levels: int, size: Size | None, colour: str
) -> tuple[Pixels, list[str]]:
    """(n, h, w, c) of pictures (h, w, 1 or 3) of any sizes, and notes on what was changed."""
    sizes = [picture.shape[:2] for picture in pictures]
    target = size or choose_size(sizes)
    notes = about_size(sizes, target, chosen=size is None)
    check_memory(len(pictures), target, 1)
    resized = [uncoloured(_resized(picture, levels - 1, target)) for picture in pictures]
    items, more = together(resized, colour)
    return items, notes + more


def _resized(picture: Pixels, top: int, size: Size) -> Pixels:
    """(h, w, c) levels 0..top at another size: resized as 0..255, then put back on the levels."""
    from PIL import Image

    if picture.shape[:2] == size:
        return picture
    full = rescale(picture, top, 255)
    shown = Image.fromarray(full[:, :, 0] if full.shape[2] == 1 else full)
    values = np.array(resize(shown, size), dtype=np.uint8)
    return rescale(values if values.ndim == 3 else values[:, :, None], 255, top)


def rescale(levels: Pixels, old: int, new: int) -> Pixels:
    """Levels 0..old as the nearest of 0..new."""
    if old == new:
        return levels
    table = np.rint(np.arange(256) * (new / old)).clip(0, new).astype(np.uint8)
    return table[levels]
