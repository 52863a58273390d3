"""Texts to files: .txt or .jsonl, marked as made by a model, whole or not at all."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from likewise.core.errors import DataError, UsageError, must
from likewise.core.records import Records
from likewise.domains.text import roles
from likewise.store.apiece import free, numbers, write_each
from likewise.store.files import whole
from likewise.store.numbered import told
from likewise.store.provenance import write_sidecar

ONE = (".txt", ".jsonl")


def save(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    """Write a .txt a record into a folder, or one file if `path` ends in .txt or .jsonl.

    A record's id is its number, in its file's name and mark (where ids are no whole numbers,
    records are numbered from 0). A file that is there already is left alone if it is that very
    sample by its mark. In one .txt, texts of one line stand one a line, others with a line of
    `---` between them. A .jsonl of answers or targets holds their prompts or sources too, where
    these are known. Every file has its mark beside it.

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
        if one:
            return _one(records, path, provenance)
        texts = map(roles.shown, records.items)
        return write_each(
            records, texts, path, provenance, what="text", ending=".txt", write=_write
        )
    except OSError as error:
        raise UsageError(f"'{path}' cannot be written ({error.strerror}).") from error


def _one(records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = {**provenance, "number": told(range(i, i + 1) for i in numbers(records))}
    if path.suffix.lower() == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(records))
    else:
        texts = [roles.shown(item) for item in records.items]
        between = "\n---\n" if any("\n" in item for item in texts) else "\n"
        text = between.join(texts) + "\n"
    return _write(free(path), text, mark)


def _rows(records: Records) -> list[dict[str, Any]]:
    """What a line of a .jsonl holds: messages of a dialogue, or a text, and the label.

    An answer whose prompt is known is a dialogue with it; a text with a source is its target.
    """
    rows = []
    for row, item in enumerate(records.items):
        values = {name: some[row] for name, some in records.conditions.items()}
        item = (values.pop("prompt", None) or "") + item
        chat = records.facts.get("roles") and item.startswith(roles.MARKS)
        name = "text" if values.get("source") is None else "target"
        content = {"messages": roles.messages(item)} if chat else {name: roles.shown(item)}
        rows.append({**content, **{k: v for k, v in values.items() if v is not None}})
    return rows


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
