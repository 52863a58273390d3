"""Files to pictures, on all cores: header first, limits next, pixels last.

What cannot be read is left out with the reason, never silently.
"""

import io
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise.core.records import Skipped
from likewise.domains.images.canvas import Canvas
from likewise.domains.images.files import LOG, PASSING, TELL_EVERY, Files
from likewise.domains.images.jpeg import quickly
from likewise.domains.images.parallel import in_parallel
from likewise.domains.images.pictures import (
    ORIENTATION,
    WHAT_WAS_DONE,
    Pixels,
    Size,
    UnreadableError,
    about_colour,
    about_size,
    choose_size,
    greyed,
    is_deep_png,
    plain,
    resize,
)

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 26  # 67 million, that are held at once; more is taken for a bomb
MAX_DRAFTED = 1 << 29  # 537 million, of a JPEG, of which no more need be held than is asked for
# Formats that Pillow decodes by itself; others start foreign programs or have no signature.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM")
DRAFTED = ("JPEG", "MPO")  # the latter is a camera's JPEG of two
MOST_SIZES = 1 << 17  # that facts list
SOME = 64  # files that a size is guessed from
AT_LEAST, AT_ONCE = 16, 256  # files that are handed over at once
BLOCK = 1 << 25  # bytes of pictures that are handed over at once, at most
AHEAD = 16  # few files, of large photographs perhaps, are shared out in this many parts
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


class Decoded(NamedTuple):
    """Pictures (n, h, w, 1 or 3) of one size, their names, and what happened on the way.

    `facts` are of the files as they were: "sizes" [[height, width, count], ...] and "formats"
    {name: count}, both most frequent first.
    """

    pictures: Pixels
    names: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]


class _Seen(NamedTuple):
    """One file: its size and format as they are, what had to be done, whether it is grey."""

    size: Size
    kind: str
    done: tuple[str, ...]
    grey: bool


class _Block(NamedTuple):
    """Some files: what was seen of each or why it cannot be read, and the pictures of the rest."""

    seen: list[_Seen | str]
    pictures: Pixels


def decode(files: Files, size: Size | None, colour: str, place: Path) -> Decoded:
    """Read every file as a picture of one size.

    Args:
        files: to read.
        size: (height, width); None to choose it from the pictures that can be read.
        colour: "auto" (grey only if every picture is), "grey" or "rgb".
        place: the folder for pictures that do not fit in memory.

    Raises:
        DataError: they do not fit on the disk either.
    """
    from PIL import Image

    Image.init()
    with warnings.catch_warnings(), _own_limits():
        warnings.simplefilter("ignore")  # damaged metadata is no concern of the user's
        # Every file is opened once if a few tell the size that all of them will choose.
        target = size or _choose([_try(files, name) for name in _some(files.names)])
        seen, pictures = _decode(files, target, colour, place)
        if size is None and target != (better := _choose(seen)):
            target = better
            del pictures
            seen, pictures = _decode(files, target, colour, place)
    return _report(files, seen, pictures, target, colour, chosen=size is None)


@contextmanager
def _own_limits() -> Iterator[None]:
    """Without Pillow's limit on pixels: ours stands in its place, and knows of drafts."""
    from PIL import Image

    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _decode(
    files: Files, size: Size, colour: str, place: Path
) -> tuple[list[_Seen | str], Pixels]:
    even = max(AT_LEAST, len(files.names) // AHEAD)
    step = max(1, min(even, AT_ONCE, BLOCK // (3 * size[0] * size[1])))
    blocks = [files.names[first : first + step] for first in range(0, len(files.names), step)]
    seen: list[_Seen | str] = []
    started = told = time.monotonic()
    with Canvas(place, len(files.names), size) as canvas:
        for block in in_parallel(partial(_block, files, size, colour), blocks, files.reopen):
            seen += block.seen
            if len(block.pictures):
                canvas.add(block.pictures)
            if (now := time.monotonic()) - told > TELL_EVERY:
                told, left = now, (now - started) * (len(files.names) / len(seen) - 1)
                LOG.info("%d of %d files read, %.0f s left", len(seen), len(files.names), left)
        return seen, canvas.done()


def _some(names: Sequence[str]) -> list[str]:
    return [names[i] for i in range(0, len(names), max(1, len(names) // SOME))]


def _choose(seen: Sequence[_Seen | str]) -> Size:
    sizes = [one.size for one in seen if isinstance(one, _Seen)]
    return choose_size(sizes) if sizes else (1, 1)


def _report(
    files: Files,
    seen: Sequence[_Seen | str],
    pictures: Pixels,
    size: Size,
    colour: str,
    chosen: bool,
) -> Decoded:
    names, skipped, read = [], [], []
    for name, one in zip(files.names, seen, strict=True):
        if isinstance(one, str):
            skipped.append(Skipped(name, one))
        else:
            names.append(name)
            read.append(one)
    sizes = [one.size for one in read]
    done = Counter(what for one in read for what in one.done)
    notes = [f"{done[key]} pictures {text}." for key, text in WHAT_WAS_DONE.items() if done[key]]
    notes += about_size(sizes, size, chosen)
    notes += about_colour(sum(one.grey for one in read), len(read), colour)
    facts = {
        "sizes": [[*own, count] for own, count in Counter(sizes).most_common(MOST_SIZES)],
        "formats": dict(Counter(one.kind for one in read).most_common()),
    }
    skipped.sort(key=lambda one: one.what)
    return Decoded(pictures, tuple(names), tuple(skipped), tuple(notes), facts)


def _block(files: Files, size: Size, colour: str, names: Sequence[str]) -> _Block:
    """The pictures of some files, in colour if any of them is or `colour` says so."""
    pictures = np.empty((len(names), *size, 3), np.uint8)
    seen: list[_Seen | str] = []
    count = 0
    for name in names:
        one = _try(files, name, pictures[count])
        seen.append(one)
        count += isinstance(one, _Seen)
    pictures = pictures[:count]
    grey = _grey(pictures)
    flags = iter(grey.tolist())
    seen = [one._replace(grey=next(flags)) if isinstance(one, _Seen) else one for one in seen]
    if colour == "grey":
        pictures = greyed(pictures, grey)
    elif colour == "auto" and grey.all():
        pictures = pictures[..., :1]
    return _Block(seen, np.ascontiguousarray(pictures))


def _grey(pictures: Pixels) -> npt.NDArray[np.bool_]:
    """(n,) whether all three channels are equal; one row of a picture in colour tells at once."""
    row = pictures[:, pictures.shape[1] // 2]
    grey: npt.NDArray[np.bool_] = (row == row[..., :1]).all(axis=(1, 2))
    some = pictures[grey]
    grey[grey] = (some == some[..., :1]).all(axis=(1, 2, 3))
    return grey


def _try(files: Files, name: str, place: Pixels | None = None) -> _Seen | str:
    """One file, its pixels put into `place` (h, w, 3) if there is one; or why it is unreadable."""
    try:
        return _see(files.read(name), place)
    except UnreadableError as error:
        return str(error)
    except MemoryError:
        return f"{PASSING} (too little memory is free)"
    except Exception:  # a decoder meets damaged bytes with errors of every kind
        return "is truncated or damaged"


def _see(data: bytes, place: Pixels | None) -> _Seen:
    """One picture: header first, limits next, pixels last."""
    if place is not None and (pixels := quickly(data, place.shape[:2])) is not None:
        place[:] = pixels
        return _Seen(place.shape[:2], "JPEG", (), False)
    picture = _open(data)
    height, width = picture.height, picture.width
    size = (1, 1) if place is None else place.shape[:2]
    # A JPEG can be read at an eighth, a quarter or a half of its size at far less cost.
    picture.draft(None, (2 * max(size), 2 * max(size)))
    if picture.height * picture.width > MAX_PIXELS or height * width > MAX_DRAFTED:
        most = MAX_DRAFTED if picture.format in DRAFTED else MAX_PIXELS
        raise UnreadableError(
            f"has {height * width / 1e6:,.1f} million pixels, and at most {most / 1e6:,.1f} are "
            "read: make it smaller"
        )
    turned = picture.getexif().get(ORIENTATION, 1) in SIDEWAYS
    own = (width, height) if turned else (height, width)
    kind = "JPEG" if picture.format in DRAFTED else picture.format or ""
    if place is None:
        return _Seen(own, kind, (), False)
    upright, done = plain(picture)
    if is_deep_png(data):
        done.add("deep")
    values = np.frombuffer(resize(upright, size).tobytes(), np.uint8)
    place[:] = values.reshape(*size, -1)  # (h, w, 1 or 3)
    return _Seen(own, kind, tuple(sorted(done)), False)


def _open(data: bytes) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise UnreadableError("is empty (0 bytes)")
    try:
        return Image.open(io.BytesIO(data), formats=[f for f in FORMATS if f in Image.OPEN])
    except UnidentifiedImageError as error:
        raise UnreadableError("is not a picture of a readable format") from error
