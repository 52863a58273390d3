"""Pictures to files: PNG, marked as made by a model, whole or not at all, nothing replaced."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from likewise.core.errors import DataError, UsageError, must
from likewise.core.records import Records
from likewise.domains.images.files import SUFFIXES
from likewise.domains.images.pictures import Pixels
from likewise.domains.images.show import Cells, grid, png, shown
from likewise.store.files import whole
from likewise.store.numbered import PER_FOLDER, home, stem, there, told
from likewise.store.provenance import mark_png, read_mark, same_making

MAX_CLASS = 80  # bytes of a class in a file name; file systems allow 255 in all


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
        return _grid(records, path, provenance) if is_grid else _each(records, path, provenance)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written ({error.strerror}).") from error


def _grid(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = {**provenance, "number": told(range(i, i + 1) for i in _numbers(records))}
    picture = grid(shown(records), countable(len(records)))
    return [_write(_free(path), mark_png(png(picture), mark))]


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


def _each(records: Records, folder: Path, provenance: Mapping[str, str]) -> list[Path]:
    labels = records.conditions.get("label", (None,) * len(records))
    rows = list(zip(_numbers(records), shown(records), labels, strict=True))
    paths = []
    for _, block in groupby(rows, key=lambda row: row[0] // PER_FOLDER):
        some = list(block)
        numbers = [number for number, _, _ in some]
        known = there(folder, range(min(numbers), max(numbers) + 1))
        paths += _into(home(folder, numbers[0]), known, some, provenance)
    return paths


def _into(
    folder: Path,
    known: Mapping[int, Path],
    rows: Sequence[tuple[int, Pixels, object]],
    provenance: Mapping[str, str],
) -> list[Path]:
    """Write (number, picture, label) into one folder, but for those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, picture, label in rows:
        mark = {**provenance, "number": str(number)}
        taken = known.get(number)
        if taken is None:
            path = folder / f"{stem(number)}{_class(label)}.png"
            paths.append(_write(path, mark_png(png(picture), mark)))
        elif same_making(read_mark(taken) or {}, mark):
            paths.append(taken)
        else:
            raise UsageError(
                f"'{taken}' is there and is not this picture {number}; nothing is replaced. "
                f"Pictures of another seed, model or wish need a folder of their own."
            )
    return paths


def _numbers(records: Records) -> list[int]:
    """The numbers that are the ids of samples, or places in the order."""
    if all(name.isascii() and name.isdecimal() for name in records.ids):
        return [int(name) for name in records.ids]
    return list(range(len(records)))


def _class(label: object) -> str:
    """The class as a part of a file name that every system can hold."""
    if label is None:
        return ""
    plain = re.sub(r"[^\w.+-]+", "_", str(label)).encode()[:MAX_CLASS]
    return "-" + plain.decode(errors="ignore")


def _free(path: Path) -> Path:
    """The path itself, or with the first number that is free."""
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free


def _write(path: Path, data: bytes) -> Path:
    """A whole file or none."""
    with whole(path) as part:
        part.write_bytes(data)
    return path
