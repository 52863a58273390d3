"""Pictures to files: PNG, marked as made by a model, whole or not at all, nothing replaced."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from likewise.core.errors import DataError, UsageError, must
from likewise.core.records import Records
from likewise.domains.images.files import SUFFIXES
from likewise.domains.images.show import cells, grid, png, shown
from likewise.store.provenance import mark_png

NUMBERED = re.compile(r"(\d+)(-.*)?\.png")
DIGITS = 5
MAX_CLASS = 80  # bytes of a class in a file name; file systems allow 255 in all


def save(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    """Write a PNG a record into a folder, or one grid if `path` ends in .png.

    Files that are there already are left alone: numbers go on behind them, and a grid whose
    name is taken gets a number.

    Raises:
        DataError: there are no records.
        UsageError: `path` names a file of another kind, or cannot be written.
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
    data = mark_png(png(grid(shown(records), cells(records))), provenance)
    return [_write(_free(path), data)]


def _each(records: Records, folder: Path, provenance: Mapping[str, str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(m[1]) for name in os.listdir(folder) if (m := NUMBERED.fullmatch(name))]
    first = max(taken, default=-1) + 1
    labels = records.conditions.get("label", (None,) * len(records))
    paths = []
    for number, (picture, label) in enumerate(zip(shown(records), labels, strict=True), first):
        path = folder / f"{number:0{DIGITS}d}{_class(label)}.png"
        paths.append(_write(path, mark_png(png(picture), provenance)))
    return paths


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
    """A whole file or none: written beside its place, then moved there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
