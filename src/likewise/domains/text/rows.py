"""Rows of data: JSONL, JSON and tables, each row a text, a dialogue, or a pair of texts."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from likewise.core.errors import DataError, UsageError, nearest
from likewise.core.records import Skipped
from likewise.domains.text import roles
from likewise.domains.text.documents import Documents
from likewise.domains.text.tables import Rows

MAX_ROW = 1 << 28  # bytes
TEXT, LABEL, SOURCE, TARGET = "text", "label", "source", "target"
CHATS = ("messages", "conversations", "conversation")
FORMS = (
    "text (and label), messages, conversations, instruction and output, or source and target; "
    "column=NAME names another column of texts"
)


def json_lines(lines: Iterator[str], name: str, documents: Documents) -> Rows:
    """The objects of JSONL with their names; a line that is damaged is skipped, and told."""
    for number, line in enumerate(lines, 1):
        where = f"{name}:{number}"
        if not line.strip():
            continue
        if len(line) > MAX_ROW:
            documents.skipped.append(Skipped(where, f"is a line of over {MAX_ROW >> 20} MiB"))
            continue
        try:
            yield where, json.loads(line, strict=False)
        except (ValueError, RecursionError) as error:
            documents.skipped.append(Skipped(where, f"is no JSON ({error})"))


def json_whole(text: str, name: str) -> Rows:
    """The objects of a JSON file: a list of them, or one mapping with such a list in it."""
    try:
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise DataError(f"'{name}' is damaged: it is no JSON ({error}).") from error
    if isinstance(data, Mapping) and not _form(data, None):
        data = next((value for value in data.values() if isinstance(value, list)), data)
    rows = data if isinstance(data, list) else [data]
    return ((f"{name}:{number}", row) for number, row in enumerate(rows, 1))


def take(rows: Rows, documents: Documents, column: str | None, what: str) -> None:
    """Add every row to the documents, each in the form that its columns say.

    Raises:
        DataError: no row has a form that is known.
        UsageError: there is no such column.
    """
    first: Any = None
    known = False
    for name, row in rows:
        if isinstance(row, str):
            row = {TEXT: row}
        if not isinstance(row, Mapping):
            documents.skipped.append(Skipped(name, "is no row with named columns"))
            continue
        first = first or row
        read = _form(row, column)
        known = known or read is not None
        if read is None:
            documents.skipped.append(Skipped(name, f"has no known column, but {_named(row)}"))
            continue
        _try(read, row, documents, name)
    if first is not None and not known:
        if column is not None:
            near = nearest(column, [str(key) for key in first])
            raise UsageError(f"column {column!r} is not in {what}; {near}.")
        raise DataError(f"{what} must have columns {FORMS}; got {_named(first)}.")


def _try(read: Any, row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.dialogue = read in (_chat, _alpaca)
    try:
        read(row, documents, name)
    except (DataError, KeyError) as error:
        why = f"has no {error}" if isinstance(error, KeyError) else str(error)
        documents.skipped.append(Skipped(name, why[:200]))
    finally:
        documents.dialogue = False


def _named(row: Mapping[str, Any]) -> str:
    return ", ".join(repr(key) for key in list(row)[:12]) or "none"


def _form(row: Mapping[str, Any], column: str | None) -> Any:
    """How a row is read, by its columns; None if it has none that are known.

    A column without a value counts as none: tables have one in rows of another form.
    """
    if column is not None:
        return _column(column) if column in row else None
    told = {name for name, value in row.items() if value is not None}
    if told & set(CHATS):
        return _chat
    if {"instruction", "output"} <= told:
        return _alpaca
    if {SOURCE, TARGET} <= told:
        return _pair
    return _column(TEXT) if TEXT in row else None


def _column(column: str) -> Any:
    def read(row: Mapping[str, Any], documents: Documents, name: str) -> None:
        label = row.get(LABEL) if column != LABEL else None
        documents.add(_text(row[column]), name, label=None if label in (None, "") else label)

    return read


def _pair(row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.add(_text(row[TARGET]), name, source=_text(row[SOURCE]))


def _chat(row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.add(
        roles.dialogue(next(row[key] for key in CHATS if row.get(key) is not None)), name
    )


def _alpaca(row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.add(roles.instruction(row), name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"holds {type(value).__name__}, not text")
    return value
