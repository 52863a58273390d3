"""How sure it is that something is text, from a glance: names and a few lines, no more."""

import os
from collections.abc import Iterator, Set
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.contract import Guess
from likewise.core.errors import DataError
from likewise.domains.text.decode import HEAD, BinaryError, encoding_of
from likewise.domains.text.files import (
    OTHER,
    PICTURES,
    ROWS,
    SUFFIXES,
    TABLES,
    TEXTS,
    kind,
    opened,
)
from likewise.domains.text.rows import ALPACA, CHATS, SOURCE, TARGET, TEXT
from likewise.domains.text.token_files import ENDING, parts

GLANCE = 2000  # files of a folder that are counted by their names
LOOKED_INTO = 64  # of these, files whose names do not say what they hold
SURE = 0.2  # of a guess from which on a file of a folder counts as a text
LAST = 0.01  # of what is no text: where no other kind is surer, it is refused as none
NOT = Guess(0.0, "neither a path nor a list of texts")


def recognises(data: Any) -> Guess:
    """See `Text.recognises`."""
    try:
        if isinstance(data, (str, os.PathLike)):
            return _path(Path(data).expanduser())
        if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], str):
            return recognises(data[0])
        return _values(data)
    except DataError as error:
        return Guess(LAST, f"it {error}" if isinstance(error, BinaryError) else str(error))
    except Exception as error:  # a glance at anything must not fail
        return Guess(0.0, f"it cannot be looked at ({error})")


def _values(data: Any) -> Guess:
    """Lists and arrays that are mostly strings, so that the one that is none is named."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "UO":
        data = list(islice(data.flat, GLANCE))
    if isinstance(data, (Iterator, Set)):
        return Guess(LAST, "it can be looked at once, or has no order: it is no list")
    if not isinstance(data, (list, tuple)):
        return NOT
    some = list(islice(data, GLANCE))
    if not some:
        return Guess(LAST, "it is empty")
    strings = sum(isinstance(one, str) for one in some)
    return Guess(0.9, "a list of texts") if 2 * strings > len(some) else NOT


def _path(path: Path) -> Guess:
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        return Guess(0.0, "there is no such file")
    ending = kind(path)
    if ending in SUFFIXES:
        return Guess(0.95 if ending in TEXTS else 0.8, f"a file ending in {ending}")
    if ending in (*ROWS, *TABLES):
        return _rows(path)
    if ending == ENDING:
        return Guess(0.3, "a file ending in .bin may hold tokens")
    if ending in PICTURES:
        return Guess(0.0, f"a file ending in {ending!r} is no text")
    if ending in OTHER:
        return Guess(LAST, f"a file ending in {ending!r} is no text")
    with opened(path) as file:
        head = file.read(HEAD)
    encoding_of(lambda: BytesIO(head))
    what = f"ending in {ending!r}" if ending else "without an ending"
    return Guess(0.3, f"a file {what} that holds text")


def _folder(path: Path) -> Guess:
    """The share of a folder's files that are texts, by their names or by a look into some."""
    if parts(path):
        return Guess(0.9, "a folder of files of tokens")
    files = (Path(at) / n for at, _, names in os.walk(path) for n in names if n[0] != ".")
    some = list(islice(files, GLANCE))
    own = sum(kind(file) in (*SUFFIXES, ".jsonl", ".ndjson") for file in some)
    named = (*SUFFIXES, ".jsonl", ".ndjson", *OTHER)
    unclear = [file for file in some if kind(file) not in named]
    looked = [_holds_text(file) for file in unclear[:LOOKED_INTO]]
    own += round(sum(looked) / max(1, len(looked)) * len(unclear))
    share = own / len(some) if some else 0.0
    # Rows without a column that is known are refused best by who can say so.
    least = LAST * sum(kind(file) in (*ROWS, *TABLES) for file in some) / max(1, len(some))
    return Guess(max(0.9 * share, least), f"{own} of {len(some)} files in the folder are texts")


def _holds_text(path: Path) -> bool:
    """Whether a file of rows has a column of texts, or one of no known ending holds text."""
    try:
        return path.is_file() and _path(path).sure > SURE
    except Exception:  # one file that cannot be looked at says nothing of the others
        return False


def _rows(path: Path) -> Guess:
    """By the names of columns that stand near the beginning of a table or a list of rows."""
    with opened(path) as file:
        raw = file.read(HEAD)
    head = raw.decode(encoding_of(lambda: BytesIO(raw)), "replace").lstrip()
    if kind(path) in TABLES:
        first = head.splitlines()[0] if head else ""
        names = first.split("\t" if kind(path) == ".tsv" else ",")
        columns = {name.strip().strip('"') for name in names}
        if TEXT in columns or {SOURCE, TARGET} <= columns or {*ALPACA[:2]} <= columns:
            return Guess(0.8, "a table with a column of texts")
        return Guess(0.1, "a table without a column named text")
    named = [name for name in (TEXT, *CHATS, "instruction", TARGET) if f'"{name}"' in head]
    return Guess(0.85, f"rows with {named[0]}") if named else Guess(0.1, "rows of JSON")
