"""What stands beside pictures: `metadata.csv`, `metadata.jsonl`, and texts named as pictures are.

The tables are those of Hugging Face's ImageFolder: a row for each picture, its name in the column
`file_name`, relative to the table's own folder; any folder may have a table. `x.txt` beside
`x.png` is the caption of that picture.
"""

import csv
import io
import json
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from likewise.core.errors import DataError, must, nearest
from likewise.core.records import Skipped
from likewise.core.text import printable
from likewise.domains.images.files import SUFFIXES, Files, threaded
from likewise.domains.images.pictures import UnreadableError

TABLES = ("metadata.csv", "metadata.jsonl")
UNREAD = ("metadata.parquet",)
FILE_NAME = "file_name"
MAX_CAPTION = 1 << 16  # bytes
SOME = 3  # names that a note lists


class Table(NamedTuple):
    """A table as it was read: every row as long as `columns`, None where nothing stands."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    lines: list[int]


class Beside(NamedTuple):
    """All that stands beside some pictures.

    Attributes:
        tables: read, not yet understood.
        row: of each picture that has one, by name: the number of its table and of its row.
        texts: the name of the caption's file of each picture that has one.
        skipped: what could not be understood.
        notes: on rows that lead nowhere.
    """

    tables: tuple[Table, ...]
    row: Mapping[str, tuple[int, int]]
    texts: Mapping[str, str]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    def columns(self) -> tuple[str, ...]:
        """The names of all columns but that of the files, in order."""
        names = dict.fromkeys(name for table in self.tables for name in table.columns)
        return tuple(name for name in names if name != FILE_NAME)

    def values(self, column: str, names: Sequence[str]) -> list[Any]:
        """What stands in a column for each of some pictures."""
        places = [
            table.columns.index(column) if column in table.columns else None
            for table in self.tables
        ]
        found = []
        for name in names:
            table, row = self.row.get(name, (0, -1))
            place = places[table] if row >= 0 else None
            found.append(None if place is None else self.tables[table].rows[row][place])
        return found


def gather(files: Files) -> Beside:
    """Take the tables and the captions out of the names of some files, and read the tables.

    Raises:
        DataError: a table is damaged, or has two rows for one picture that differ.
    """
    tables, skipped = [], []
    for name in files.names:
        last = name.rpartition("/")[2]
        if last in TABLES:
            table = _read(files, name)
            if isinstance(table, Skipped):
                skipped.append(table)
            else:
                tables.append(table)
        elif last in UNREAD:
            skipped.append(Skipped(name, f"is of a kind that is not read; write {TABLES[0]}"))
    texts = _texts(files.names)
    taken = {*texts.values(), *(t.name for t in tables), *(one.what for one in skipped)}
    files.names = [name for name in files.names if name not in taken]
    row, notes = _rows(tables, files.names)
    return Beside(tuple(tables), row, texts, tuple(skipped), tuple(notes))


def captions(files: Files, texts: Sequence[str | None]) -> tuple[list[str | None], list[Skipped]]:
    """The text of each file, None for none and where it cannot be read; and why it cannot."""
    skipped: list[Skipped] = []

    def one(name: str | None) -> str | None:
        if name is None:
            return None
        try:
            return files.read(name, most=MAX_CAPTION).decode("utf-8-sig").strip() or None
        except UnreadableError as error:
            skipped.append(Skipped(name, str(error)))
        except UnicodeDecodeError:
            skipped.append(Skipped(name, "is no text in UTF-8"))
        return None

    found = threaded(one, texts) if any(texts) else list(texts)
    return found, sorted(skipped, key=lambda one: one.what)


def some(names: Iterable[str], count: int) -> str:
    """A clause with the first of some names, for a note: (first: 'a', 'b', 'c', …)."""
    first = [f"'{name}'" for name in islice(names, SOME)]
    return f"(first: {', '.join(first)}{', …' if count > SOME else ''})"


def _texts(names: Sequence[str]) -> dict[str, str]:
    """The file of the caption of each picture that has one."""
    texts = {
        path.with_suffix("").as_posix(): name
        for name in names
        if name[-4:].lower() == ".txt" and (path := PurePosixPath(name)).suffix
    }
    stems = ((name, PurePosixPath(name)) for name in names) if texts else ()
    return {
        name: texts[stem]
        for name, path in stems
        if path.suffix.lower() in SUFFIXES and (stem := path.with_suffix("").as_posix()) in texts
    }


def _read(files: Files, name: str) -> Table | Skipped:
    try:
        text = files.read(name).decode("utf-8-sig")
    except UnreadableError as error:
        return Skipped(name, str(error))
    except UnicodeDecodeError as error:
        remedy = "Save it as UTF-8."
        raise DataError(must(f"'{name}'", "text in UTF-8", str(error), remedy)) from error
    table = _csv(text, name) if name.endswith(".csv") else _jsonl(text, name)
    if FILE_NAME not in table.columns:
        return Skipped(name, f"has no column {FILE_NAME}; {nearest(FILE_NAME, table.columns)}")
    return table


def _csv(text: str, name: str) -> Table:
    """A CSV file as RFC 4180 has it; DataError names the first line that is none."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: tuple[str, ...] = ()
    rows, lines = [], []
    memo: dict[str, str] = {}  # the few different values of many cells are kept once
    for cells in _lines(reader, name):
        if not columns:
            columns = tuple(_cell(cell) or "" for cell in cells)
            _check_columns(columns, name)
        elif cells:
            if len(cells) != len(columns):
                what = f"line {reader.line_num} of '{name}'"
                remedy = "Quote cells that hold commas."
                raise DataError(must(what, f"of {len(columns)} cells", len(cells), remedy))
            rows.append(tuple(memo.setdefault(c, c) if c else None for c in map(_cell, cells)))
            lines.append(reader.line_num)
    return Table(name, columns, rows, lines)


def _lines(reader: Any, name: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        what = f"line {reader.line_num} of '{name}'"
        remedy = "Close its quotes, or save the table as CSV anew."
        raise DataError(f"{what} is no CSV ({error}). {remedy}") from error


def _jsonl(text: str, name: str) -> Table:
    """A JSON object a line; DataError names the first line that is none."""
    found, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            remedy = "Write one object a line."
            raise DataError(f"line {number} of '{name}' is no JSON ({error}). {remedy}") from error
        if not isinstance(row, dict):
            raise DataError(must(f"line {number} of '{name}'", "a JSON object", row))
        found.append({_cell(key) or "": _cell(value) for key, value in row.items()})
        lines.append(number)
    columns = tuple(dict.fromkeys(key for row in found for key in row))
    return Table(name, columns, [tuple(map(row.get, columns)) for row in found], lines)


def _cell(value: Any) -> Any:
    """A value without spaces around it and without half characters; None for nothing."""
    if isinstance(value, str):
        return value.strip().encode("utf-8", "backslashreplace").decode() or None
    return None if value != value else value  # NaN is the one value that differs from itself


def _check_columns(columns: Sequence[str], name: str) -> None:
    twice = sorted(column for column, count in Counter(columns).items() if count > 1)
    if twice:
        raise DataError(must(f"the columns of '{name}'", "all different", f"{twice[0]} twice"))


def _rows(
    tables: Sequence[Table], names: Sequence[str]
) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Which row belongs to which picture; notes on those that belong to none."""
    known = set(names)
    alike = {unicodedata.normalize("NFC", name): name for name in names} if tables else {}
    places: dict[str, tuple[int, int]] = {}
    astray, again = [], 0
    for t, table in enumerate(tables):
        folder, column = posixpath.dirname(table.name), table.columns.index(FILE_NAME)
        for r, row in enumerate(table.rows):
            if not isinstance(row[column], str):
                what = f"line {table.lines[r]} of '{table.name}'"
                raise DataError(must(what, f"the name of a file in {FILE_NAME}", row[column]))
            wanted = posixpath.normpath(posixpath.join(folder, row[column]))
            name = _named(wanted, known, alike)
            if name is None:
                astray.append(row[column])
            elif name in places:
                _check_same(tables, places[name], (t, r), name)
                again += 1
            else:
                places[name] = (t, r)
    notes = []
    if astray:
        notes.append(f"{len(astray)} rows name files that are not there {_some(astray)}.")
    if again:
        notes.append(f"{again} rows stand twice in the same words: once is enough.")
    return places, notes


def _named(wanted: str, known: set[str], alike: Mapping[str, str]) -> str | None:
    """The file that a row means: written otherwise in Unicode, or with Windows' separators."""
    for name in (wanted, wanted.replace("\\", "/")):
        if name in known:
            return name
        if (same := alike.get(unicodedata.normalize("NFC", name))) is not None:
            return same
    return None


def _check_same(
    tables: Sequence[Table], one: tuple[int, int], other: tuple[int, int], name: str
) -> None:
    """DataError if two rows of one picture differ."""
    (t, r), (u, s) = one, other
    first = dict(zip(tables[t].columns, tables[t].rows[r], strict=True))
    second = dict(zip(tables[u].columns, tables[u].rows[s], strict=True))
    if first == second:
        return
    raise DataError(
        f"'{printable(name)}' must have one row; got two that differ: line {tables[t].lines[r]} "
        f"of '{tables[t].name}' and line {tables[u].lines[s]} of '{tables[u].name}'. Keep one."
    )


def _some(names: Sequence[str]) -> str:
    return some(map(printable, names), len(names))
