"""`.npz` and `.zip` files written as their content comes: whole or not at all, in little room."""

import shutil
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from likewise.core.errors import UsageError, must
from likewise.store.files import whole

CHUNK = 4096
Rows = tuple[npt.NDArray[Any], dict[str, Sequence[Any]]]


@contextmanager
def new_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip that takes its name only when it is whole; what fails or is stopped leaves nothing.

    Raises:
        UsageError: there is a file of that name already.
    """
    if path.exists():
        remedy = "Nothing is replaced: name another."
        raise UsageError(must("the file to write", "new", str(path), remedy))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, zipfile.ZipFile(part, "w") as archive:
        yield archive


def write_npz(path: Path, n: int, parts: Iterable[Rows]) -> None:
    """Write arrays of n rows into a `.npz`, part by part, as `numpy.load` reads it.

    Args:
        path: of the new file.
        n: how many rows there are in all.
        parts: (rows, {name: a word for each row}) in order, together n rows of one shape and
            type; the rows become the array `x`, and each name an array of words ("" for None).

    Raises:
        UsageError: the file is there already.
    """
    words: dict[str, _Words] = {}
    with new_zip(path) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            for number, (rows, named) in enumerate(parts):
                if not number:
                    _header(file, rows.dtype, (n, *rows.shape[1:]))
                file.write(np.ascontiguousarray(rows).tobytes())
                for name, values in named.items():
                    words.setdefault(name, _Words()).add(values)
        for name, column in words.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                column.write(file)


def add_files(archive: zipfile.ZipFile, folder: Path) -> None:
    """Move every file of a folder into a zip under its path in there; the folder is emptied."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        archive.write(path, path.relative_to(folder).as_posix())
    shutil.rmtree(folder)


class _Words:
    """A column of words of which few are different: a number of four bytes for each."""

    def __init__(self) -> None:
        self.codes = array("i")
        self.known: dict[str, int] = {}

    def add(self, values: Sequence[Any]) -> None:
        words = ("" if value is None else str(value) for value in values)
        self.codes.extend(self.known.setdefault(word, len(self.known)) for word in words)

    def write(self, file: IO[bytes]) -> None:
        names = np.array(list(self.known))
        _header(file, names.dtype, (len(self.codes),))
        for first in range(0, len(self.codes), CHUNK):
            file.write(names[self.codes[first : first + CHUNK]].tobytes())


def _header(file: IO[bytes], kind: np.dtype[Any], shape: tuple[int, ...]) -> None:
    facts = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
