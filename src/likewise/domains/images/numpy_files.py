"""`.npy` and `.npz` files, opened as strangers: nothing is unpickled, no stated size believed."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.core.errors import DataError, LikewiseError
from likewise.domains.images.pictures import MAX_BYTES

PICKLED = (
    "holds Python objects, which could run code when opened, so they are never opened. "
    "Save plain arrays: numbers, and labels as numbers or with .astype(str)."
)


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a `.npy` file, read from disk as it is used; DataError if damaged."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError, SyntaxError, TypeError) as error:
        if "Python objects" in str(error):
            raise DataError(f"file '{path}' {PICKLED}") from error
        raise DataError(f"file '{path}' is not a whole .npy file ({error}).") from error


def read_npz(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """The arrays of a `.npz` file by name; DataError if damaged, too large or pickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            if sum(info.file_size for info in members) > MAX_BYTES:
                limit = f"{MAX_BYTES / 2**30:.0f} GiB"
                raise DataError(f"it unpacks to more than {limit}; bring a part of it.")
            return {one.filename.removesuffix(".npy"): _member(archive, one) for one in members}
    except LikewiseError as error:
        raise DataError(f"file '{path}': {error}") from error
    except Exception as error:  # a damaged archive fails in many ways
        raise DataError(f"file '{path}' is not a whole .npz file ({error}).") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """One array, after its header was held against the size that is really there."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, kind = np.lib.format.read_array_header_2_0(file)
        else:
            raise DataError(f"array {info.filename!r} is of an unknown format {version}.")
    if kind.hasobject:
        raise DataError(f"array {info.filename!r} {PICKLED}")
    if math.prod(shape) * kind.itemsize > info.file_size:
        raise DataError(f"array {info.filename!r} states a shape {shape} that it does not hold.")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
