"""All of train as one stream of tokens, in memory or in a file that is mapped.

Documents stand one after another, each closed by `end`. Where a part of a document is missing (it
was left out at a border, or repeats a held-out record), one `pad` says that what comes next does
not follow what stands before; as no row is scored on a pad, nothing is learned of the seam.

Before each answer of a dialogue stands what was said since the one before it, and behind it the
mark of who speaks next, which closes it as `end` closes the last. What is said after the last one
is left out: nothing is learned of it, and nothing follows it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.domains.text import cache
from likewise.domains.text.corpus import MARK, Passages, Places
from likewise.domains.text.tokenise import Ids
from likewise.domains.text.vocabulary import Vocabulary
from likewise.store.files import whole

Stored = npt.NDArray[Any]  # uint16 or uint32

CHUNK = 1024  # passages tokenised at a time
HELD = 1 << 23  # bytes of text whose tokens are kept in memory
LAYOUT = 2  # of an entry: raise it when equal tokens are written otherwise


@dataclass(frozen=True)
class Stream:
    """The tokens of some passages.

    Attributes:
        tokens: (N,) uint16 or uint32.
        starts, stops: (n,) int64 where each passage begins, and ends with what closes it.
        opens: whether the first passage begins its document.
    """

    tokens: Stored
    starts: Places
    stops: Places
    opens: bool

    def learned(self, places: Places) -> npt.NDArray[np.bool_]:
        """Whether tokens at places (...) are of a passage, not of what leads to one."""
        latest = np.searchsorted(self.starts, places, side="right") - 1
        found: npt.NDArray[np.bool_] = (latest >= 0) & (places < self.stops[latest])
        return found


def stream_of(passages: Passages, vocabulary: Vocabulary) -> Stream:
    """Passages as one stream, from the cache if they were tokenised before."""
    kind = np.dtype(np.uint16 if vocabulary.size <= 1 << 16 else np.uint32)
    opens = bool(passages.opens[0])
    if int((passages.stops - passages.leads).sum()) <= HELD:
        parts, sizes = zip(*_chunks(passages, vocabulary), strict=True)
        return Stream(np.concatenate(parts).astype(kind), *_places(sizes), opens)
    path = cache.entry(_digest(passages, vocabulary))
    with suppress(OSError, ValueError):
        return _open(path, kind, len(passages), opens)
    try:
        return _write(path, passages, vocabulary, kind, opens)
    except OSError:  # a cache that cannot be written is no error
        file = cache.nameless()
        starts, stops = _fill(file, passages, vocabulary, kind)
        file.flush()
        return Stream(np.memmap(file, dtype=kind, mode="r")[: stops[-1]], starts, stops, opens)


def _chunks(passages: Passages, vocabulary: Vocabulary) -> Iterator[tuple[Ids, Places]]:
    """The tokens of some passages after one another, and how many lead to each and are of each."""
    goes_on, opens, closes = passages.goes_on, passages.opens, passages.closes
    for low in range(0, len(passages), CHUNK):
        some = range(low, min(low + CHUNK, len(passages)))
        # the mark that closes the turn before is written with that turn
        skipped = [MARK if goes_on[row] and closes[row - 1] else 0 for row in some]
        leads = [passages.lead(row, skip) for row, skip in zip(some, skipped, strict=True)]
        rows, sizes = [], []
        for row, lead, ids, closing in zip(
            some,
            vocabulary.encode(leads),
            vocabulary.encode([passages[row] for row in some]),
            closings(passages, some, vocabulary),
            strict=True,
        ):
            between = np.zeros(0, dtype=np.int64)
            if row and not goes_on[row]:
                between = _between(passages, row, vocabulary, opens[row] and closes[row - 1])
            rows += [between, lead, ids, closing]
            sizes.append((len(between) + len(lead), len(ids) + len(closing)))
        yield np.concatenate(rows).astype(np.int64), np.array(sizes, dtype=np.int64)


def closings(passages: Passages, rows: Sequence[int], vocabulary: Vocabulary) -> list[Ids]:
    """The tokens that close each passage: `end`, the mark of who speaks next, or nothing."""
    marks = vocabulary.encode([passages.closing(row) for row in rows])
    ended = passages.pick(np.array(rows)).ends
    pairs = zip(ended.tolist(), marks, strict=True)
    return [np.array([vocabulary.end]) if over else ids for over, ids in pairs]


def _between(passages: Passages, row: int, vocabulary: Vocabulary, fresh: bool) -> Ids:
    """What stands between a passage and the one before, which it does not go on.

    `fresh` says that a document begins, and that of the one before nothing was broken off.
    """
    if not fresh:
        return np.array([vocabulary.pad])
    over = passages.stops[row - 1] == passages.lasts[row - 1]
    return np.array([] if over else [vocabulary.end], dtype=np.int64)


def _places(sizes: Sequence[Places]) -> tuple[Places, Places]:
    """(n,) where passages begin and end, from (n, 2) what leads to them and their lengths."""
    whole = np.concatenate(sizes)
    stops = np.cumsum(whole.sum(axis=1))
    return stops - whole[:, 1], stops


def _digest(passages: Passages, vocabulary: Vocabulary) -> str:
    words = json.dumps(vocabulary.tokeniser.state(), sort_keys=True)
    marks, given = bool(vocabulary.marks), sorted(vocabulary.given.items())
    facts = (cache.VERSION, LAYOUT, passages.fingerprint(), marks, words, given)
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def _open(path: Path, kind: np.dtype[Any], n: int, opens: bool) -> Stream:
    """The stream in an entry: where n passages begin and where they end, and then the tokens."""
    places = np.fromfile(path, dtype=np.int64, count=2 * n)
    size = int(places[-1]) if len(places) == 2 * n else -1
    if path.stat().st_size != places.nbytes + size * kind.itemsize:
        raise ValueError("not whole")
    path.touch()
    tokens = np.memmap(path, dtype=kind, mode="r", offset=places.nbytes, shape=(size,))
    return Stream(tokens, places[:n], places[n:], opens)


def _write(
    path: Path, passages: Passages, vocabulary: Vocabulary, kind: np.dtype[Any], opens: bool
) -> Stream:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with whole(path) as part, part.open("wb") as file:
        file.seek(16 * len(passages))
        places = _fill(file, passages, vocabulary, kind)
        file.seek(0)
        file.write(np.concatenate(places).tobytes())
    cache.prune(keep=path)
    return _open(path, kind, len(passages), opens)


def _fill(
    file: Any, passages: Passages, vocabulary: Vocabulary, kind: np.dtype[Any]
) -> tuple[Places, Places]:
    """Write the tokens; returns where each passage begins and ends."""
    sizes = []
    for ids, some in _chunks(passages, vocabulary):
        file.write(ids.astype(kind).tobytes())
        sizes.append(some)
    return _places(sizes)
