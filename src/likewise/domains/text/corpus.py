"""Texts as one run of UTF-8 bytes, in memory or in a file, and passages as places in it.

A corpus may be larger than memory: a passage is read when it is asked for.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import IO, Any, cast, overload

import numpy as np
import numpy.typing as npt

from likewise.domains.text import cache
from likewise.domains.text.roles import ASSISTANT

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

HELD = 1 << 26  # bytes that are kept in memory; more lie in a file
SCANNED = 1 << 22  # bytes looked at at a time
REACH = 4  # the most bytes of a character in UTF-8
MARK = 3  # bytes of the mark of a role
SPACE = ord(" ")  # no byte of a blank line is above it
_LEAD, _LAST = np.frombuffer(ASSISTANT.encode()[:2], np.uint8), ASSISTANT.encode()[2]


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
        leads: (n,) int64: where that begins which is read right before a passage and is no
            passage itself, such as what a user says before an answer; None if there is none.

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
        leads: Places | None = None,
    ) -> None:
        self.text, self.digest = text, digest
        self.starts, self.stops, self.firsts, self.lasts = starts, stops, firsts, lasts
        self.leads = starts if leads is None else leads
        self._own = (starts, stops, firsts, lasts, *([] if leads is None else [leads]))

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
        starts, stops, firsts, lasts, *leads = (place[rows] for place in self._own)
        return Passages(self.text, starts, stops, firsts, lasts, self.digest, *leads)

    def before(self, row: int, characters: int) -> str:
        """Up to so many characters that stand before a passage in its document."""
        if characters <= 0:
            return ""
        start, first = int(self.starts[row]), int(self.firsts[row])
        low = max(first, start - REACH * characters)
        # A character that is cut at `low` is one more than so many, and falls away.
        return self._read(low, start)[-characters:]

    def lead(self, row: int, start: int = 0) -> str:
        """What is read right before a passage and is no passage itself, from a byte of it on."""
        return self._read(self.leads[row] + start, self.starts[row])

    def closing(self, row: int) -> str:
        """The mark of the role that speaks after a passage, "" where it ends otherwise."""
        stop = self.stops[row]
        spoken = self.closes[row] and stop < self.lasts[row]
        return self._read(stop, stop + MARK) if spoken else ""

    @property
    def opens(self) -> Flags:
        """(n,) whether a passage, with what leads to it, begins its document."""
        return cast(Flags, self.leads == self.firsts)

    @property
    def ends(self) -> Flags:
        """(n,) whether a passage ends its document."""
        return cast(Flags, self.stops == self.lasts)

    @cached_property
    def closes(self) -> Flags:
        """(n,) whether a passage ends its document, or its turn of a dialogue."""
        return self.ends | marked(self.text, self.stops)

    @property
    def follows(self) -> Flags:
        """(n,) whether a passage goes on where the one before it in this order ends."""
        return self._on(self.starts)

    @property
    def goes_on(self) -> Flags:
        """(n,) the same of a passage with what leads to it."""
        return self._on(self.leads)

    def _on(self, begins: Places) -> Flags:
        on = np.zeros(len(self), dtype=np.bool_)
        on[1:] = (begins[1:] == self.stops[:-1]) & (self.firsts[1:] == self.firsts[:-1])
        return on

    def bytes(self) -> Places:
        """(n,) int64: the bytes of each."""
        return self.stops - self.starts

    def contents(self) -> Iterator[Any]:
        """What makes each passage another one: its text; of an answer also its whole dialogue."""
        said: dict[int, bytes] = {}  # a hash of each dialogue
        for row, spoken in enumerate(marked(self.text, self.firsts).tolist()):
            first, start = int(self.firsts[row]), int(self.starts[row])
            if spoken and first not in said:
                whole = self.text[first : self.lasts[row]]
                said[first] = hashlib.blake2b(whole.tobytes(), digest_size=16).digest()
            yield (said[first], start - first, self[row]) if spoken else self[row]

    def fingerprint(self) -> str:
        """A hash of these passages, without reading them."""
        digest = hashlib.blake2b(self.digest.encode(), digest_size=16)
        for place in self._own:
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


def marked(text: Bytes, places: Places) -> Flags:
    """(n,) whether the mark of a role stands at each of places (n,).

    Example:
        >>> text = np.frombuffer("a\ue001b".encode(), dtype=np.uint8)
        >>> marked(text, np.array([0, 1, 4, 5])).tolist()
        [False, True, False, False]
    """
    if len(text) < MARK:
        return np.zeros(len(places), dtype=np.bool_)
    inside = np.minimum(places, len(text) - MARK)
    found = inside == places
    for place, byte in enumerate(_LEAD):
        found &= text[inside + place] == byte
    last = text[inside + MARK - 1]
    return found & (last <= _LAST) & (last > _LAST - MARK)


def mark_places(text: Bytes) -> Places:
    """Where marks of roles stand in a text, in ascending order.

    Example:
        >>> mark_places(np.frombuffer("\ue001a\ue002".encode(), dtype=np.uint8)).tolist()
        [0, 4]
    """
    found = [np.zeros(0, dtype=np.int64)]
    for low in range(0, len(text), SCANNED):
        high = min(low + SCANNED, len(text))
        places = np.flatnonzero(text[low:high] == _LEAD[0]).astype(np.int64) + low
        found.append(places[marked(text, places)])
    return np.concatenate(found)


def line_places(text: Bytes, start: int, stop: int) -> tuple[Places, Places]:
    """Where the lines that hold more than white space begin and end, within a part of a text.

    Example:
        >>> text = np.frombuffer(b"a\\n \\nbc\\n", dtype=np.uint8)
        >>> [place.tolist() for place in line_places(text, 0, 7)]
        [[0, 4], [1, 6]]
    """
    starts, stops = [], []
    begun, solid = start, False  # the line that has not ended
    for low in range(start, stop, SCANNED):
        high = min(low + SCANNED, stop)
        ends, filled, rest = line_ends(text[low:high])
        ends += low
        if len(filled):
            filled[0] |= solid
            solid = False
        solid = solid or rest
        if high == stop:
            ends, filled = np.append(ends, stop), np.append(filled, solid)
        if len(ends):
            begins = np.concatenate([[begun], ends[:-1] + 1])
            starts.append(begins[filled])
            stops.append(ends[filled])
            begun = int(ends[-1]) + 1
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *starts]), np.concatenate([none, *stops])


def line_ends(text: Bytes) -> tuple[Places, Flags, bool]:
    """The ends of the lines of a text, which of these hold more than white space, and the rest.

    The rest is whether there is more than white space behind the last end.

    Example:
        >>> ends, filled, rest = line_ends(np.frombuffer(b"a\\n \\n\\nb", dtype=np.uint8))
        >>> ends.tolist(), filled.tolist(), rest
        ([1, 3, 4], [True, False, False], True)
    """
    ends = np.flatnonzero(text == ord("\n")).astype(np.int64)
    if not len(ends):
        return ends, np.zeros(0, dtype=np.bool_), bool((text > SPACE).any())
    behind = int(ends[-1]) + 1
    begins = np.append(0, ends[:-1] + 1)
    filled = np.maximum.reduceat(text[:behind], begins) > SPACE  # a line has its end, at least
    return ends, filled, bool((text[behind:] > SPACE).any())


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
