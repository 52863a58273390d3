"""From whatever was brought to Records: a path, a list of texts, texts with labels."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.errors import DataError, UsageError, must
from likewise.core.paths import brought
from likewise.core.records import Records, Skipped
from likewise.core.text import printable
from likewise.domains.text import files, json_files, rows, tables, token_files
from likewise.domains.text.decode import BinaryError, encoding_of, lines, pieces
from likewise.domains.text.documents import Documents
from likewise.domains.text.files import ACCEPTED, ROWS, SUFFIXES, TABLES, kind, missing, opened
from likewise.domains.text.messages import sayable
from likewise.domains.text.options import Options, unused
from likewise.domains.text.passages import records_of

MAX_JSON = 1 << 28  # characters of a JSON file that is not JSONL


def load(data: Any, given: Mapping[str, Any]) -> Records:
    """Records of texts; see `Text.load`."""
    options = Options.parse(given)
    documents = Documents(options.unit)
    records = _load(data, documents, options)
    kind, by_place = records.facts["tokenizer"], records.facts["by_place"]
    idle = unused(options, documents.counts, by_place=by_place, kind=kind)
    return replace(records, notes=(*records.notes, *idle)) if idle else records


def _load(data: Any, documents: Documents, options: Options) -> Records:
    if isinstance(data, (str, os.PathLike)):
        path = brought(data)
        if not path.exists():
            raise DataError(missing(path))
        origin = printable(str(path))
        if path.is_dir():
            if token_files.parts(path):
                options = _tokens(path, documents, options)
            else:
                _folder(path, documents, options)
            return records_of(documents, options, f"folder '{origin}'", origin)
        _file(path, printable(path.name), documents, options)
        return records_of(documents, options, f"file '{origin}'", origin)
    _texts(data, documents)
    return records_of(documents, options, "the list of texts", "texts")


def _folder(root: Path, documents: Documents, options: Options) -> None:
    """Every text below a folder; folders or files train, valid and test are a split."""
    found = list(files.walk(root, documents.skipped))
    if not found and not documents.skipped:
        raise DataError(f"folder '{root}' holds no files. Bring {ACCEPTED}.")
    plain = [path for _, path in found if kind(path) not in (*ROWS, *TABLES)]
    known = [path for path in plain if kind(path) in SUFFIXES]
    if documents.unit == "auto" and len(known or plain) > 1:
        documents.unit = "file"
    given = files.parts_of(found)
    lacking: list[UsageError] = []
    for name, path in found:
        documents.latest = given.get(name, "")
        read, told = len(documents), len(documents.skipped)
        try:
            _file(path, name, documents, options)
        except (DataError, UsageError) as error:
            if len(documents) == read:  # what it says holds for all of its rows
                del documents.skipped[told:]
            documents.skipped.append(Skipped(name, printable(str(error))))
            lacking += [error] if isinstance(error, UsageError) else []
        if (len(documents), len(documents.skipped)) == (read, told):
            documents.skipped.append(Skipped(name, "is empty"))
    documents.latest = ""
    _tell(found, documents, lacking)


def _tell(found: list[tuple[str, Path]], documents: Documents, lacking: list[UsageError]) -> None:
    """Refuse a column that no file has, and note what was taken for text by its bytes alone."""
    left_out = {one.what for one in documents.skipped}
    held = [kind(path) in (*ROWS, *TABLES) and name not in left_out for name, path in found]
    if lacking and not any(held):
        raise lacking[0]
    endings = (*SUFFIXES, *ROWS, *TABLES)
    strange = [n for n, path in found if kind(path) not in endings and n not in left_out]
    if strange:
        few = ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
        documents.notes.append(f"{len(strange):,} files of no known ending hold text: {few}.")


def _tokens(root: Path, documents: Documents, options: Options) -> Options:
    """A folder of files of tokens, each a part; what else is in it stays unread, and is told.

    Returns:
        the options, with the tokenizer of the folder where none was asked for.
    """
    bins = token_files.parts(root)
    tokenizer = token_files.tokenizer_of(root, options.tokenizer)
    for path, part in bins:
        documents.latest = part if len(bins) > 1 else ""
        _file(path, path.name, documents, replace(options, tokenizer=tokenizer))
    documents.latest = ""
    read = {*(path for path, _ in bins), Path(tokenizer)}
    why = f"stands beside {bins[0][0].name}, which holds the tokens of this data"
    others = sorted(path for path in root.iterdir() if path not in read and path.name[0] != ".")
    documents.skipped += [Skipped(printable(path.name), why) for path in others]
    auto = options.tokenizer == "auto"
    return replace(options, tokenizer=tokenizer) if auto else options


def _file(path: Path, name: str, documents: Documents, options: Options) -> None:
    """One file, by its ending; DataError if it cannot be read."""
    if not path.is_file():
        raise DataError(must(f"'{path}'", "a file or a folder", "a pipe, a socket or a device"))
    if kind(path) == token_files.ENDING:
        for number, text in enumerate(token_files.texts(path, options.tokenizer)):
            documents.add(text, f"{name}#{number}")
        return
    parts = _parts(path, name, documents, options)
    documents.counts["files"] += 1
    documents.counts["rows" if kind(path) in (*ROWS, *TABLES) else "plain"] += 1
    if kind(path) in (*ROWS, *TABLES):
        _rows(path, name, parts, documents, options)
    else:
        documents.text(parts, name)


def _rows(
    path: Path, name: str, parts: Iterator[str], documents: Documents, options: Options
) -> None:
    """The rows of a file, each a document."""
    ending, what = kind(path), f"file '{printable(str(path))}'"
    if ending == ".json":
        text = "".join(parts)
        if len(text) > MAX_JSON:
            raise DataError(f"{what} is larger than {MAX_JSON >> 20} MiB. Write it as JSONL.")
        found = json_files.json_whole(text, name, documents, options.column)
    elif ending in ROWS:
        found = json_files.json_lines(lines(parts), name, documents)
    else:
        found = tables.table(lines(parts), name, "\t" if ending == ".tsv" else ",", documents)
    if options.column is None:
        found = sayable(found, name, documents.skipped)
    rows.take(found, documents, options.column, what)


def _parts(path: Path, name: str, documents: Documents, options: Options) -> Iterator[str]:
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
            if not encoding.startswith("utf")
            else f"{name} was read as {encoding}."
        )
    return pieces(open_it, encoding, documents.counts, f"file '{path}'")


def _texts(data: Any, documents: Documents) -> None:
    """What Python code brings: texts, or (texts, labels)."""
    labels: Any = None
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], str):
        data, labels = data
    if isinstance(data, np.ndarray) and data.dtype.kind in "UO":
        data = data.tolist()
    if not isinstance(data, (list, tuple)):
        remedy = "Make a list of it, if it is one of strings: list(texts)."
        raise DataError(must("texts", f"{ACCEPTED}, or a list of strings", type(data), remedy))
    for number, (text, label) in enumerate(zip(data, _labels(labels, len(data)), strict=True)):
        if not isinstance(text, str):
            raise DataError(must(f"text {number} of the list", "a string", type(text).__name__))
        documents.add(text, str(number), label=rows.label_of(label))


def _labels(labels: Any, count: int) -> list[Any]:
    """A label for each of so many texts; None if it has none."""
    if labels is None:
        return [None] * count
    if not isinstance(labels, Iterable) or getattr(labels, "ndim", 1) != 1:
        what = f"a list of one for each of {count} texts"
        raise DataError(must("labels", what, type(labels).__name__))
    found = list(labels)
    if len(found) != count:
        raise DataError(must("labels", f"one for each of {count} texts", len(found)))
    return found
