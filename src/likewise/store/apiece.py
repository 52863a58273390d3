"""A file a record: each named by its sample's number and class, marked, and never replaced."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeAlias, TypeVar

from likewise.core.errors import UsageError
from likewise.core.records import Records
from likewise.store.numbered import PER_FOLDER, home, stem, there
from likewise.store.provenance import read_mark, same_making

Item = TypeVar("Item")
Write: TypeAlias = Callable[[Path, Item, Mapping[str, str]], list[Path]]
"""(path, item, mark) -> the files written, whole or not at all."""

MAX_CLASS = 80  # bytes of a class in a file name; file systems allow 255 in all


def write_each(
    records: Records,
    items: Iterable[Item],
    folder: Path,
    provenance: Mapping[str, str],
    *,
    what: str,
    ending: str,
    write: Write[Item],
) -> list[Path]:
    """Write each record's item into a file of its own; one that is there by its mark is left.

    Args:
        records: whose ids are the numbers, and whose labels are in the names.
        items: what is written of each.
        folder: of the files.
        provenance: of the marks.
        what: "picture" or the like, as an error calls it.
        ending: of the names.
        write: an item to a path.

    Raises:
        UsageError: one of these numbers is taken by something else.
        OSError: a file cannot be written.
    """
    labels = records.conditions.get("label", (None,) * len(records))
    rows = list(zip(numbers(records), items, labels, strict=True))
    paths = []
    for _, block in groupby(rows, key=lambda row: row[0] // PER_FOLDER):
        paths += _into(folder, list(block), provenance, what, ending, write)
    return paths


def _into(
    folder: Path,
    rows: Sequence[tuple[int, Item, object]],
    provenance: Mapping[str, str],
    what: str,
    ending: str,
    write: Write[Item],
) -> list[Path]:
    """Write (number, item, label) of one block of numbers, but for those that are there."""
    every = [number for number, _, _ in rows]
    known = there(folder, range(min(every), max(every) + 1))
    place = home(folder, every[0])
    place.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, item, label in rows:
        mark = {**provenance, "number": str(number)}
        taken = known.get(number)
        if taken is None:
            paths += write(place / f"{stem(number)}{_class(label)}{ending}", item, mark)
        elif same_making(read_mark(taken) or {}, mark):
            paths.append(taken)
        else:
            raise UsageError(
                f"'{taken}' is there and is not this {what} {number}; nothing is replaced. "
                f"{what.capitalize()}s of another seed, model or wish need a folder of their own."
            )
    return paths


def numbers(records: Records) -> list[int]:
    """The numbers that are the ids of samples, or places in the order."""
    if all(name.isascii() and name.isdecimal() for name in records.ids):
        return [int(name) for name in records.ids]
    return list(range(len(records)))


def free(path: Path) -> Path:
    """The path itself, or with the first number that is free."""
    number = 2
    found = path
    while found.exists():
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return found


def _class(label: object) -> str:
    """The class as a part of a file name that every system can hold."""
    if label is None:
        return ""
    plain = re.sub(r"[^\w.+-]+", "_", str(label)).encode()[:MAX_CLASS]
    return "-" + plain.decode(errors="ignore")
