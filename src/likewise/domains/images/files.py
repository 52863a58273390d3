"""Folders and archives of pictures: their names and bytes, within limits, never unpacked to disk.

Nothing that a file says of its own size is believed before it is checked against a limit.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import TracebackType
from typing import Protocol, TypeVar

from likewise.core.errors import DataError
from likewise.core.records import Skipped
from likewise.domains.images.pictures import UnreadableError

In = TypeVar("In")
Out = TypeVar("Out")

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")
MAX_FILE = 1 << 28
MAX_UNPACKED = 1 << 34
MAX_RATIO = 200  # a picture is packed already; what unpacks further than this is no picture
RATIO_FROM = 1 << 20  # below this many bytes a high ratio harms nobody
ENCRYPTED = 0x1


class Files(Protocol):
    """A named set of files."""

    what: str
    names: list[str]
    skipped: list[Skipped]

    def read(self, name: str) -> bytes:
        """The bytes of one file; UnreadableError if it is beyond a limit."""
        ...

    def fingerprint(self) -> str:
        """A hash of every name, size and content."""
        ...


class Folder:
    """The files below a folder, links to other folders not followed; or one single file.

    Args:
        root: the folder.
        only: the name of the one file to read, if not all of them.
    """

    def __init__(self, root: Path, only: str | None = None) -> None:
        self.root = root
        self.what = f"file '{root / only}'" if only else f"folder '{root}'"
        self.names = [only] if only else sorted(_walk(root))
        self.skipped: list[Skipped] = []

    def read(self, name: str) -> bytes:
        """The bytes of one file; UnreadableError if it is beyond a limit or cannot be opened."""
        path = self.root / name
        try:
            if path.stat().st_size > MAX_FILE:
                raise UnreadableError(f"is larger than {MAX_FILE >> 20} MiB")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableError(f"cannot be opened ({error.strerror})") from error

    def fingerprint(self) -> str:
        """A hash of every name, size and content."""
        digest = hashlib.blake2b(digest_size=16)
        for name, content in zip(self.names, threaded(self._hash, self.names), strict=True):
            digest.update(f"{name}\x1f{content}\x1e".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _hash(self, name: str) -> str:
        try:
            data = self.read(name)
        except UnreadableError as error:
            return str(error)
        return f"{len(data)} {hashlib.blake2b(data, digest_size=16).hexdigest()}"


class Archive:
    """The files in a zip, read in memory one at a time; use it as a context.

    Raises:
        DataError: it is no zip, or it unpacks to more than `MAX_UNPACKED`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.what = f"archive '{path}'"
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{self.what} cannot be read as a zip ({error}).") from error
        self.skipped: list[Skipped] = []
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in self.zip.infolist():
            name = info.filename
            if info.is_dir() or ignored(name):
                continue
            if why := _refuse(info):
                self.skipped.append(Skipped(name, why))
            else:
                self.members[name] = info
        self.names = sorted(self.members)
        unpacked = sum(info.file_size for info in self.members.values())
        if unpacked > MAX_UNPACKED:
            self.zip.close()
            raise DataError(
                f"{self.what} would unpack to {unpacked / 2**30:.0f} GiB; at most "
                f"{MAX_UNPACKED / 2**30:.0f} GiB are read. Unpack it and bring a part of it."
            )

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.zip.close()

    def read(self, name: str) -> bytes:
        """The bytes of one file: never more than the checked size that the archive states."""
        try:
            return self.zip.read(self.members[name])
        except Exception as error:  # damaged archives fail in many ways, all about one member
            raise UnreadableError("cannot be unpacked from the archive") from error

    def fingerprint(self) -> str:
        """A hash of the whole archive."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()


def threaded(function: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """`function` of each item, in order, on threads: decoding leaves Python's lock."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def ignored(name: str) -> bool:
    """Whether a file is of no interest to anyone: hidden, or left by an operating system."""
    return any(
        (part.startswith(".") and part != "..") or part in IGNORED
        for part in PurePosixPath(name).parts
    )


def _walk(root: Path) -> Iterable[str]:
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not ignored(name)]
        for name in files:
            if not ignored(name):
                yield (Path(place) / name).relative_to(root).as_posix()


def _refuse(info: zipfile.ZipInfo) -> str | None:
    """Why a member of an archive is not read, or None."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(info.filename).anchor:
        return "has a name that leads out of the archive"
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.file_size > MAX_FILE:
        return f"is larger than {MAX_FILE >> 20} MiB"
    if info.file_size > max(RATIO_FROM, MAX_RATIO * info.compress_size):
        return f"unpacks to more than {MAX_RATIO} times its packed size"
    return None
