"""Passages that stand word for word in a held-out part: a text split by place may repeat.

A run of so many bytes is known by its hash, wherever it stands. One run in sixteen is looked at,
chosen by its hash, so that the same ones are chosen everywhere (Schleimer et al., "Winnowing:
local algorithms for document fingerprinting", 2003).
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from likewise.domains.text.corpus import Flags, Passages, Places
from likewise.domains.text.hashing import Hashes, every_run

RUN = 48  # bytes
LOOKED = np.uint64(1 << 60)  # hashes below it are looked at: one in sixteen
SHARE = 0.5  # of the runs of a passage that make it a repeated one
LEAST = 2  # runs
BLOCK = 1 << 16  # bytes looked at at a time
BEFORE: Mapping[str, tuple[str, ...]] = {"test": ("train", "valid"), "valid": ("train",)}
"""The parts that must not hold what stands in a part."""


def repeated(items: Passages, parts: npt.NDArray[np.object_]) -> Flags:
    """(n,) whether a passage of train stands in valid or test, or one of valid in test.

    Args:
        items: in the order in which they stand in the text.
        parts: (n,) the part of each, "" for none.
    """
    found = np.zeros(len(items), dtype=np.bool_)
    for part, others in BEFORE.items():
        held = np.flatnonzero(parts == part)
        hashes = [hashes for _, hashes in _sampled(items, held)]
        known = np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *hashes]))
        found |= _standing(items, np.flatnonzero(np.isin(parts, others)), known)
    return found


def _standing(items: Passages, rows: Places, known: Hashes) -> Flags:
    """(n,) whether a passage is one of `rows` and most of its runs are known."""
    some, hits = np.zeros(len(items), dtype=np.int64), np.zeros(len(items), dtype=np.int64)
    for owner, hashes in _sampled(items, rows):
        if len(owner):
            here = slice(owner[0], owner[-1] + 1)
            size, place = owner[-1] + 1 - owner[0], owner - owner[0]
            some[here] += np.bincount(place, minlength=size)
            hits[here] += np.bincount(place[_among(hashes, known)], minlength=size)
    return (hits >= LEAST) & (hits >= SHARE * some)


def _among(hashes: Hashes, known: Hashes) -> Flags:
    """(m,) whether each of hashes (m,) is one of those that are known, which are sorted."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    found: Flags = known[place] == hashes
    return found


def _sampled(items: Passages, rows: Places) -> Iterator[tuple[Places, Hashes]]:
    """The runs of some passages that are looked at: whose each is, and its hash.

    A run may go on in the passages that follow, but not in what stands elsewhere.
    """
    starts, stops = items.starts[rows], items.stops[rows]
    apart = np.flatnonzero(starts[1:] != stops[:-1]) + 1
    for low, high in pairwise([0, *apart.tolist(), len(rows)] if len(rows) else []):
        for begin in range(int(starts[low]), int(stops[high - 1]), BLOCK):
            end = min(begin + BLOCK + RUN - 1, int(stops[high - 1]))
            raw = items.text[begin:end].astype(np.uint64)
            hashes = every_run(raw + np.uint64(1), RUN)
            chosen = np.flatnonzero(hashes < LOOKED)
            owner = np.searchsorted(starts, begin + chosen, side="right") - 1
            yield rows[owner], hashes[chosen]
