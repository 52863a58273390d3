"""All of train as one stream of tokens, in memory or in a file that is mapped.

Documents stand one after another, each closed by `end`. Where a part of a document is missing (it
was left out at a border, or repeats a held-out record), one `pad` says that what comes next does
not follow what stands before; as no row is scored on a pad, nothing is learned of the seam.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.domains.text import cache
from likewise.domains.text.corpus import Passages, Places
from likewise.domains.text.tokenise import Ids
from likewise.domains.text.vocabulary import Vocabulary
from likewise.store.files import whole

Stored = npt.NDArray[Any]  # uint16 or uint32

CHUNK = 1024  # passages tokenised at a time
HELD = 1 << 23  # bytes of text whose tokens are kept in memory


@dataclass(frozen=True)
class Stream:
    """The tokens of some passages.

    Attributes:
        tokens: (N,) uint16 or uint32.
        starts: (n,) int64 where each passage begins.
        opens: whether the first passage begins its document.
    """

    tokens: Stored
    starts: Places
    opens: bool


def stream_of(passages: Passages, vocabulary: Vocabulary) -> Stream:
    """Passages as one stream, from the cache if they were tokenised before."""
    kind = np.dtype(np.uint16 if vocabulary.size <= 1 << 16 else np.uint32)
    opens = bool(passages.opens[0])
    if int(passages.bytes().sum()) <= HELD:
        parts, starts = _gather(_chunks(passages, vocabulary))
        return Stream(np.concatenate(parts).astype(kind), starts, opens)
    path = cache.entry(_digest(passages, vocabulary))
    with suppress(OSError, ValueError):
        return _open(path, kind, len(passages), opens)
    try:
        return _write(path, passages, vocabulary, kind, opens)
    except OSError:  # a cache that cannot be written is no error
        file = cache.nameless()
        starts = _fill(file, passages, vocabulary, kind)
        file.flush()
        return Stream(np.memmap(file, dtype=kind, mode="r")[: starts[-1]], starts[:-1], opens)


def _chunks(passages: Passages, vocabulary: Vocabulary) -> Iterator[tuple[Ids, Places]]:
    """The tokens of some passages after one another, and how many each has, chunk by chunk."""
    follows, opens, closes = passages.follows, passages.opens, passages.closes
    for low in range(0, len(passages), CHUNK):
        some = range(low, min(low + CHUNK, len(passages)))
        rows = []
        for row, ids in zip(some, vocabulary.encode([passages[r] for r in some]), strict=True):
            seam = row > 0 and not follows[row] and not (opens[row] and closes[row - 1])
            before = [vocabulary.pad] if seam else []
            after = [vocabulary.end] if closes[row] else []
            rows.append((len(before), np.concatenate([before, ids, after]).astype(np.int64)))
        # A passage begins behind its seam, so the seam counts to the passage before.
        sizes = np.array([[seam, len(ids) - seam] for seam, ids in rows], dtype=np.int64)
        yield np.concatenate([ids for _, ids in rows]), sizes


def _gather(chunks: Iterator[tuple[Ids, Places]]) -> tuple[list[Ids], Places]:
    parts, sizes = [], []
    for ids, some in chunks:
        parts.append(ids)
        sizes.append(some)
    return parts, _starts(np.concatenate(sizes))[:-1]


def _starts(sizes: Places) -> Places:
    """(n + 1,) where passages begin, and the end, from (n, 2) seams and lengths."""
    total = np.cumsum(sizes.sum(axis=1))
    return np.append(total - sizes[:, 1], total[-1])


def _digest(passages: Passages, vocabulary: Vocabulary) -> str:
    words = json.dumps(vocabulary.tokeniser.state(), sort_keys=True)
    marks, given = bool(vocabulary.marks), sorted(vocabulary.given.items())
    facts = (cache.VERSION, passages.fingerprint(), marks, words, given)
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def _open(path: Path, kind: np.dtype[Any], n: int, opens: bool) -> Stream:
    """The stream in an entry: the places of n passages and their end, and then the tokens."""
    starts = np.fromfile(path, dtype=np.int64, count=n + 1)
    size = int(starts[-1]) if len(starts) == n + 1 else -1
    if path.stat().st_size != starts.nbytes + size * kind.itemsize:
        raise ValueError("not whole")
    path.touch()
    tokens = np.memmap(path, dtype=kind, mode="r", offset=starts.nbytes, shape=(size,))
    return Stream(tokens, starts[:-1], opens)


def _write(
    path: Path, passages: Passages, vocabulary: Vocabulary, kind: np.dtype[Any], opens: bool
) -> Stream:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with whole(path) as part, part.open("wb") as file:
        file.seek(8 * (len(passages) + 1))
        starts = _fill(file, passages, vocabulary, kind)
        file.seek(0)
        file.write(starts.tobytes())
    cache.prune(keep=path)
    return _open(path, kind, len(passages), opens)


def _fill(file: Any, passages: Passages, vocabulary: Vocabulary, kind: np.dtype[Any]) -> Places:
    """Write the tokens; returns where each passage begins, and the end."""
    sizes = []
    for ids, some in _chunks(passages, vocabulary):
        file.write(ids.astype(kind).tobytes())
        sizes.append(some)
    return _starts(np.concatenate(sizes))
