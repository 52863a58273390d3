"""What the columns beside pictures mean: which one steers, which is the caption, which are kept.

A condition is kept as text, whole numbers or truth, one value a picture, None where it is missing.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from likewise.core.errors import DataError, UsageError, must, nearest
from likewise.core.records import Skipped
from likewise.core.text import printable
from likewise.domains.images.files import Files
from likewise.domains.images.layout import natural
from likewise.domains.images.metadata import Beside, captions, some

LABEL, CAPTION = "label", "caption"
LABELS = (LABEL, "class", "category")
CAPTIONS = (CAPTION, "text", "prompt")
"""Columns that are read as label and as caption without being asked for; the first counts."""
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.0+)?")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTH = {"true": True, "false": False}

Values = tuple[Any, ...]
Labels = tuple[str | None, ...]


class Meaning(NamedTuple):
    """What steers (None: no column does), what else is known, and what happened on the way."""

    labels: Labels | None
    conditions: Mapping[str, Values]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def understand(
    beside: Beside, files: Files, names: Sequence[str], folders: Labels, wanted: str | None
) -> Meaning:
    """What stands beside some pictures, as conditions.

    Args:
        beside: as `metadata.gather` found it.
        files: to read captions from.
        names: of the pictures, in the order that the conditions are wanted in.
        folders: the class of each by its folder, to compare with.
        wanted: the column that should steer, if the user named one; `check` comes first.

    Raises:
        DataError: the column `wanted` holds no classes.
    """
    if not beside.tables and not beside.texts:
        return Meaning(None, {}, (), beside.notes)
    columns = beside.columns()
    values = {name: beside.values(name, names) for name in columns}
    kept = {name: found for name in columns if (found := plain(values[name])) is not None}
    if wanted is not None and wanted not in kept:
        first = next(v for v in values[wanted] if v is not None and plain([v]) is None)
        what = f"the column '{wanted}', which should steer,"
        raise DataError(must(what, "of classes: names, whole numbers or true and false", first))
    label = wanted or _first(kept, LABELS)
    caption = _first({name: found for name, found in kept.items() if name != label}, CAPTIONS)
    notes = list(beside.notes) + _about_rows(beside, names) + _about_lost(set(columns) - set(kept))
    labels = None
    if label is not None:
        labels = tuple(None if value is None else _label(value) for value in kept[label])
        notes += _about_labels(label, labels, folders, names)
    texts, skipped = captions(files, [beside.texts.get(name) for name in names])
    conditions: dict[str, Values] = {}
    told = values[caption] if caption is not None else [None] * len(names)
    told = [text if one is None else str(one) for one, text in zip(told, texts, strict=True)]
    if any(told):
        conditions[CAPTION] = tuple(told)
        notes += _missing(told, "caption")
    for name, found in kept.items():
        if name not in (label, caption) and any(value is not None for value in found):
            taken = name in (LABEL, CAPTION)
            conditions[f"{name} (column)" if taken else printable(name)] = found
    return Meaning(labels, conditions, tuple(skipped), tuple(notes))


def filled(
    labels: Labels | None, folders: Labels, listed: Sequence[bool]
) -> tuple[Labels, list[str]]:
    """Labels of a column, and those of folders for pictures that no table lists.

    Only where both name the same classes: other folders mean something else.

    Example:
        >>> filled(("cat", None, None), ("cat", "dog", "cat"), (True, True, False))[0]
        ('cat', None, 'cat')
    """
    if labels is None:
        return folders, []
    known = {label for label in labels if label is not None}
    if not known & set(folders):
        return labels, []
    both = [
        label if there or folder not in known else folder
        for label, folder, there in zip(labels, folders, listed, strict=True)
    ]
    count = sum(a != b for a, b in zip(labels, both, strict=True))
    notes = [f"{count} pictures without a row have the label of their folder."] if count else []
    return tuple(both), notes


def check(beside: Beside, wanted: str | None) -> None:
    """UsageError if there is no column of the name that the user gave."""
    columns = beside.columns()
    if wanted is None or wanted in columns:
        return
    if not columns:
        raise UsageError(
            f"label={wanted} names a column, but no metadata.csv or metadata.jsonl beside the "
            "pictures has any."
        )
    raise UsageError(f"label={wanted} names no column; {nearest(wanted, columns)}.")


def plain(values: Sequence[Any]) -> Values | None:
    """The values of a column as text, whole numbers or truth; None if they are none of these.

    Example:
        >>> plain(["3", None, "12.0"]), plain(["3", "x"]), plain(["0.5", "2"]), plain([[1], [2]])
        ((3, None, 12), ('3', 'x'), None, None)
    """
    there = [value for value in values if value is not None]
    if not all(isinstance(value, (str, int, float)) for value in there):
        return None
    words = {value: str(value).lower() for value in there}
    if all(word in _TRUTH for word in words.values()):
        return tuple(None if value is None else _TRUTH[words[value]] for value in values)
    if all(_WHOLE.fullmatch(word) for word in words.values()):
        whole = {value: int(word.partition(".")[0]) for value, word in words.items()}
        return tuple(None if value is None else whole[value] for value in values)
    # "007" is a name: nobody writes a number so.
    decimal = all(_DECIMAL.fullmatch(word) for word in words.values())
    if decimal and not all(word.isdigit() for word in words.values()):
        return None
    return tuple(None if value is None else str(value) for value in values)


def _first(kept: Mapping[str, Values], names: Sequence[str]) -> str | None:
    """The column of one of these names, in whatever case, that holds anything."""
    lower: dict[str, str] = {}
    for name, values in kept.items():
        if any(value is not None for value in values):
            lower.setdefault(name.lower(), name)
    return next((lower[name] for name in names if name in lower), None)


def _label(value: Any) -> str:
    return unicodedata.normalize("NFC", printable(str(value)))


def _about_rows(beside: Beside, names: Sequence[str]) -> list[str]:
    without = [printable(name) for name in names if name not in beside.row]
    if not beside.tables or not without:
        return []
    clause = some(without, len(without))
    return [f"{len(without)} of {len(names)} pictures have no row in the metadata {clause}."]


def _about_lost(lost: set[str]) -> list[str]:
    if not lost:
        return []
    columns = ", ".join(repr(printable(name)) for name in sorted(lost))
    return [
        f"Columns that hold neither text nor whole numbers nor truth were left out: {columns}."
    ]


def _about_labels(column: str, labels: Labels, folders: Labels, names: Sequence[str]) -> list[str]:
    notes = [f"Labels are those of the column '{printable(column)}'."]
    notes += _missing(labels, "label")
    classes = {label for label in folders if label is not None}
    if len(classes) < 2:  # a single folder holds pictures together and says nothing of them
        return notes
    if not classes & set(labels):
        clause = some(sorted(classes, key=natural), len(classes))
        return [*notes, f"The folders are other classes, which steer nothing {clause}."]
    differ = [
        f"{printable(name)} is {one} in it, {other} by its folder"
        for name, one, other in zip(names, labels, folders, strict=True)
        if None not in (one, other) and one != other
    ]
    if differ:
        clause = some(differ, len(differ))
        notes.append(
            f"The column and the folders disagree on {len(differ)} of {len(names)} pictures, "
            f"and the column counts {clause}."
        )
    return notes


def _missing(values: Sequence[Any], what: str) -> list[str]:
    missing = sum(value is None for value in values)
    return [f"{missing} of {len(values)} pictures have no {what}."] if missing else []
