"""Pictures to files: PNG, marked as made by a model, whole or not at all, nothing replaced."""

import math
from collections.abc import Mapping
from pathlib import Path

from likewise.core.errors import DataError, UsageError, must
from likewise.core.records import Records
from likewise.domains.images.files import SUFFIXES
from likewise.domains.images.pictures import Pixels
from likewise.domains.images.show import Cells, grid, png, shown
from likewise.store.apiece import free, numbers, write_each
from likewise.store.files import whole
from likewise.store.numbered import told
from likewise.store.provenance import mark_png


def save(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    """Write a PNG a record into a folder, or one grid if `path` ends in .png.

    A record's id is its number, in its file's name and mark (where ids are no whole numbers,
    records are numbered from 0). A file that is there already is left alone if it is that very
    sample by its mark. In a grid, records stand row by row in their order, and every row begins
    at a multiple of ten, so that they can be counted; a grid whose name is taken gets a number.

    Raises:
        DataError: there are no records.
        UsageError: `path` names a file of another kind, cannot be written, or holds a file of
            one of these numbers that is another picture.
    """
    path = Path(path).expanduser()
    if not len(records):
        raise DataError(must("records to save", "at least one", 0))
    is_grid = path.suffix.lower() == ".png"
    if not is_grid and (path.suffix.lower() in SUFFIXES or path.is_file()):
        remedy = "Pictures are written as PNG."
        raise UsageError(
            must("a place for pictures", "a folder or end in .png", str(path), remedy)
        )
    try:
        if is_grid:
            return _grid(records, path, provenance)
        pictures = shown(records)
        return write_each(
            records, pictures, path, provenance, what="picture", ending=".png", write=_write
        )
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written ({error.strerror}).") from error


def _grid(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = {**provenance, "number": told(range(i, i + 1) for i in numbers(records))}
    return _write(free(path), grid(shown(records), countable(len(records))), mark)


def countable(n: int) -> Cells:
    """n records row by row, ten or a multiple of ten to a row, about as wide as high.

    Example:
        >>> [len(countable(n)[0]) for n in (3, 64, 100, 101, 1000)]
        [3, 10, 10, 20, 40]
    """
    width = min(n, 10 * math.ceil(math.sqrt(n) / 10))
    return [
        [at if at < n else None for at in range(first, first + width)]
        for first in range(0, n, width)
    ]


def _write(path: Path, picture: Pixels, mark: Mapping[str, str]) -> list[Path]:
    """A whole file or none."""
    with whole(path) as part:
        part.write_bytes(mark_png(png(picture), mark))
    return [path]
