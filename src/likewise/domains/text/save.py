"""Texts to files: .txt or .jsonl, marked as made by a model, whole or not at all."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from likewise.core.errors import DataError, UsageError, must
from likewise.core.records import Records
from likewise.domains.text import roles
from likewise.store.files import whole
from likewise.store.numbered import home, stem, there, told
from likewise.store.provenance import read_mark, same_making, write_sidecar

MAX_CLASS = 80  # bytes of a class in a file name
ONE = (".txt", ".jsonl")


def save(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    """Write a .txt a record into a folder, or one file if `path` ends in .txt or .jsonl.

    A record's id is its number, in its file's name and mark (where ids are no whole numbers,
    records are numbered from 0). A file that is there already is left alone if it is that very
    sample by its mark. In one .txt, texts of one line stand one a line, others with a line of
    `---` between them. Every file has its mark beside it.

    Raises:
        DataError: there are no records.
        UsageError: `path` names a file of another kind, cannot be written, or holds a file of
            one of these numbers that is another text.
    """
    path = Path(path).expanduser()
    if not len(records):
        raise DataError(must("records to save", "at least one", 0))
    one = path.suffix.lower() in ONE
    if not one and (path.is_file() or re.fullmatch(r"\.[A-Za-z]\w{0,5}", path.suffix)):
        remedy = "Texts are written as .txt or .jsonl."
        raise UsageError(
            must("a place for texts", "a folder or end in .txt or .jsonl", str(path), remedy)
        )
    try:
        return _one(records, path, provenance) if one else _each(records, path, provenance)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written ({error.strerror}).") from error


def _one(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = {**provenance, "number": told(range(i, i + 1) for i in _numbers(records))}
    if path.suffix.lower() == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(records))
    else:
        texts = [roles.shown(item) for item in records.items]
        between = "\n---\n" if any("\n" in item for item in texts) else "\n"
        text = between.join(texts) + "\n"
    return _write(_free(path), text, mark)


def _rows(records: Records) -> list[dict[str, Any]]:
    """What a line of a .jsonl holds: messages of a dialogue, or a text, and the label."""
    rows = []
    for row, item in enumerate(records.items):
        chat = records.facts.get("roles") and item.startswith(roles.MARKS)
        content = {"messages": roles.messages(item)} if chat else {"text": roles.shown(item)}
        values = {name: some[row] for name, some in records.conditions.items()}
        rows.append({**content, **{k: v for k, v in values.items() if v is not None}})
    return rows


def _each(records: Records, folder: Path, provenance: Mapping[str, str]) -> list[Path]:
    labels = records.conditions.get("label", (None,) * len(records))
    paths = []
    for number, item, label in zip(_numbers(records), records.items, labels, strict=True):
        place = home(folder, number)
        place.mkdir(parents=True, exist_ok=True)
        mark = {**provenance, "number": str(number)}
        taken = there(folder, range(number, number + 1)).get(number)
        if taken is None:
            path = place / f"{stem(number)}{_class(label)}.txt"
            paths += _write(path, roles.shown(item), mark)
        elif same_making(read_mark(taken) or {}, mark):
            paths.append(taken)
        else:
            raise UsageError(
                f"'{taken}' is there and is not this text {number}; nothing is replaced. Texts of "
                f"another seed, model or wish need a folder of their own."
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


def _write(path: Path, text: str, mark: Mapping[str, str]) -> list[Path]:
    """A whole file and its mark, or neither: nothing goes unmarked."""
    with whole(path) as part:
        part.write_bytes(text.encode("utf-8", "replace"))
    try:
        write_sidecar(path, mark)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return [path]
