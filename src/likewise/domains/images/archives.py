"""Archives of pictures, zip and tar: read in memory one file at a time, within limits.

Nothing is unpacked under a name that the archive chose, and nothing that it says of sizes is
believed before it is checked against a limit. A packed tar cannot be read at any place, so it is
unpacked once into a nameless file that is gone when it is closed.
"""

import hashlib
import os
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import TracebackType
from typing import IO, Any, NoReturn

from likewise.core.errors import DataError, LikewiseError
from likewise.core.records import Skipped
from likewise.domains.images.files import check_size, ignored
from likewise.domains.images.pictures import UnreadableError

ZIPS = (".zip",)
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PACKED = (*ZIPS, *TARS, ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Endings of files that hold others."""
MAX_UNPACKED = 1 << 34
MAX_RATIO = 200  # a picture is packed already; what unpacks further than this is no picture
RATIO_FROM = 1 << 26  # below this many bytes a high ratio harms nobody
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # packings that unpack a piece at a time
ENCRYPTED, UTF8 = 0x1, 0x800  # flags of a zip's member
CHUNK = 1 << 20
TWICE = "stands in the archive more than once: the last one is read"


class Archive:
    """What zip and tar share: names, refusals, limits; use it as a context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.what = f"archive '{path}'"
        self.skipped: list[Skipped] = []
        self.passed = 0
        self.names: list[str] = []
        self.unpacked = 0
        self._open = ExitStack()  # what must be closed

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._open.close()

    def reopen(self) -> None:
        """Open anew what a process that was just forked cannot share with its parent."""

    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of one file; UnreadableError if it is beyond a limit or damaged."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A hash of every one of `names`, and of the whole archive."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "blake2b")
        digest.update("\x1e".join(self.names).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def admit(self, members: dict[str, Any], name: str, info: Any, size: int, why: str) -> None:
        """Note one member: passed over, refused (`why`), or one of `members`."""
        if ignored(name):
            self.passed += 1
        elif why := why or _outside(name):
            self.skipped.append(Skipped(name, why))
        else:
            if name in members:
                self.skipped.append(Skipped(name, TWICE))
            members[name] = info
            self.unpacked += size
            if self.unpacked > MAX_UNPACKED:
                self.close()
                _too_much(self.what)


class Zip(Archive):
    """The files in a zip.

    Raises:
        DataError: it is no zip, or it unpacks to more than `MAX_UNPACKED`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self.zip = self._open.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{self.what} cannot be read as a zip ({error}).") from error
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in self.zip.infolist():
            if not info.is_dir():
                self.admit(self.members, _name(info), info, info.file_size, _refuse(info))
        self.names = sorted(self.members)

    def reopen(self) -> None:
        """Processes that were forked share the place in an open file."""
        self.zip = self._open.enter_context(zipfile.ZipFile(self.path))

    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of one file: never more than the checked size that the archive states."""
        info = self.members[name]
        check_size(info.file_size, most)
        try:
            with self.zip.open(info) as member:  # what it states may be a lie
                return member.read(info.file_size + 1)
        except Exception as error:  # damaged archives fail in many ways, all about one member
            raise UnreadableError("cannot be unpacked from the archive") from error


class Tar(Archive):
    """The files in a tar, packed or not; links and devices in it are not followed.

    Raises:
        DataError: it is no whole tar, or it unpacks to more than `MAX_UNPACKED`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.members: dict[str, tuple[int, int]] = {}  # where each begins, and its bytes
        try:
            opener = _opener(path)
            plain: Any = tempfile.TemporaryFile if opener else partial(path.open, "rb")
            self.file: IO[bytes] = self._open.enter_context(plain())
            if opener:
                self._unpack(opener, self.file)
            self._list(self.file)
        except LikewiseError:
            self.close()
            raise
        except Exception as error:  # a damaged archive fails in many ways
            self.close()
            raise DataError(f"{self.what} cannot be read as a tar ({error}).") from error
        self.names = sorted(self.members)

    def _unpack(self, opener: Any, plain: IO[bytes]) -> None:
        """The tar without its packing, never more of it than the limit."""
        most = min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * self.path.stat().st_size))
        with opener(self.path, "rb") as packed:
            while chunk := packed.read(CHUNK):
                plain.write(chunk)
                if plain.tell() > most:
                    _too_much(self.what)
        plain.flush()
        plain.seek(0)

    def _list(self, file: IO[bytes]) -> None:
        tar: Any
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                if not info.isdir():
                    place = (info.offset_data, info.size)
                    self.admit(self.members, _relative(info.name), place, info.size, _odd(info))
                tar.members = []  # it would keep a page of facts on every member
            # A damaged header ends the listing as quietly as the empty one that stands last.
            if any(os.pread(file.fileno(), tarfile.BLOCKSIZE, tar.offset)):
                raise tarfile.ReadError(f"damaged at byte {tar.offset}")

    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of one file."""
        start, size = self.members[name]
        check_size(size, most)
        data = os.pread(self.file.fileno(), size, start)  # threads share no place in the file
        if len(data) != size:
            raise UnreadableError("is cut off at the end of the archive")
        return data


def archive(path: Path) -> Archive | None:
    """The archive at a path, by the ending of its name; None if that is of no archive."""
    name = path.name.lower()
    if name.endswith(ZIPS):
        return Zip(path)
    return Tar(path) if name.endswith(TARS) else None


def _opener(path: Path) -> Any:
    """What unpacks this file, by its first bytes; None if nothing needs to."""
    import bz2
    import gzip
    import lzma

    openers = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
    with path.open("rb") as file:
        head = file.read(6)
    return next((opener for magic, opener in openers.items() if head.startswith(magic)), None)


def _too_much(what: str) -> NoReturn:
    raise DataError(
        f"{what} would unpack to more than {MAX_UNPACKED / 2**30:.0f} GiB or to more than "
        f"{MAX_RATIO} times its size. Unpack it and bring a part of it."
    )


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name: where it is not marked as UTF-8 but is, as macOS writes it, as UTF-8."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _relative(name: str) -> str:
    """A name as tar writes it, without the "./" that `tar -C folder .` puts before it."""
    return name.removeprefix("./")


def _outside(name: str) -> str:
    """Why a member's name is refused, or ""."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).anchor:
        return "has a name that leads out of the archive"
    return ""


def _refuse(info: zipfile.ZipInfo) -> str:
    """Why a member of a zip is not read, or ""."""
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in BOUNDED:
        return "is packed in a way that is not read (only deflate is): pack it anew"
    if info.file_size > max(RATIO_FROM, MAX_RATIO * info.compress_size):
        return f"unpacks to more than {MAX_RATIO} times its packed size"
    return ""


def _odd(info: tarfile.TarInfo) -> str:
    """Why a member of a tar is not read, or ""."""
    if not info.isfile() or info.issparse():
        return "is a link, a device or a file with holes, not a plain file"
    return ""
