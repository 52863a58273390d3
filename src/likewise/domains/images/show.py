"""A grid of pictures as one PNG: on neutral grey, enlarged by whole pixels, classes in rows."""

import io
import math
from collections.abc import Sequence

import numpy as np

from likewise.core.errors import DataError, must
from likewise.core.records import Records
from likewise.domains.images.layout import natural
from likewise.domains.images.pictures import Pixels, rescale

MOST = 64
BACKGROUND = 228  # light and neutral: black and white pictures both stand out
SIDE = 40  # pictures smaller than this are enlarged to at least this
WIDEST = 1600  # a grid does not grow beyond this for the sake of more pictures
Cells = list[list[int | None]]


def show(records: Records) -> bytes:
    """The bytes of a PNG that shows up to `MOST` records, evenly chosen."""
    if not len(records):
        raise DataError(must("records to show", "at least one", 0))
    side = max(records.items.shape[1:3]) * _factor(records.items)
    most = min(MOST, max(4, (WIDEST // side) ** 2))
    return png(grid(shown(records), cells(records, most)))


def shown(records: Records) -> Pixels:
    """(n, h, w, c) with levels spread over 0..255."""
    return rescale(records.items, int(records.facts.get("levels", 256)) - 1, 255)


def cells(records: Records, most: int | None = None) -> Cells:
    """Which record stands where: classes side by side in their order, or one near-square.

    Args:
        records: to be shown.
        most: how many at most, or None for every one.
    """
    labels = records.conditions.get("label", ())
    names = sorted({str(label) for label in labels if label is not None}, key=natural)
    if len(names) < 2 or any(label is None for label in labels):
        return square(_spread(range(len(records)), most or len(records)))
    names = names[:most]
    members = [[i for i, label in enumerate(labels) if str(label) == name] for name in names]
    each = max(map(len, members))
    if most is not None:
        each = min(each, max(8, len(names)), max(1, most // len(names)))
    rows = [_padded(_spread(rows, each), each) for rows in members]
    if len(rows) <= each:
        return rows
    return [list(column) for column in zip(*rows, strict=True)]  # many classes: as columns


def square(rows: Sequence[int]) -> Cells:
    """Records row by row in a grid that is about as wide as high."""
    width = math.ceil(math.sqrt(len(rows)))
    return [_padded(rows[i : i + width], width) for i in range(0, len(rows), width)]


def grid(pictures: Pixels, places: Cells) -> Pixels:
    """(height, width, c): pictures (n, h, w, c) in their places, apart from each other."""
    factor = _factor(pictures)
    h, w, channels = pictures.shape[1] * factor, pictures.shape[2] * factor, pictures.shape[3]
    gap = max(2, min(h, w) // 12)
    rows, columns = len(places), len(places[0])
    shape = (rows * (h + gap) + gap, columns * (w + gap) + gap, channels)
    canvas = np.full(shape, BACKGROUND, dtype=np.uint8)
    for i, row in enumerate(places):
        for j, number in enumerate(row):
            if number is not None:
                top, left = gap + i * (h + gap), gap + j * (w + gap)
                large = pictures[number].repeat(factor, axis=0).repeat(factor, axis=1)
                canvas[top : top + h, left : left + w] = large
    return canvas


def png(picture: Pixels) -> bytes:
    """The bytes of a PNG of a picture (h, w, 1 or 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    values = picture[:, :, 0] if picture.shape[2] == 1 else picture
    Image.fromarray(np.ascontiguousarray(values)).save(buffer, format="PNG")
    return buffer.getvalue()


def _factor(pictures: Pixels) -> int:
    """By how much pictures (n, h, w, c) are enlarged."""
    return max(1, math.ceil(SIDE / max(pictures.shape[1:3])))


def _spread(rows: Sequence[int], most: int) -> list[int]:
    """At most so many of the rows, at even distances, in order."""
    if len(rows) <= most:
        return list(rows)
    return [rows[i * len(rows) // most] for i in range(most)]


def _padded(rows: Sequence[int], width: int) -> list[int | None]:
    return [*rows, *[None] * (width - len(rows))]
