"""From whatever was brought to Records: a path, a list of texts, texts with labels."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.errors import DataError, must
from likewise.core.records import Records, Skipped
from likewise.domains.text import files, rows, token_files
from likewise.domains.text.decode import BinaryError, encoding_of, lines, pieces
from likewise.domains.text.documents import Documents
from likewise.domains.text.files import ACCEPTED, PARTS, ROWS, TABLES, kind, missing, opened
from likewise.domains.text.options import Options
from likewise.domains.text.passages import records_of

MAX_JSON = 1 << 28  # characters of a JSON file that is not JSONL


def load(data: Any, given: Mapping[str, Any]) -> Records:
    """Records of texts; see `Text.load`."""
    options = Options.parse(given)
    documents = Documents(options.unit)
    if isinstance(data, (str, os.PathLike)):
        path = Path(data).expanduser()
        if not path.exists():
            raise DataError(missing(path))
        if path.is_dir():
            _folder(path, documents, options)
            return records_of(documents, options, f"folder '{path}'", str(path))
        _file(path, path.name, documents, options)
        return records_of(documents, options, f"file '{path}'", str(path))
    _texts(data, documents)
    return records_of(documents, options, "the list of texts", "texts")


def _folder(root: Path, documents: Documents, options: Options) -> None:
    """Every text below a folder; folders train/, valid/ and test/ are a split."""
    found = list(files.walk(root, documents.skipped))
    if not found and not documents.skipped:
        raise DataError(f"folder '{root}' holds no files. Bring {ACCEPTED}.")
    if documents.unit == "auto" and len(found) > 1:
        documents.unit = "file"
    tops = {name.split("/")[0].lower() for name, _ in found if "/" in name}
    split = {PARTS[top] for top in tops if top in PARTS}
    for name, path in found:
        top = name.split("/")[0].lower()
        documents.latest = PARTS.get(top, "") if len(split) > 1 else ""
        try:
            _file(path, name, documents, options)
        except DataError as error:
            documents.skipped.append(Skipped(name, str(error)))
    documents.latest = ""


def _file(path: Path, name: str, documents: Documents, options: Options) -> None:
    """One file, by its ending; DataError if it cannot be read."""
    if not path.is_file():
        raise DataError(must(f"'{path}'", "a file or a folder", "a pipe, a socket or a device"))
    if kind(path) == token_files.ENDING:
        for number, text in enumerate(token_files.texts(path, options.tokenizer)):
            documents.add(text, f"{name}#{number}")
        return
    parts = _parts(path, name, documents, options)
    ending, what = kind(path), f"file '{path}'"
    if ending == ".json":
        text = "".join(parts)
        if len(text) > MAX_JSON:
            raise DataError(f"{what} is larger than {MAX_JSON >> 20} MiB. Write it as JSONL.")
        found = rows.json_whole(text, name)
    elif ending in ROWS:
        found = rows.json_lines(lines(parts), name, documents)
    elif ending in TABLES:
        every = lines(parts)
        found = rows.table(every, name, "\t" if ending == ".tsv" else ",")
    else:
        documents.text(parts, name)
        return
    rows.take(found, documents, options.column, what)


def _parts(path: Path, name: str, documents: Documents, options: Options) -> Any:
    """The clean text of a file in pieces; what its encoding is goes to the notes."""

    def open_it() -> Any:
        return opened(path)

    try:
        encoding = options.encoding or encoding_of(open_it)
    except BinaryError as error:
        raise DataError(f"'{path}' {error}. Bring {ACCEPTED}.") from error
    if encoding in ("utf-8-sig", "utf-16", "utf-32"):
        documents.counts["marks"] += 1
    if encoding not in ("utf-8", "utf-8-sig") and options.encoding is None:
        documents.notes.append(
            f"{name} is no valid UTF-8 and was read as {encoding}; encoding=NAME names another."
            if encoding in ("cp1252", "latin-1")
            else f"{name} was read as {encoding}."
        )
    return pieces(open_it, encoding, documents.counts)


def _texts(data: Any, documents: Documents) -> None:
    """What Python code brings: texts, or (texts, labels)."""
    labels: Sequence[Any] | None = None
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], str):
        data, labels = data
        labels = None if labels is None else list(labels)
    if isinstance(data, np.ndarray) and data.dtype.kind in "UO":
        data = data.tolist()
    if not isinstance(data, (list, tuple)):
        raise DataError(must("texts", f"{ACCEPTED}, or a list of strings", type(data)))
    if labels is not None and len(labels) != len(data):
        raise DataError(must("labels", f"one for each of {len(data)} texts", len(labels)))
    for number, text in enumerate(data):
        if not isinstance(text, str):
            raise DataError(must(f"text {number} of the list", "a string", type(text).__name__))
        label = None if labels is None else labels[number]
        documents.add(text, str(number), label=label)
