"""Where pictures are put as they are decoded: one array, in memory or in a file.

Pictures that would take more than a quarter of the memory go to a file of the cache and are
mapped: the system reads what is used and forgets it when it needs the room.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np

from likewise.core.errors import DataError
from likewise.core.machine import memory
from likewise.domains.images.pictures import Pixels, Size

SHARE = 4  # of the memory: more than one part in this many is too much for one array
PIECE = 1 << 25  # bytes that are copied at a time
Shape = tuple[int, int, int, int]


def fits(size: int) -> bool:
    """Whether an array of this many bytes is held in memory."""
    return size <= memory() // SHARE


class Canvas:
    """Takes pictures a piece at a time; use it as a context, so that a failure leaves nothing.

    Args:
        place: the folder for what does not fit in memory.
        most: how many pictures there can be.
        size: (height, width) of every one.

    Raises:
        DataError: from `add`, if there is no room on the disk.

    Example:
        >>> with Canvas(Path("."), 3, (2, 2)) as canvas:
        ...     canvas.add(np.zeros((1, 2, 2, 1), np.uint8))
        ...     canvas.add(np.ones((1, 2, 2, 3), np.uint8))
        ...     canvas.done().shape
        (2, 2, 2, 3)
    """

    def __init__(self, place: Path, most: int, size: Size) -> None:
        self.place = place
        self.most = most
        self.size = size
        self._held: _Held | None = None
        self._channels = 0

    def __enter__(self) -> "Canvas":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            self._held.close(keep=error is None)

    def add(self, pictures: Pixels) -> None:
        """Put (k, h, w, 1 or 3) after those that are there; the first in colour colours all."""
        channels = pictures.shape[3]
        if channels > self._channels:
            self._widen(channels)
        assert self._held is not None
        self._held.write(np.broadcast_to(pictures, (*pictures.shape[:3], self._channels)))

    def done(self) -> Pixels:
        """(n, h, w, c) of all that was put here."""
        if self._held is None:
            self._widen(1)
        assert self._held is not None
        return self._held.array()

    def _widen(self, channels: int) -> None:
        """Begin, or begin again with what is there in colour."""
        old, shape = self._held, (self.most, *self.size, channels)
        self._held = _Memory(shape) if fits(int(np.prod(shape))) else _File(self.place, shape)
        self._channels = channels
        if old is not None:
            try:
                for piece in pieces(old.array()):
                    self.add(piece)
            finally:
                old.close(keep=False)


def pieces(pictures: Pixels) -> Iterator[Pixels]:
    """All pictures in order, as many at a time as are read at once."""
    step = max(1, PIECE // max(1, int(np.prod(pictures.shape[1:]))))
    return (pictures[first : first + step] for first in range(0, len(pictures), step))


class _Held(Protocol):
    def write(self, pictures: Pixels) -> None: ...
    def array(self) -> Pixels: ...
    def close(self, keep: bool) -> None: ...


class _Memory:
    """One array in memory, its end unused and so not taken until it is written."""

    def __init__(self, shape: Shape) -> None:
        self._array = np.empty(shape, np.uint8)
        self._count = 0

    def write(self, pictures: Pixels) -> None:
        self._array[self._count : self._count + len(pictures)] = pictures
        self._count += len(pictures)

    def array(self) -> Pixels:
        return self._array[: self._count]

    def close(self, keep: bool) -> None:
        """Nothing is left anywhere."""


class _File:
    """An .npy file that grows; its header is set right when it is read."""

    def __init__(self, place: Path, shape: Shape) -> None:
        self._place, self._shape = place, shape
        self._count = 0
        self._file: IO[bytes] = self._tried(self._open)
        self._path = Path(self._file.name)
        self._tried(self._header)

    def _open(self) -> IO[bytes]:
        self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(self._place).free
        if free < np.prod(self._shape):
            raise DataError(
                f"{self._needed()} only {free / 2**30:.1f} GiB are free there. {_ROOM}"
            )
        return tempfile.NamedTemporaryFile(
            dir=self._place, prefix=".images-", suffix=".npy", delete=False
        )

    def _header(self) -> None:
        """It keeps its length whatever the count: numpy leaves room for the first axis to grow."""
        fields = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._shape[1:])}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, fields)
        self._file.seek(0, os.SEEK_END)
        self._file.flush()

    def write(self, pictures: Pixels) -> None:
        data = np.ascontiguousarray(pictures).data
        self._tried(lambda: self._file.write(data))
        self._count += len(pictures)

    def array(self) -> Pixels:
        self._tried(self._header)
        mapped: Pixels = np.load(self._path, mmap_mode="r") if self._count else self._none()
        return mapped

    def _none(self) -> Pixels:
        return np.empty((0, *self._shape[1:]), np.uint8)

    def close(self, keep: bool) -> None:
        with suppress(OSError):  # what was not written is not wanted either
            self._file.close()
        if not keep or not self._count:
            self._path.unlink(missing_ok=True)

    def _tried(self, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except OSError as error:
            if hasattr(self, "_path"):
                self.close(keep=False)
            raise DataError(f"{self._needed()} that failed ({error.strerror}). {_ROOM}") from error

    def _needed(self) -> str:
        count, height, width, _ = self._shape
        return (
            f"{count} pictures of {height}x{width} would take {np.prod(self._shape) / 2**30:.1f} "
            f"GiB, more than a quarter of the memory, so they are kept in '{self._place}', but"
        )


_ROOM = "Give a smaller size, such as size=32, or make LIKEWISE_CACHE a folder that has more room."
