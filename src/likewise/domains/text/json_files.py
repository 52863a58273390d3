"""JSONL and JSON: the rows in them, whether a line each, a list, or lists in a mapping.

A mapping mostly says more than its rows: a version, the languages. So its list of rows is the one
whose rows have a form that is known, and lists named as the parts of a split are a split.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from likewise.core.errors import DataError
from likewise.core.parts import CALLED
from likewise.core.records import Skipped
from likewise.domains.text.documents import Documents
from likewise.domains.text.rows import form_of
from likewise.domains.text.tables import Rows

MAX_ROW = 1 << 28  # bytes
GLANCE = 64  # rows of a list that show what it holds


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


def json_whole(text: str, name: str, documents: Documents, column: str | None) -> Rows:
    """The rows of a JSON file: a list, lists in a mapping, one row alone, or lines of JSON.

    Raises:
        DataError: it is no JSON, or which of its lists holds the rows is not clear.
    """
    try:
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        if not _is_lines(text):
            raise DataError(f"'{name}' is damaged: it is no JSON ({error}).") from error
        documents.notes.append(f"{name} holds a JSON object a line, and was read as JSONL.")
        return json_lines(iter(text.split("\n")), name, documents)
    if isinstance(data, Mapping) and form_of(data, column) is None:
        lists = _lists(data, name, documents, column)
        if len(lists) > 1:
            return _parts(lists, name, documents)
        data = next(iter(lists.values()), data)
    return _numbered(data if isinstance(data, list) else [data], name)


def _is_lines(text: str) -> bool:
    """Whether the first line of a text is a JSON object by itself."""
    try:
        return isinstance(json.loads(text.lstrip().split("\n", 1)[0], strict=False), Mapping)
    except (ValueError, RecursionError):
        return False


def _numbered(rows: list[Any], name: str) -> Rows:
    return ((f"{name}:{number}", row) for number, row in enumerate(rows, 1))


def _lists(
    data: Mapping[str, Any], name: str, documents: Documents, column: str | None
) -> dict[str, list[Any]]:
    """The lists in a mapping that may be its rows; a note on those that are not read."""
    found = {str(key): value for key, value in data.items() if isinstance(value, list) and value}

    def holding(kind: Callable[[Any], bool]) -> dict[str, list[Any]]:
        return {key: rows for key, rows in found.items() if any(map(kind, rows[:GLANCE]))}

    columns = holding(lambda row: isinstance(row, Mapping))
    formed = holding(lambda row: isinstance(row, Mapping) and form_of(row, column) is not None)
    taken = formed or columns or holding(lambda row: isinstance(row, str))
    if all(key.lower() in CALLED for key in taken):
        taken = {key: rows for key, rows in found.items() if key.lower() in CALLED}
    others = ", ".join(repr(key) for key in found if key not in taken)
    if taken and others:
        documents.notes.append(f"{name}: {', '.join(map(repr, taken))} was read, not {others}.")
    return taken


def _parts(lists: Mapping[str, list[Any]], name: str, documents: Documents) -> Rows:
    """The rows of lists that are named as parts of a split, each with its part.

    Raises:
        DataError: a list has another name.
    """
    if not all(key.lower() in CALLED for key in lists):
        named = ", ".join(map(repr, lists))
        raise DataError(
            f"'{name}' must hold one list of rows, or lists named train, valid and test; got the "
            f"lists {named}. Write the rows that are meant as JSONL."
        )
    return _of_parts(lists, name, documents)


def _of_parts(lists: Mapping[str, list[Any]], name: str, documents: Documents) -> Rows:
    whole = documents.latest  # the part that a folder gives to all of the file
    for key, rows in lists.items():
        for row in _numbered(rows, f"{name}:{key}"):
            documents.latest = whole or CALLED[key.lower()]
            yield row
    documents.latest = whole
