"""IDX files, as MNIST and its kin come: arrays behind a header of a few bytes, often in a gzip.

The format: two zero bytes, a byte for the type, a byte for the number of axes, the axes' lengths
as big-endian 32-bit numbers, the values in C order, big-endian too (Y. LeCun, C. Cortes, C. J. C.
Burges, "The MNIST database of handwritten digits", 1998).
"""

import gzip
import hashlib
import io
import math
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise.core.errors import DataError
from likewise.core.records import Skipped
from likewise.domains.images.arrays import Portion
from likewise.domains.images.files import Files
from likewise.domains.images.pictures import MAX_BYTES, UnreadableError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 4
PACKS = 1032  # deflate packs nothing into less than one part in this many
CHUNK = 1 << 20
PARTS = {"train": "train", "t10k": "test", "test": "test", "valid": "valid", "val": "valid"}
"""Words in a file's name, and the part that they say it is; the first that is found counts."""
_NAME = re.compile(
    r"(?P<head>.*)(?P<what>images?|labels?)[-.]idx\d([-.]\w+?)?(\.gz)?", re.IGNORECASE
)


class Found(NamedTuple):
    """What the IDX files among some files hold."""

    portions: list[Portion]
    skipped: list[Skipped]
    notes: list[str]


def is_idx(name: str) -> bool:
    """Whether a file is named as IDX files are, such as train-images-idx3-ubyte.gz."""
    return _NAME.fullmatch(PurePosixPath(name).name) is not None


def is_images(name: str) -> bool:
    """Whether it is named as one of pictures is."""
    return _what(name).startswith("image")


def with_labels(path: Path) -> list[str]:
    """The name of one file of pictures, and that of its labels if they are beside it."""
    key = _key(path.name)
    names = sorted(name for name in os.listdir(path.parent) if is_idx(name))
    beside = [name for name in names if not is_images(name) and _key(name) == key]
    return [path.name, *beside[:1]]


def gather(files: Files) -> Found:
    """Every file of pictures among some files, with the labels beside it; train comes first.

    Raises:
        DataError: a file is not whole, or is not what its name says.
    """
    found: list[Portion] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    seen: dict[str, str] = {}
    used: set[str] = set()
    for name in sorted(filter(is_images, files.names), key=_order):
        used.add(name)
        pictures = _array(files, name)
        same = seen.setdefault(_content(pictures), name)
        labels, said = _labels(files, name)
        used.update(labels[:1])
        if same != name:
            skipped.append(Skipped(name, f"holds the same as '{same}'"))
            continue
        notes += said
        values = _array(files, labels[0]) if labels else None
        found.append(Portion(_part(name), pictures, values))
    rest = [name for name in files.names if name not in used]
    skipped += [Skipped(name, "stands beside IDX files and goes with none") for name in rest]
    return Found(found, skipped, notes)


def parse(data: bytes, name: str) -> npt.NDArray[Any]:
    """The array of an IDX file, packed by gzip or not, of any of `TYPES`, with up to 4 axes.

    Raises:
        DataError: it is no IDX file, or it holds less or more than its header states; told
            before anything of the stated size is made.

    Example:
        >>> parse(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 9]), "two-labels-idx2-ubyte")
        array([[7, 9]], dtype=uint8)
    """
    packed = data.startswith(b"\x1f\x8b")
    try:
        file: Any = io.BytesIO(data)
        file = gzip.GzipFile(fileobj=file) if packed else file
        return _parse(file, len(data), packed)
    except DataError as error:
        raise DataError(f"file '{name}' {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"file '{name}' is not a whole gzip file ({error}).") from error


def _parse(file: IO[bytes], length: int, packed: bool) -> npt.NDArray[Any]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
        raise DataError(f"must begin as an IDX file does (0 0 type axes); got {list(head)}.")
    kind = np.dtype(TYPES[head[2]])
    axes = file.read(4 * head[3])
    if not 1 <= head[3] <= MAX_AXES or len(axes) != 4 * head[3]:
        raise DataError(f"must have 1 to {MAX_AXES} axes; its header says {head[3]}.")
    shape = tuple(int(n) for n in np.frombuffer(axes, ">u4"))
    size = math.prod(shape) * kind.itemsize
    states = f"states a shape {shape} of {size:,} bytes"
    if size > MAX_BYTES:
        raise DataError(f"{states}; at most {MAX_BYTES / 2**30:.0f} GiB are read.")
    there = length * PACKS if packed else length - 4 - len(axes)
    if size > there or (size < there and not packed):
        raise DataError(
            f"{states}, but holds {'at most ' * packed}{there:,}: it is cut or damaged."
        )
    values = _exactly(file, size)
    if len(values) != size:
        least = "more" if len(values) > size else f"only {len(values):,}"
        raise DataError(f"{states}, but holds {least}: it is cut or damaged.")
    array = np.frombuffer(values, kind).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


def _exactly(file: IO[bytes], size: int) -> bytearray:
    """So many bytes, fewer if there are no more, one more if there are: never beyond that."""
    values = bytearray()
    while len(values) <= size and (chunk := file.read(min(CHUNK, size + 1 - len(values)))):
        values += chunk
    return values


def _array(files: Files, name: str) -> npt.NDArray[Any]:
    try:
        data = files.read(name, most=MAX_BYTES)
    except UnreadableError as error:
        raise DataError(f"file '{name}' {error}.") from error
    return parse(data, name)


def _labels(files: Files, name: str) -> tuple[Sequence[str], list[str]]:
    """The labels beside a file of pictures, unpacked before packed; or a note: there are none."""
    key = _key(name)
    beside = sorted(n for n in files.names if is_idx(n) and not is_images(n) and _key(n) == key)
    if beside:
        return beside[:1], []
    return (), [f"No labels were found beside '{PurePosixPath(name).name}'."]


def _key(name: str) -> tuple[str, str]:
    """What a file of pictures and the file of its labels have in common."""
    path = PurePosixPath(name)
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return str(path.parent), match["head"].lower()


def _what(name: str) -> str:
    match = _NAME.fullmatch(name.rpartition("/")[2])
    return match["what"].lower() if match else ""


def _part(name: str) -> str:
    """The part of the split that a name says: "train", "valid", "test" or ""."""
    words = re.split(r"[^a-z0-9]+", PurePosixPath(name).name.lower())
    return next((PARTS[word] for word in words if word in PARTS), "")


def _order(name: str) -> tuple[int, int, str]:
    """Train first; of the same file in two places, the one that is nearer at hand."""
    return ("train", "valid", "test", "").index(_part(name)), name.count("/"), name


def _content(array: npt.NDArray[Any]) -> str:
    digest = hashlib.blake2b(repr(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
