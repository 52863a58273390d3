"""Rows of data: each a text, a dialogue, or a pair of texts, by its columns."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from likewise.core.errors import DataError, UsageError, nearest
from likewise.core.records import Skipped
from likewise.domains.text import roles
from likewise.domains.text.documents import Documents
from likewise.domains.text.tables import Rows

TEXT, LABEL, SOURCE, TARGET = "text", "label", "source", "target"
CHATS = ("messages", "conversations", "conversation")
ALPACA = ("instruction", "output", "input")
KNOWN = (TEXT, LABEL, SOURCE, TARGET, *CHATS, *ALPACA)
FORMS = (
    "text (and label), messages, conversations, instruction and output, or source and target; "
    "column=NAME names another column of texts"
)


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
        form = form_of(row, column)
        known = known or form is not None
        if form is None:
            documents.skipped.append(Skipped(name, _formless(row)))
            continue
        _try(form, row, documents, name)
        if column is None:
            _tell_unused(form, row, documents)
    if first is not None and not known:
        if column is not None:
            near = nearest(column, [str(key) for key in first])
            raise UsageError(f"column {column!r} is not in {what}; {near}.")
        raise DataError(f"{what} must have columns {FORMS}; got {_named(first)}.")


def _formless(row: Mapping[str, Any]) -> str:
    """Why a row has no form: a column has no value, or none is known."""
    null = [repr(name) for name in KNOWN if name in row and row[name] is None]
    if null:
        return f"has null for {' and '.join(null)}"
    return f"has no known column, but {_named(row)}"


def _try(form: "Form", row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.dialogue = form.dialogue
    try:
        form.read(row, documents, name)
    except (DataError, KeyError) as error:
        why = f"has no {error}" if isinstance(error, KeyError) else str(error)
        documents.skipped.append(Skipped(name, why[:200]))
    finally:
        documents.dialogue = False


def _tell_unused(form: "Form", row: Mapping[str, Any], documents: Documents) -> None:
    """A note on columns that have a meaning, and none beside those that a row is read by."""
    unused = [n for n in KNOWN if row.get(n) not in (None, "") and n not in form.uses]
    if unused:
        first = next(name for name in form.uses if row.get(name) is not None)
        many = " and ".join(map(repr, unused))
        note = f"Of rows with {first!r} nothing reads {many}: left out."
        if note not in documents.notes:
            documents.notes.append(note)


def _named(row: Mapping[str, Any]) -> str:
    return ", ".join(repr(key) for key in list(row)[:12]) or "none"


class Form(NamedTuple):
    """How a row is read: by which function, out of which columns, as a dialogue or not."""

    read: Callable[[Mapping[str, Any], Documents, str], None]
    uses: tuple[str, ...]
    dialogue: bool = False


def form_of(row: Mapping[str, Any], column: str | None) -> Form | None:
    """How a row is read, by its columns; None if it has none that are known.

    A column without a value counts as none: tables have one in rows of another form.
    """
    if column is not None:
        return _column(column) if column in row else None
    told = {name for name, value in row.items() if value is not None}
    chat = chat_of(row)
    if chat is not None:
        return Form(_chat, (chat,), dialogue=True)
    if {"instruction", "output"} <= told:
        return Form(_alpaca, ALPACA, dialogue=True)
    if {SOURCE, TARGET} <= told:
        return Form(_pair, (TARGET, SOURCE))
    return _column(TEXT) if TEXT in row else None


def chat_of(row: Mapping[str, Any]) -> str | None:
    """The column of a dialogue: the first that has a value, if one has."""
    return next((name for name in CHATS if row.get(name) is not None), None)


def label_of(value: Any) -> Any:
    """A label; None where there is none: nothing, an empty text, or what is not equal to itself.

    Example:
        >>> [label_of(value) for value in ("a", 0, "", float("nan"))]
        ['a', 0, None, None]
    """
    return None if value is None or value == "" or value != value else value


def _column(column: str) -> Form:
    def read(row: Mapping[str, Any], documents: Documents, name: str) -> None:
        label = row.get(LABEL) if column != LABEL else None
        documents.add(_text(row[column]), name, label=label_of(label))

    return Form(read, (column, LABEL))


def _pair(row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.add(_text(row[TARGET]), name, source=_text(row[SOURCE]))


def _chat(row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.add(roles.dialogue(row[chat_of(row) or CHATS[0]]), name)


def _alpaca(row: Mapping[str, Any], documents: Documents, name: str) -> None:
    documents.add(roles.instruction(row), name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"holds {'null' if value is None else type(value).__name__}, not text")
    return value
