"""Files to pictures, on threads: header first, limits next, pixels last.

What cannot be read is left out with the reason, never silently.
"""

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from likewise.core.records import Skipped
from likewise.domains.images.files import Files, threaded
from likewise.domains.images.pictures import (
    ORIENTATION,
    WHAT_WAS_DONE,
    Pixels,
    Size,
    UnreadableError,
    about_size,
    check_memory,
    choose_size,
    pixels,
    plain,
    resize,
)

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 26  # 67 million: a large camera's picture; more is taken for a bomb
# Formats that Pillow decodes by itself; others start foreign programs or have no signature.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM")
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


class Decoded(NamedTuple):
    """Pictures of one size (h, w, 1 or 3), their names, and what happened on the way."""

    pictures: list[Pixels]
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


class _Seen(NamedTuple):
    """One file: its size as it is, what had to be done, its pixels if they were asked for."""

    size: Size
    done: frozenset[str] = frozenset()
    picture: Pixels | None = None


def decode(files: Files, size: Size | None) -> Decoded:
    """Read every file as a picture of `size`, or of a size chosen from those that can be read."""
    from PIL import Image

    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata is no concern of the user's
        target = size
        if target is None:
            seen = threaded(partial(_try, files, None), files.names)
            target = _choose(seen)
        pictures = _decode(files, target)
        # A damaged file may have had a say in the size; then those that are left choose again.
        if size is None and target != (better := _choose(pictures)):
            target, pictures = better, _decode(files, better)
    return _report(files, pictures, target, chosen=size is None)


def _decode(files: Files, size: Size) -> list[_Seen | str]:
    check_memory(len(files.names), size, 1)
    return threaded(partial(_try, files, size), files.names)


def _choose(seen: Sequence[_Seen | str]) -> Size:
    sizes = [one.size for one in seen if isinstance(one, _Seen)]
    return choose_size(sizes) if sizes else (1, 1)


def _report(files: Files, seen: Sequence[_Seen | str], size: Size, chosen: bool) -> Decoded:
    pictures, names, sizes = [], [], []
    skipped = list(files.skipped)
    done: Counter[str] = Counter()
    for name, one in zip(files.names, seen, strict=True):
        if isinstance(one, str):
            skipped.append(Skipped(name, one))
        elif one.picture is not None:
            pictures.append(one.picture)
            names.append(name)
            sizes.append(one.size)
            done.update(one.done)
    notes = [f"{done[key]} pictures {text}." for key, text in WHAT_WAS_DONE.items() if done[key]]
    notes += about_size(sizes, size, chosen)
    return Decoded(pictures, tuple(names), tuple(sorted(skipped, key=_what)), tuple(notes))


def _what(skipped: Skipped) -> str:
    return skipped.what


def _try(files: Files, size: Size | None, name: str) -> _Seen | str:
    """One file, or why it cannot be read."""
    try:
        return _see(files.read(name), size)
    except UnreadableError as error:
        return str(error)
    except Exception:  # a decoder meets damaged bytes with errors of every kind
        return "is truncated or damaged"


def _see(data: bytes, size: Size | None) -> _Seen:
    """One picture: its size from the header, and its pixels if a size is asked for."""
    picture = _open(data)
    height, width = picture.height, picture.width
    if height * width > MAX_PIXELS:
        raise UnreadableError(f"has more than {MAX_PIXELS / 1e6:.0f} million pixels")
    turned = picture.getexif().get(ORIENTATION, 1) in SIDEWAYS
    own = (width, height) if turned else (height, width)
    if size is None:
        return _Seen(own)
    # A JPEG can be read at an eighth, a quarter or a half of its size at far less cost.
    picture.draft(None, (2 * max(size), 2 * max(size)))
    upright, done = plain(picture)
    return _Seen(own, frozenset(done), pixels(resize(upright, size)))


def _open(data: bytes) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise UnreadableError("is empty (0 bytes)")
    try:
        return Image.open(io.BytesIO(data), formats=[f for f in FORMATS if f in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"has more than {MAX_PIXELS / 1e6:.0f} million pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableError("is not a picture of a readable format") from error
