"""Documents as they are read: cleaned, written one after another, and what was done to them."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from likewise.core.errors import DataError
from likewise.core.records import Skipped
from likewise.domains.text import roles
from likewise.domains.text.corpus import (
    Bytes,
    Flags,
    Places,
    Spool,
    line_ends,
    line_places,
    paragraph_places,
)
from likewise.domains.text.decode import clean, lines

HUGE = 1 << 20  # bytes of a line that deserves a word
SHORT = 200  # bytes of a line that may be a record by itself
SHORT_SHARE = 0.95  # of the lines of a list
LISTED = 8  # lines from which on a text may be a list
SCRIPT_ANSWERS = (
    "the script has USER and SYSTEM lines only: SYSTEM is the one that answers, the assistant."
)


class Documents:
    """What was read so far.

    Args:
        unit: what a document of a plain text is: "auto", "file", "line" or "paragraph".
    """

    def __init__(self, unit: str = "auto") -> None:
        self.unit = unit
        self.scripts = unit == "auto"  # whether plain texts may be scripts of dialogues
        self.spool = Spool()
        self.starts, self.stops = array("q"), array("q")
        self.names: list[str] = []
        self.given: list[str] = []
        self.columns: dict[str, dict[int, Any]] = {"label": {}, "source": {}}
        self.counts: Counter[str] = Counter()
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self.roles = False
        self.dialogue = False
        self.latest = ""  # the latest label of `given`

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, text: str, name: str, **values: Any) -> None:
        """A document that is whole, with its label or its source; an empty one is skipped.

        A dialogue keeps the marks of its roles: say so in `dialogue` before.
        """
        if self.dialogue:
            turns = (clean(turn, self.counts) for turn in _turns(text))
            text = "".join(mark + turn for mark, turn in zip(_marks(text), turns, strict=True))
            self.roles = True
        else:
            text = clean(text, self.counts)
        if not text.strip():
            self.skipped.append(Skipped(name, "is empty"))
            return
        start = self.spool.size
        self.spool.write(text.encode())
        for column, value in values.items():
            if value is not None:
                self.columns[column][len(self)] = clean(str(value), self.counts)
        self._place(start, self.spool.size, name)

    def _place(self, start: int, stop: int, name: str) -> None:
        self.starts.append(start)
        self.stops.append(stop)
        self.names.append(name)
        self.given.append(self.latest)

    def text(self, parts: Iterator[str], name: str) -> None:
        """A plain text that comes in clean pieces: a script, lines, paragraphs or one document."""
        first = next(parts, "")
        every = chain([first], parts)
        if self.scripts and roles.is_script(first):
            self._script(lines(every), name)
        else:
            self._plain(every, name)

    def _script(self, every: Iterable[str], name: str) -> None:
        self.dialogue = True
        for number, turns in enumerate(roles.script(every), 1):
            answers = roles.system_answers(turns)
            if answers and SCRIPT_ANSWERS not in self.notes:
                self.notes.append(SCRIPT_ANSWERS)
            self.add(roles.marked(turns, answers=answers), f"{name}:{number}")
        self.dialogue = False

    def _plain(self, every: Iterable[str], name: str) -> None:
        start, look = self.spool.size, _Look()
        for part in every:
            data = part.encode("utf-8", "replace")
            look.at(data)
            self.spool.write(data)
        look.end()
        if look.longest > HUGE:
            self.notes.append(f"{name} has a line of {look.longest / 2**20:,.1f} MiB.")
        unit = ("line" if look.is_list() else "file") if self.unit == "auto" else self.unit
        if unit == "line" and self.unit == "auto":
            self.notes.append(
                f"{name} has only short lines and no blank one: each of its {look.lines:,} lines "
                "is a document (unit=file makes it one)."
            )
        if unit == "file":
            blank = not look.solid
            starts, stops = np.array([start]), np.array([self.spool.size])
        else:
            find = paragraph_places if unit == "paragraph" else line_places
            text = self.spool.since(start)
            starts, stops = (start + places for places in find(text, 0, len(text)))
            blank = not len(starts)
        if blank:
            self.skipped.append(Skipped(name, "is empty"))
            return
        self._places(starts, stops, name)

    def _places(self, starts: Places, stops: Places, name: str) -> None:
        if len(starts) == 1:
            self._place(int(starts[0]), int(stops[0]), name)
            return
        self.starts.extend(starts.tolist())
        self.stops.extend(stops.tolist())
        self.names += [f"{name}:{number}" for number in range(1, len(starts) + 1)]
        self.given += [self.latest] * len(starts)

    def column(self, name: str) -> list[Any] | None:
        """A value for each document, None where it has none; None if none has."""
        found = self.columns[name]
        return [found.get(row) for row in range(len(self))] if found else None

    def whole(self, what: str) -> tuple[Bytes, Places, Places]:
        """The bytes of all documents, and where each begins and ends; DataError if none is."""
        if not len(self):
            reasons = Counter(one.why for one in self.skipped).most_common(5)
            said = "; ".join(f"{why} ({count})" for why, count in reasons)
            raise DataError(f"{what} must hold text; got none" + (f": {said}." if said else "."))
        starts = np.frombuffer(self.starts, dtype=np.int64)
        stops = np.frombuffer(self.stops, dtype=np.int64)
        return self.spool.array(), starts, stops

    def told(self) -> list[str]:
        """Notes on what was changed."""
        counts = self.counts
        words = {
            "broken": "places that were no valid text were replaced by U+FFFD",
            "controls": "control characters (NULs among them) or marks of roles were removed",
            "ends": "files or texts had line ends of Windows or old Macs; they were made LF",
            "marks": "files began with a byte-order mark, which was left out",
        }
        return [*self.notes, *(f"{counts[k]:,} {text}." for k, text in words.items() if counts[k])]


def _marks(text: str) -> list[str]:
    return [character for character in text if character in roles.MARKS]


def _turns(text: str) -> list[str]:
    """The texts between the marks; what stands before the first mark cannot be."""
    for mark in roles.MARKS:
        text = text.replace(mark, roles.MARKS[0])
    return text.split(roles.MARKS[0])[1:]


class _Look:
    """How long the lines of a text are, seen as it is written."""

    def __init__(self) -> None:
        self.lines = self.blank = self.short = self.longest = 0
        self.solid = False  # whether it holds more than white space
        self._open = 0  # bytes of the line that has not ended
        self._filled = False  # whether that holds more than white space
        self._last = 0  # blank lines behind the last one that is none

    def at(self, data: bytes) -> None:
        raw = np.frombuffer(data, dtype=np.uint8)
        ends, filled, rest = line_ends(raw)
        self.solid = self.solid or rest or bool(filled.any())
        if not len(ends):
            self._open += len(data)
            self._filled = self._filled or rest
            return
        sizes = np.diff(ends, prepend=-1) - 1
        sizes[0] += self._open
        filled[0] |= self._filled
        self._count(sizes, filled)
        self._open, self._filled = len(data) - int(ends[-1]) - 1, rest

    def end(self) -> None:
        if self._open:
            self._count(np.array([self._open]), np.array([self._filled]))

    def _count(self, sizes: Places, filled: Flags) -> None:
        places = np.flatnonzero(filled)
        if len(places):
            self.blank += self._last + int((~filled[: places[-1]]).sum())
            self._last = 0
        self._last += len(filled) - (int(places[-1]) + 1 if len(places) else 0)
        self.lines += len(places)
        self.short += int((filled & (sizes <= SHORT)).sum())
        self.longest = max(self.longest, int(sizes.max()))

    def is_list(self) -> bool:
        """Whether each line is a record by itself: short lines, none blank but at the end."""
        return self.lines >= LISTED and not self.blank and self.short >= SHORT_SHARE * self.lines
