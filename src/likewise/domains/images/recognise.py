"""How sure it is that something is pictures, from a glance: names and shapes, no pixels."""

import os
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from likewise.core.contract import Guess
from likewise.domains.images.archives import TARS
from likewise.domains.images.arrays import LABELS
from likewise.domains.images.files import SUFFIXES, ignored, walk
from likewise.domains.images.idx import is_idx
from likewise.domains.images.metadata import TABLES
from likewise.domains.images.read import BUILT_IN

GLANCE = 2000  # files looked at
NOT = Guess(0.0, "neither a path nor an array nor a list of pictures")


def recognises(data: Any) -> Guess:
    """See `Images.recognises`."""
    if isinstance(data, str) and data in BUILT_IN:
        return Guess(1.0, f"{data!r} is a built-in set of pictures")
    try:
        if isinstance(data, (str, os.PathLike)):
            return _path(Path(data).expanduser())
        return _values(data)
    except Exception as error:  # a glance at anything must not fail
        return Guess(0.0, f"it cannot be looked at ({error})")


def _path(path: Path) -> Guess:
    suffix = path.suffix.lower()
    if path.is_dir():
        return _names((name for name, found in walk(path) if found is not None), "folder")
    if not path.is_file():
        return Guess(0.0, "there is no such file")
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return _names(archive.namelist(), "archive")
    if is_idx(path.name):
        return Guess(0.95, "a file named as IDX files are")
    if path.name.lower().endswith(TARS):
        return _tar(path)
    if suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return _npz(archive)
    if suffix == ".npy":
        return _shape(np.load(path, mmap_mode="r", allow_pickle=False))
    if suffix in SUFFIXES:
        return Guess(0.95, f"a file ending in {suffix}")
    return Guess(0.0, f"a file ending in {suffix!r} is no picture")


def _names(names: Iterable[str], what: str) -> Guess:
    paths = [
        PurePosixPath(name)
        for name in islice(names, GLANCE)
        if not ignored(name) and not name.endswith("/")
    ]
    own = {p for p in paths if p.suffix.lower() in SUFFIXES or is_idx(p.name)}
    stems = {path.with_suffix("") for path in own}
    beside = {p for p in paths if p.name in TABLES or p.with_suffix("") in stems} - own
    count = len(paths) - len(beside)
    share = len(own) / count if count else 0.0
    return Guess(0.95 * share, f"{len(own)} of {count} files in the {what} are pictures")


def _tar(path: Path) -> Guess:
    try:
        with tarfile.open(path, mode="r:") as tar:
            return _names((info.name for info in tar if info.isfile()), "archive")
    except tarfile.ReadError:  # it is packed, and how far it unpacks is not known
        return Guess(0.5, "a packed archive, which is looked into when it is read")


def _npz(archive: zipfile.ZipFile) -> Guess:
    """The best guess of its arrays, from their headers."""
    guesses = []
    for info in islice(archive.infolist(), 64):
        with archive.open(info) as file:
            version = np.lib.format.read_magic(file)
            one, two = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
            shape, _, kind = (one if version == (1, 0) else two)(file)
            if info.filename.removesuffix(".npy").lower() not in LABELS:
                guesses.append(_of_shape(shape, kind))
    return max(guesses, default=Guess(0.0, "it holds no arrays"))


def _values(data: Any) -> Guess:
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[0], "__len__"):
        return recognises(data[0]) if not isinstance(data[0], str) else NOT
    if isinstance(data, Mapping):
        return max((_values(value) for value in data.values()), default=NOT)
    if isinstance(data, (list, tuple)) and data:
        if all(hasattr(one, "getbands") for one in data):
            return Guess(0.98, "a list of Pillow's pictures")
        if all(hasattr(one, "shape") for one in data):
            return _of_shape((len(data), *data[0].shape), data[0].dtype)
        return NOT
    if hasattr(data, "getbands"):
        return Guess(0.95, "one of Pillow's pictures")
    return _shape(data) if hasattr(data, "shape") and hasattr(data, "dtype") else NOT


def _shape(array: Any) -> Guess:
    return _of_shape(tuple(array.shape), array.dtype)


def _of_shape(shape: tuple[int, ...], kind: Any) -> Guess:
    """Pictures have four axes, or three: then so may a set of series, unless it is of bytes."""
    if len(shape) == 4 and (shape[3] in (1, 3, 4) or shape[1] in (1, 3)):
        return Guess(0.95, f"an array of shape {shape}")
    if len(shape) == 3:
        is_bytes = str(kind).endswith("uint8")
        square = shape[1] == shape[2]
        sure = 0.9 if is_bytes else 0.7 if square else 0.3
        return Guess(sure, f"an array of shape {shape} and type {kind}")
    return Guess(0.0, f"an array of shape {shape} is no set of pictures")
