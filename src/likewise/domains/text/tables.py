"""CSV and TSV: rows of fields under a header, and none that swallows others.

A quote that is opened and never closed takes every row behind it into one field, and most readers
say nothing of it. So a row is read by itself where it can be. What is open at the end of its line
goes on up to the next line that closes it, and if no row comes of that, the one line is left out
and the next is read. TSV mostly knows no quoting: there such a line stands as it is.
"""

import csv
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from likewise.core.errors import DataError
from likewise.core.records import Skipped
from likewise.domains.text.documents import Documents

Rows: TypeAlias = Iterator[tuple[str, Any]]

QUOTE = '"'
LONGEST = 1 << 24  # characters of a row: what is open for longer was never closed
NAMES = {",": "comma", "\t": "tab"}
OPEN = 'opens a quote (") that is not closed before the end of its field'


def table(lines: Iterator[str], name: str, delimiter: str, documents: Documents) -> Rows:
    r"""The rows of a table by its header, each named by its first line.

    Raises:
        DataError: the header cannot be read.

    Example:
        >>> told = Documents()
        >>> rows = table(iter(["text,label", "a,x", 'b,c,y', '"d', "e,x"]), "t.csv", ",", told)
        >>> [row["text"] for _, row in rows], [one.what for one in told.skipped]
        (['a', 'e'], ['t.csv:3', 't.csv:4'])
    """
    reader = _Reader(lines, delimiter)
    header: list[str] | None = None
    for line, fields in reader:
        where = f"{name}:{line}"
        if header is None:
            if fields is None:
                raise DataError(f"'{name}' must begin with the names of its columns; it {OPEN}.")
            reader.columns, header = len(fields), [field.strip() for field in fields]
        elif fields is None:
            documents.skipped.append(Skipped(where, OPEN))
        elif any(fields[len(header) :]):
            documents.skipped.append(Skipped(where, _too_many(delimiter)))
        else:
            yield where, dict(zip(header, [*fields, *[None] * len(header)], strict=False))
    if reader.literal:
        documents.notes.append(
            f"{name} has quotes that quote no field in {reader.literal:,} of its lines; they "
            "stand as they are."
        )


def _too_many(delimiter: str) -> str:
    return (
        f"has more fields than the header: a field with a {NAMES[delimiter]} in it must stand "
        "between quotes"
    )


class _Reader:
    """Rows of fields with the numbers of their lines; None where a quote is not closed.

    Args:
        lines: without their ends.
        delimiter: between fields.
    """

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        self.lines, self.delimiter = lines, delimiter
        self.columns = 0  # of the header, once it is known
        self.literal = 0  # lines with quotes that were taken for characters
        self.number = 0
        self.waiting: deque[str] = deque()  # lines that were looked at

    def __iter__(self) -> Iterator[tuple[int, list[str] | None]]:
        while (line := self._next()) is not None:
            self.number += 1
            if line:
                number = self.number
                yield number, self._fields(line)

    def _next(self) -> str | None:
        return self.waiting.popleft() if self.waiting else next(self.lines, None)

    def _fields(self, line: str) -> list[str] | None:
        if QUOTE not in line:
            return line.split(self.delimiter)
        fields, is_open = self._parse(line)
        if fields is None and is_open:
            fields = self._long(line)
        if fields is None and self.delimiter == "\t":
            self.literal += 1
            fields = line.split(self.delimiter)
        return fields

    def _parse(self, text: str) -> tuple[list[str] | None, bool]:
        """The fields of a row, and whether its last one is open."""
        try:
            with _long_fields():
                return next(csv.reader([text], delimiter=self.delimiter, strict=True)), False
        except csv.Error as error:
            return None, "end of data" in str(error)

    def _long(self, line: str) -> list[str] | None:
        """The fields of a row of many lines; None if it is none, and its first line alone is read.

        Quotes come in pairs, so a field that is open ends in the first line with an odd number.
        """
        taken, size, closed = [line], 0, False
        while not closed and size < LONGEST and (more := self._next()) is not None:
            taken.append(more)
            size += len(more)
            closed = more.count(QUOTE) % 2 == 1
        fields = self._parse("\n".join(taken))[0] if closed else None
        if fields is None or self._are_rows(taken):
            self.waiting.extendleft(reversed(taken[1:]))
            return None
        self.number += len(taken) - 1
        return fields

    def _are_rows(self, lines: list[str]) -> bool:
        """Whether each line of a TSV is a row by itself: hardly a text has a tab in it."""
        tabs = self.columns - 1
        return self.delimiter == "\t" and tabs > 0 and all(x.count("\t") == tabs for x in lines)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Fields as long as a row may be, while one is read."""
    before = csv.field_size_limit(2 * LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
