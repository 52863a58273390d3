"""Texts as one run of UTF-8 bytes, in memory or in a file, and passages as places in it.

A corpus may be larger than memory: a passage is read when it is asked for.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, overload

import numpy as np
import numpy.typing as npt

from likewise.domains.text import cache

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

HELD = 1 << 26  # bytes that are kept in memory; more lie in a file
SCANNED = 1 << 22  # bytes looked at at a time
REACH = 4  # the most bytes of a character in UTF-8


class Spool:
    """Bytes that are written one after another, and then read as an array.

    Example:
        >>> spool = Spool()
        >>> spool.write(b"to "); spool.write(b"be")
        >>> spool.size, spool.array().tobytes()
        (5, b'to be')
    """

    def __init__(self, held: int = HELD) -> None:
        self.size = 0
        self._held = held
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._digest = hashlib.blake2b(digest_size=16)

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._digest.update(data)
        self.size += len(data)
        self._parts.append(data)
        if self._file is None and self.size > self._held:
            self._file = cache.nameless()
        if self._file is not None:
            self._file.writelines(self._parts)
            self._parts.clear()

    def array(self) -> Bytes:
        """(size,) uint8: all that was written, mapped if it lies in a file."""
        if self._file is None:
            self._parts = [b"".join(self._parts)]
            return np.frombuffer(self._parts[0], dtype=np.uint8)
        self._file.flush()
        return np.memmap(self._file, dtype=np.uint8, mode="r", shape=(self.size,))

    def since(self, start: int) -> Bytes:
        """(size - start,) uint8: what was written from a place on."""
        if self._file is not None:
            return self.array()[start:]
        parts, left = [], self.size - start
        for part in reversed(self._parts):
            if left <= 0:
                break
            parts.append(part)
            left -= len(part)
        data = np.frombuffer(b"".join(reversed(parts)), dtype=np.uint8)
        return data[len(data) - (self.size - start) :]

    def digest(self) -> str:
        """A hash of all that was written."""
        return self._digest.hexdigest()


class Passages(Sequence[str]):
    """Pieces of documents, each read when it is asked for.

    Args:
        text: (bytes,) uint8: the documents in UTF-8.
        starts, stops: (n,) int64: the place of each passage in `text`.
        firsts, lasts: (n,) int64: the place of the document of each.
        digest: a hash of `text`.

    Example:
        >>> text = np.frombuffer("To be or not".encode(), dtype=np.uint8)
        >>> two, first, last = np.array([0, 6]), np.array([0, 0]), np.array([12, 12])
        >>> some = Passages(text, two, np.array([6, 12]), first, last, "")
        >>> list(some), some.before(1, 3), some.before(0, 3), some.pick(np.array([1]))[0]
        (['To be ', 'or not'], 'be ', '', 'or not')
    """

    def __init__(
        self,
        text: Bytes,
        starts: Places,
        stops: Places,
        firsts: Places,
        lasts: Places,
        digest: str,
    ) -> None:
        self.text, self.digest = text, digest
        self.starts, self.stops, self.firsts, self.lasts = starts, stops, firsts, lasts
        self._places = (starts, stops, firsts, lasts)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: slice) -> "Passages": ...

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self.pick(np.arange(len(self), dtype=np.int64)[key])
        return self._read(self.starts[key], self.stops[key])

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    def _read(self, start: int, stop: int) -> str:
        return self.text[start:stop].tobytes().decode("utf-8", "replace")

    def pick(self, rows: Places) -> "Passages":
        """Some of these passages."""
        starts, stops, firsts, lasts = (place[rows] for place in self._places)
        return Passages(self.text, starts, stops, firsts, lasts, self.digest)

    def before(self, row: int, characters: int) -> str:
        """Up to so many characters that stand before a passage in its document."""
        if characters <= 0:
            return ""
        start, first = int(self.starts[row]), int(self.firsts[row])
        low = max(first, start - REACH * characters)
        # A character that is cut at `low` is one more than so many, and falls away.
        return self._read(low, start)[-characters:]

    @property
    def opens(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a passage begins its document."""
        found: npt.NDArray[np.bool_] = self.starts == self.firsts
        return found

    @property
    def closes(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a passage ends its document."""
        found: npt.NDArray[np.bool_] = self.stops == self.lasts
        return found

    @property
    def follows(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a passage goes on where the one before it in this order ends."""
        on = np.zeros(len(self), dtype=np.bool_)
        on[1:] = (self.starts[1:] == self.stops[:-1]) & (self.firsts[1:] == self.firsts[:-1])
        return on

    def bytes(self) -> Places:
        """(n,) int64: the bytes of each."""
        return self.stops - self.starts

    def fingerprint(self) -> str:
        """A hash of these passages, without reading them."""
        digest = hashlib.blake2b(self.digest.encode(), digest_size=16)
        for place in self._places:
            digest.update(np.ascontiguousarray(place).tobytes())
        return digest.hexdigest()


def passages_of(texts: Sequence[str]) -> Passages:
    """Whole documents as passages.

    Example:
        >>> passages_of(["ab", "c"]).closes.tolist()
        [True, True]
    """
    if isinstance(texts, Passages):
        return texts
    spool = Spool()
    sizes = []
    for text in texts:
        data = text.encode("utf-8", "replace")
        spool.write(data)
        sizes.append(len(data))
    stops = np.cumsum(np.array(sizes, dtype=np.int64), dtype=np.int64)
    starts = stops - np.array(sizes, dtype=np.int64)
    return Passages(spool.array(), starts, stops, starts, stops, spool.digest())


def line_places(text: Bytes, start: int, stop: int) -> tuple[Places, Places]:
    """Where the lines that hold something begin and end, within a part of a text.

    Example:
        >>> text = np.frombuffer(b"a\\n\\nbc\\n", dtype=np.uint8)
        >>> [place.tolist() for place in line_places(text, 0, 6)]
        [[0, 3], [1, 5]]
    """
    starts, stops = [], []
    begun = start
    for low in range(start, stop, SCANNED):
        high = min(low + SCANNED, stop)
        ends = np.flatnonzero(text[low:high] == ord("\n")).astype(np.int64) + low
        if high == stop:
            ends = np.append(ends, stop)
        if len(ends):
            begins = np.concatenate([[begun], ends[:-1] + 1])
            kept = ends > begins
            starts.append(begins[kept])
            stops.append(ends[kept])
            begun = int(ends[-1]) + 1
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *starts]), np.concatenate([none, *stops])


def paragraph_places(text: Bytes, start: int, stop: int) -> tuple[Places, Places]:
    """Where paragraphs begin and end: lines with no blank line among them.

    Example:
        >>> text = np.frombuffer(b"a\\nb\\n\\n\\nc", dtype=np.uint8)
        >>> [place.tolist() for place in paragraph_places(text, 0, 7)]
        [[0, 6], [3, 7]]
    """
    starts, stops = line_places(text, start, stop)
    if not len(starts):
        return starts, stops
    apart = starts[1:] - stops[:-1] > 1
    return starts[np.append(True, apart)], stops[np.append(apart, True)]
