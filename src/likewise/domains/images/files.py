"""Folders of pictures: their names and bytes, within limits, and nothing outside them.

Nothing that a file says of its own size is believed before it is checked against a limit, and
what is passed over or cannot be opened is told.
"""

import errno
import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from likewise.core.machine import cores
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
TELL_AFTER = 1024  # files between two looks at the clock
TELL_EVERY = 5.0  # seconds between two words on how far a long listing has come
PASSING = "cannot be read just now"
"""How a reason begins that may be gone the next time: nothing of it is kept."""
LASTING = (errno.EACCES, errno.EPERM, errno.ELOOP)  # a change of these changes a file's stamp
CHANGED = "changed while the folder was read: read it again when nothing writes to it"
NO_FILE = "is a pipe, a socket or a device, not a file"
LOG = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""The bytes of a file, and when it and when its entry were changed, in nanoseconds."""
FRESH = 2_000_000_000  # nanoseconds in which the times of a file may not tell a change


class Files(Protocol):
    """A named set of files.

    `names` may be set to fewer, and `passed` counts what was hidden or a system's own.
    """

    what: str
    names: list[str]
    skipped: list[Skipped]
    passed: int

    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of one file; UnreadableError if it has more than `most` (or MAX_FILE)."""
        ...

    def reopen(self) -> None:
        """Open anew what a process that was just forked cannot share with its parent."""
        ...

    def fingerprint(self) -> str:
        """A hash that differs whenever any of `names` reads differently."""
        ...


class Folder:
    """The files below a folder; or one single file.

    Links are followed to files within the folder, and to nothing else.

    Args:
        root: the folder.
        only: the name of the one file to read, if not all of them.
    """

    def __init__(self, root: Path, only: str | None = None) -> None:
        self.root, self.only = root, only
        self.what = f"file '{root / only}'" if only else f"folder '{root}'"
        self.skipped: list[Skipped] = []
        self.passed = 0
        self._stamps: dict[str, Stamp] = {}
        if only is None:
            self._list()
        self.names = [only] if only else sorted(self._stamps)

    def _list(self) -> None:
        """Walk the folder, one entry at a time, and say how far it has come if it takes long."""
        started = told = time.monotonic()
        for number, (name, found) in enumerate(walk(self.root), 1):
            if isinstance(found, tuple):
                self._stamps[name] = found
            elif found is None:
                self.passed += 1
            else:
                self.skipped.append(Skipped(name, found))
            if number % TELL_AFTER == 0 and (now := time.monotonic()) - told > TELL_EVERY:
                told = now
                count, seconds = len(self._stamps), now - started
                LOG.info("%s: %d files listed in %.0f s", self.what, count, seconds)

    def read(self, name: str, most: int | None = None) -> bytes:
        """The bytes of one file; UnreadableError if it is beyond a limit or cannot be opened."""
        try:
            # Not to wait for ever at a pipe that was put where a file stood.
            path = os.path.join(self.root, name)
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(number, "rb") as file:
                now = os.fstat(number)
                if not stat.S_ISREG(now.st_mode):
                    raise UnreadableError(NO_FILE)
                check_size(now.st_size, most)
                if self._stamps.get(name, _stamp(now)) != _stamp(now):
                    raise UnreadableError(CHANGED)
                data = file.read(now.st_size + 1)
        except FileNotFoundError as error:
            raise UnreadableError("vanished while the folder was read") from error
        except OSError as error:
            how = "cannot be opened" if error.errno in LASTING else PASSING
            raise UnreadableError(f"{how} ({error.strerror})") from error
        if len(data) != now.st_size:
            raise UnreadableError(CHANGED)
        return data

    def reopen(self) -> None:
        """Nothing is open."""

    def fingerprint(self) -> str:
        """A hash of the folder's place and of every one of `names`, its size and its times.

        A file is known by its size and by when it and its entry were last changed, so that no
        byte need be read. Clocks of files tick in milliseconds: of one that was changed just
        now, and might be again within the same tick, the content counts.
        """
        digest = hashlib.blake2b(os.fsencode(os.path.realpath(self.root)), digest_size=16)
        unknown = (0, 0, time.time_ns())
        stamps = np.array([self._stamps.get(name, unknown) for name in self.names], np.int64)
        stamps = stamps.reshape(-1, 3)  # of no names, too
        fresh = np.flatnonzero(stamps.max(axis=1) >= unknown[2] - FRESH)
        stamps[fresh] = 0
        hashes = [self._hash(self.names[row]) for row in fresh.tolist()]
        for text in ("\0".join(self.names), "\0".join(hashes)):  # no name holds a zero
            digest.update(os.fsencode(text) + b"\0\0")
        digest.update(stamps.tobytes())
        return digest.hexdigest()

    def _hash(self, name: str) -> str:
        try:
            data = self.read(name)
        except UnreadableError as error:
            return str(error)
        return f"{len(data)} {hashlib.blake2b(data, digest_size=16).hexdigest()}"


def check_size(size: int, most: int | None = None) -> None:
    """UnreadableError if a file has more than `most` bytes (or MAX_FILE)."""
    limit = MAX_FILE if most is None else most
    if size > limit:
        text = next(
            (f"{limit >> by} {unit}" for by, unit in ((20, "MiB"), (10, "KiB")) if limit >> by),
            f"{limit} bytes",
        )
        raise UnreadableError(f"is larger than {text}")


def threaded(function: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """`function` of each item, in order, on threads: decoding leaves Python's lock."""
    with ThreadPoolExecutor(max_workers=min(8, cores())) as pool:
        return list(pool.map(function, items))


def ignored(name: str) -> bool:
    """Whether a file is of no interest to anyone: hidden, or left by an operating system."""
    return any(
        (part.startswith(".") and part not in (".", "..")) or part in IGNORED
        for part in name.split("/")
    )


def walk(root: Path) -> Iterator[tuple[str, Stamp | str | None]]:
    """Everything below a folder, as it is met: a name with "/" between its parts, and

    a Stamp if it is a file to read; a text, why it is left out; or None if it is ignored.
    """
    real = os.path.realpath(root)
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            with _entries(root / place) as entries:
                for entry in entries:
                    name = place + entry.name
                    if entry.name[0] == "." or entry.name in IGNORED:
                        yield name, None
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(name + "/")
                    else:
                        yield name, _look(entry, root / name if entry.is_symlink() else None, real)
        except OSError as error:
            # The folder itself must be there; what is below it may be closed or gone.
            yield place or ".", f"is a folder that cannot be opened ({error.strerror})"


@contextmanager
def _entries(folder: Path) -> Iterator[Iterator["os.DirEntry[str]"]]:
    """What is in a folder, opened once: to look a file up below it is then a short way."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(number) as entries:
            yield entries
    finally:
        os.close(number)


def _look(entry: "os.DirEntry[str]", link: Path | None, real: str) -> Stamp | str:
    """The stamp of a file, or why this is none; `link` is the path of a symbolic link."""
    try:
        if link is not None:
            target = os.path.realpath(link, strict=True)
            if os.path.isdir(target):
                return "is a link to a folder: such links are not followed"
            if os.path.commonpath([real, target]) != real:
                return "is a link that leads out of the folder (cp -rL copies what it means)"
        found = entry.stat()
    except FileNotFoundError:
        return "vanished while it was listed" if link is None else "is a link to nothing"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads in a circle"
        return f"cannot be opened ({error.strerror})"
    return _stamp(found) if stat.S_ISREG(found.st_mode) else NO_FILE


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
