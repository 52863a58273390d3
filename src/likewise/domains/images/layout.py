"""What folder names mean: classes, and the split that the data came with."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import normalize

from likewise.core.parts import CALLED
from likewise.store.numbered import BLOCK


class Layout(NamedTuple):
    """The label (None if it has none) and the given part ("" if none) of each file."""

    labels: tuple[str | None, ...]
    given: tuple[str, ...] | None
    notes: tuple[str, ...]


def layout(names: Sequence[str]) -> Layout:
    """Read labels and parts off relative file names.

    Folders that wrap everything are looked through; `train/`, `valid/`, `test/` are parts; the
    next folder of each is the class, and deeper ones mean nothing.

    Example:
        >>> layout(["set/train/cat/1.png", "set/train/dog/2.png", "set/test/cat/3.png"]).labels
        ('cat', 'dog', 'cat')
    """
    places = [name.rpartition("/")[0] for name in names]
    own = {place: number for number, place in enumerate(dict.fromkeys(places))}
    found = _of_folders(list(own))
    rows = [own[place] for place in places]
    given = None if found.given is None else tuple(found.given[row] for row in rows)
    return Layout(tuple(found.labels[row] for row in rows), given, found.notes)


def _of_folders(places: Sequence[str]) -> Layout:
    """The same for a file in each of some different folders: many files are in few."""
    paths = [tuple(f"{place}/file".split("/") if place else ("file",)) for place in places]
    while _wrapped(paths):
        paths = [path[1:] for path in paths]
    # Samples beyond the first ten thousand lie in folders that are no classes.
    tops = {path[0] for path in paths if len(path) > 1}
    blocks = set(filter(BLOCK.fullmatch, tops))
    if blocks:
        paths = [path[1:] if len(path) > 1 and path[0] in blocks else path for path in paths]
        tops = {path[0] for path in paths if len(path) > 1}
    parts = {CALLED[top.lower()] for top in tops if top.lower() in CALLED}
    notes: list[str] = []
    given: tuple[str, ...] | None = None
    if "train" in parts and len(tops) == sum(top.lower() in CALLED for top in tops):
        given = tuple(CALLED[path[0].lower()] if len(path) > 1 else "" for path in paths)
        paths = [path[1:] if len(path) > 1 else path for path in paths]
        notes.append(f"The folders {_list(tops)} are kept as the split that the data came with.")
    elif parts:
        notes.append(
            f"The folders {_list(tops)} were read as classes, not as a split, because a split "
            "has a folder 'train' and no folder of another kind beside it."
        )
    # The same name can be written in two ways in Unicode: é, or e and an accent.
    named = {top: normalize("NFC", top) for top in {path[0] for path in paths if len(path) > 1}}
    labels = tuple(named[path[0]] if len(path) > 1 else None for path in paths)
    return Layout(labels, given, tuple(notes))


def homeless(labels: Sequence[str | None]) -> list[str]:
    """A note on pictures that are in no class folder where others are."""
    missing = sum(label is None for label in labels)
    if not 0 < missing < len(labels):
        return []
    return [f"{missing} of {len(labels)} pictures are in no class folder: no label."]


def remarks(labels: Sequence[str | None]) -> list[str]:
    """Notes on labels that cannot steer or cannot be split."""
    counts = Counter(label for label in labels if label is not None)
    notes = []
    if len(counts) == 1:
        notes.append(f"Every label is {next(iter(counts))!r}: there is nothing to steer by.")
    alone = sorted((name for name, count in counts.items() if count == 1), key=natural)
    if alone and len(counts) > 1:
        names = _list(alone[:5]) + (" and more" if len(alone) > 5 else "")
        notes.append(
            f"{len(alone)} of {len(counts)} classes have a single picture ({names}): "
            "it cannot train, choose and test alike."
        )
    return notes


def natural(name: str) -> tuple[list[str], str]:
    """A sorting key under which "9" comes before "10"."""
    pieces = re.split(r"([0-9]+)", name.lower())
    return [piece.zfill(20) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _wrapped(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether one folder that means nothing holds everything, and only folders."""
    tops = {path[0] for path in paths}
    return (
        len(tops) == 1
        and all(len(path) > 2 for path in paths)
        and next(iter(tops)).lower() not in CALLED
    )


def _list(names: set[str] | Sequence[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names, key=natural))
