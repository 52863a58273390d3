"""Near-duplicates: documents that share most of their shingles.

A document is the set of its runs of five words, or of five characters where it has few words
(Broder, "On the resemblance and containment of documents", 1997). Its sketch is the smallest 64
hashes of that set; the share of the smallest hashes of two sketches together that both hold
estimates the Jaccard similarity of the sets, and is exact where sketches hold the whole sets.

Which documents may be alike is found by the least hash under further permutations: those that
agree in four of them at once, one of twelve such keys, are compared (Broder's super-shingles). At
the similarity looked for, one pair in 500 is missed by that. The time is that of sorting.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.core.clusters import Clusters
from likewise.core.records import Records
from likewise.core.text import printable
from likewise.domains.text.corpus import Bytes, Passages, Places, Spool
from likewise.domains.text.hashing import BASE, Hashes, mix, powers, runs

Short = npt.NDArray[np.uint32]

RUN = 5  # words of a shingle, and characters where words are few
SKETCH = 64  # hashes kept of a document
KEYS, EACH = 12, 4  # keys under which a document is found, and permutations of each
WINDOW = 8  # documents that one is compared with under each key
ALIKE = 0.8  # the least similarity of near-duplicates
LIKELY = 0.6  # of permutations that agree: fewer need no closer look
LEAST = 20  # shingles; a shorter document says too little
READ = 1 << 20  # bytes of a document that are looked at
BLOCK = 1 << 22  # bytes looked at at a time
MOST = 0.5  # of the documents in a cluster that stays in one part
EXAMPLES = 8


def looked(records: Records, owner: Places) -> Records:
    """Records with their near-duplicate documents, told in `near`, a fact and a note.

    Args:
        records: whose items are `Passages`.
        owner: (n,) the number of the document of each passage, ascending.
    """
    items = records.items
    assert isinstance(items, Passages)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    clusters = near_duplicates(*_documents(items, first, records.conditions.get("source")))
    count = sum(map(len, clusters))
    some = [[printable(records.ids[first[row]]) for row in rows[:2]] for rows in clusters]
    facts = {"pictures": count, "clusters": len(clusters), "examples": some[:EXAMPLES]}
    records = replace(records, facts={**records.facts, "near": facts})
    if not clusters:
        return records
    kept = [rows for rows in clusters if len(rows) <= MOST * len(first)]
    number = np.full(len(first), -1)
    for cluster, rows in enumerate(kept):
        number[rows] = cluster
    near = np.repeat(number, np.diff(first, append=len(owner)))
    note = (
        f"{count} of {len(first)} documents are near-duplicates, in {len(clusters)} "
        f"{'cluster' if len(clusters) == 1 else 'clusters'}: they share {ALIKE:.0%} of their runs "
        "of words. A cluster stays in one part of the split."
    )
    if len(kept) < len(clusters):
        large = max(map(len, clusters))
        note += (
            f" One of {large} documents is too large for that and is split: what is held out is "
            "nearly known, and scores flatter."
        )
    return replace(records, near=tuple(near.tolist()), notes=(*records.notes, note))


def _documents(
    items: Passages, first: Places, sources: Sequence[Any] | None
) -> tuple[Bytes, Places, Places]:
    """The documents whose first passages these are, of pairs with the source before each."""
    starts, stops = items.firsts[first], items.lasts[first]
    if sources is None:
        return items.text, starts, stops
    spool, ends = Spool(), []
    for row, start, stop in zip(first.tolist(), starts, stops, strict=True):
        spool.write(f"{sources[row] or ''}\n".encode())
        spool.write(items.text[start:stop].tobytes())
        ends.append(spool.size)
    return spool.array(), np.array([0, *ends[:-1]]), np.array(ends)


def near_duplicates(text: Bytes, starts: Places, stops: Places) -> list[list[int]]:
    """Clusters of documents that are nearly, but not exactly, the same.

    Args:
        text: (bytes,) uint8 the documents in UTF-8.
        starts, stops: (n,) where each begins and ends.

    Returns:
        Rows in ascending order, at least two a cluster, no row in two: whatever is alike is in
        one, by itself or by way of others, so that the versions of a text stay together.

    Example:
        >>> one = " ".join(map(str, range(100)))
        >>> texts = [one, " ".join(map(str, range(200, 300))), one + " more"]
        >>> data = np.frombuffer("".join(texts).encode(), dtype=np.uint8)
        >>> stops = np.cumsum([len(text) for text in texts])
        >>> near_duplicates(data, np.append(0, stops[:-1]), stops)
        [[0, 2]]
    """
    rows = np.flatnonzero(stops - starts >= LEAST)
    hashes, counts = sketches(text, starts[rows], stops[rows])
    known = counts >= LEAST
    rows, hashes, counts = rows[known], hashes[known], counts[known]
    clusters = Clusters(len(starts))
    for one, other in _candidates(hashes):
        a, b = int(rows[one]), int(rows[other])
        if clusters.first(a) == clusters.first(b):
            continue
        alike = resemblance(hashes[one, : counts[one]], hashes[other, : counts[other]]) >= ALIKE
        if alike and _differ(text, starts, stops, a, b):
            clusters.join(a, b)
    return [cluster for cluster in clusters.all() if len(cluster) > 1]


def sketches(text: Bytes, starts: Places, stops: Places) -> tuple[Short, Places]:
    """The smallest hashes of the shingles of each document.

    Upper and lower case of ASCII count as one, and so do kinds of white space.

    Returns:
        (n, 64) uint32 ascending, filled up with the smallest, and (n,) how many there are.
    """
    hashes = np.zeros((len(starts), SKETCH), dtype=np.uint32)
    counts = np.zeros(len(starts), dtype=np.int64)
    stops = np.minimum(stops, starts + READ)
    ends = np.cumsum(stops - starts)
    edges = np.searchsorted(ends, np.arange(BLOCK, ends[-1] if len(ends) else 0, BLOCK))
    for low, high in pairwise([0, *edges.tolist(), len(starts)]):
        block = slice(low, high)
        units = _units(text, starts[block], stops[block])
        hashes[block], counts[block] = _smallest(*units, high - low)
    return hashes, counts


def _units(text: Bytes, starts: Places, stops: Places) -> tuple[Hashes, Places]:
    """Hashes of the words of some documents, or of their characters, and whose each is."""
    if not len(starts):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    raw = np.concatenate([text[a:b] for a, b in zip(starts, stops, strict=True)])
    owner = np.repeat(np.arange(len(starts)), stops - starts)
    upper = (raw >= ord("A")) & (raw <= ord("Z"))
    plain = np.where(upper, raw + 32, raw).astype(np.uint64) + np.uint64(1)
    white = (raw == 32) | ((raw >= 9) & (raw <= 13))
    words, whose = _words(plain, white, owner)
    few = np.bincount(whose, minlength=len(starts)) < LEAST + RUN
    spelled = ~white & few[owner]
    hashes = np.concatenate([words[~few[whose]], mix(plain[spelled])])
    owners = np.concatenate([whose[~few[whose]], owner[spelled]])
    order = np.argsort(owners, kind="stable")
    return hashes[order], owners[order]


def _words(plain: Hashes, white: npt.NDArray[np.bool_], owner: Places) -> tuple[Hashes, Places]:
    """A hash of each word, and whose it is."""
    new = np.diff(owner, prepend=-1) > 0
    apart = np.append(white[:-1], True) | new  # whether a byte has none of its word before it
    apart[1:] = white[:-1] | new[1:]
    begins = np.flatnonzero(~white & apart)
    ends = np.flatnonzero(~white & np.append(white[1:] | new[1:], True)) + 1
    return runs(plain, begins, ends), owner[begins]


def _smallest(units: Hashes, owner: Places, n: int) -> tuple[Short, Places]:
    """The smallest different hashes of the runs of units of each of n documents; `sketches`."""
    hashes, counts = np.zeros((n, SKETCH), dtype=np.uint32), np.zeros(n, dtype=np.int64)
    size = max(0, len(units) - RUN + 1)
    sums = np.zeros(size, dtype=np.uint64)
    for place, power in enumerate(powers(BASE, RUN + 1)[1:]):
        sums += units[place : place + size] * power
    inner = owner[:size] == owner[len(owner) - size :]
    # The number of the document above the hash: one sort orders by both.
    keys = owner[:size][inner].astype(np.uint64) << np.uint64(32)
    keys = np.sort(keys | (mix(sums[inner]) >> np.uint64(32)))
    keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
    whose = (keys >> np.uint64(32)).astype(np.int64)
    begins = np.searchsorted(whose, np.arange(n))
    rank = np.arange(len(keys)) - begins[whose]
    kept = rank < SKETCH
    counts[:] = np.minimum(np.bincount(whose, minlength=n), SKETCH)
    some = np.flatnonzero(counts)
    hashes[some] = keys[begins[some]].astype(np.uint32)[:, None]
    hashes[whose[kept], rank[kept]] = keys[kept].astype(np.uint32)
    return hashes, counts


def _least(hashes: Short) -> Short:
    """(n, KEYS * EACH) the least hash of each sketch (n, 64) under each permutation."""
    seeds = mix(np.arange(1, KEYS * EACH + 1, dtype=np.uint64))
    found = np.zeros((len(hashes), KEYS * EACH), dtype=np.uint32)
    step = BLOCK // SKETCH
    for low in range(0, len(hashes), step):
        block = hashes[low : low + step].astype(np.uint64)
        for number, seed in enumerate(seeds):
            found[low : low + step, number] = (mix(block ^ seed) >> np.uint64(32)).min(axis=1)
    return found


def _candidates(hashes: Short) -> Iterator[tuple[int, int]]:
    """Pairs that share a key and most permutations, the smaller number first, in order."""
    least = _least(hashes)
    found = []
    for number in range(KEYS):
        columns = least[:, number * EACH : (number + 1) * EACH]
        key = mix(columns.astype(np.uint64) @ powers(BASE, EACH))
        # Under a key that many share, those that share the next one too stand together.
        order = np.lexsort((least[:, (number + 1) * EACH % least.shape[1]], key))
        for distance in range(1, min(WINDOW, len(order) - 1) + 1):
            same = key[order[:-distance]] == key[order[distance:]]
            if not same.any():
                break
            pair = np.stack([order[:-distance][same], order[distance:][same]], axis=1)
            found.append(_likely(least, np.sort(pair, axis=1)))
    if not found:
        return iter(())
    together = np.unique(np.concatenate(found), axis=0)
    return ((one, other) for one, other in together.tolist())


def _likely(least: Short, pairs: Places) -> Places:
    """Those of pairs (m, 2) that agree in enough permutations to be worth a closer look."""
    step = BLOCK // least.shape[1]
    kept = [
        (least[some[:, 0]] == least[some[:, 1]]).mean(axis=1) >= LIKELY
        for some in (pairs[low : low + step] for low in range(0, len(pairs), step))
    ]
    likely: Places = pairs[np.concatenate(kept)]
    return likely


def resemblance(one: Short, other: Short) -> float:
    """The estimated Jaccard similarity of two sets, of their sketches.

    Example:
        >>> resemblance(np.array([1, 2, 3], np.uint32), np.array([2, 3, 4], np.uint32))
        0.5
    """
    whole = max(len(one), len(other)) < SKETCH  # no hash of either set was left out
    both, either = np.intersect1d(one, other), np.union1d(one, other)
    either = either if whole else either[:SKETCH]
    return float(np.isin(either, both).mean())


def _differ(text: Bytes, starts: Places, stops: Places, a: int, b: int) -> bool:
    """Whether two documents are not the very same: those are duplicates, and counted so."""
    if stops[a] - starts[a] != stops[b] - starts[b]:
        return True
    return not np.array_equal(text[starts[a] : stops[a]], text[starts[b] : stops[b]])
