"""Near-duplicates: the same picture saved again, resized, or a little brighter or darker.

Pictures that may be alike are found by locality-sensitive hashing (Charikar, "Similarity
estimation techniques from rounding algorithms", STOC 2002): each picture is averaged over 8x8
cells, and signs of fixed random projections of the cells make words of bits; pictures that share
a word and stand near each other among those that share it are compared. The time is that of
sorting. Projections are of whole numbers, so that every machine finds the same.

Alike are two pictures of which one is the other in another light, but for a remainder that is

* small beside what is usual between pictures of these data: two handwritten digits of a kind
  differ little, two photographs much;
* spread like the noise of a codec: a stroke that one has and the other has not is no noise.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.core.records import Records
from likewise.core.text import printable
from likewise.domains.images.pictures import Pixels

Floats = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]

CELLS = 8  # a side, in cells
WORDS, BITS = 8, 16
WINDOW = 16  # neighbours that a picture is compared with under each word
SAMPLE = 512  # pictures that show what is usual
MIDDLE = 1024  # pictures that show which side of a projection is the other half's
HALVED = 0.9  # of that remainder is allowed at half the size
CLOSE = 0.37  # the largest remainder, beside the share of the variance that usually remains
SPREAD = 0.85  # the largest remainder of one pixel, beside that of noise
LIGHT = 1.5  # the largest change of contrast
FLAT = 0.01  # pictures with less contrast than this share of the range show nothing
EXAMPLES = 8  # clusters that the fact shows
PIECE = 1 << 22  # values worked on at a time


def near_duplicates(items: Pixels, levels: int) -> list[list[int]]:
    """Clusters of pictures that are nearly, but not exactly, the same.

    Args:
        items: (n, h, w, c) uint8 in 0..levels - 1; read in pieces.
        levels: how many values a channel may have.

    Returns:
        Rows in ascending order, at least two a cluster, no row in two; all are near duplicates
        of the first, so that no cluster drifts from one picture to another.

    Example:
        >>> draw = np.random.default_rng(0)
        >>> items = draw.integers(0, 200, (50, 8, 8, 1), dtype=np.uint8)
        >>> items[7] = items[3] + 20
        >>> near_duplicates(items, 256)
        [[3, 7]]
    """
    if len(items) < 2:
        return []
    cells = _cells(items)
    first, copy = _copies(cells)
    pairs = _candidates(cells, first, copy)
    most = CLOSE * _usual(items, np.sort(first))
    pairs = pairs[_alike_cells(cells, pairs, most)]
    pairs = pairs[_near(items, pairs, most, FLAT * (levels - 1))]
    return _around_the_first(pairs)


def looked(records: Records) -> Records:
    """Records of pictures with their near-duplicates, told in `near`, a fact and a note."""
    clusters = near_duplicates(records.items, int(records.facts["levels"]))
    count = sum(map(len, clusters))
    some = [[printable(records.ids[row]) for row in rows[:2]] for rows in clusters[:EXAMPLES]]
    facts = {"near": {"pictures": count, "clusters": len(clusters), "examples": some}}
    records = replace(records, facts={**records.facts, **facts})
    if not clusters:
        return records
    near = np.full(len(records), -1)
    for number, rows in enumerate(clusters):
        near[rows] = number
    note = (
        f"{count} of {len(records)} pictures are near-duplicates, in {len(clusters)} clusters: "
        "one picture saved again, resized or relit. A cluster stays in one part of the split."
    )
    return replace(records, near=tuple(near.tolist()), notes=(*records.notes, note))


def _pieces(count: int, size: int) -> Iterator[slice]:
    step = max(1, PIECE // size)
    return (slice(first, first + step) for first in range(0, count, step))


def _cells(items: Pixels) -> Floats:
    """(n, 64) whole numbers: the sums over cells, in parts of a pixel, so that they are exact."""
    n, h, w, c = items.shape
    exact = np.dtype(np.float32 if 255 * h * w * c < 1 << 24 else np.float64)
    down: Floats = _overlap(h).astype(exact)
    across: Floats = np.repeat(_overlap(w), c, axis=1).T.astype(exact)  # (w * c, 8)
    cells: Floats = np.empty((n, CELLS * CELLS))
    for piece in _pieces(n, h * w * c):
        rows: Floats = items[piece].reshape(-1, w * c).astype(exact) @ across
        columns = down @ rows.reshape(-1, h, CELLS)
        cells[piece] = columns.reshape(-1, CELLS * CELLS)
    return cells


def _overlap(side: int) -> npt.NDArray[np.int64]:
    """(8, side): how much of each pixel lies in each cell, in eighths."""
    edges = np.arange(CELLS + 1) * side
    first, last = edges[:-1, None], edges[1:, None]
    pixel = np.arange(side) * CELLS
    return np.clip(np.minimum(last, pixel + CELLS) - np.maximum(first, pixel), 0, None)


@cache
def _projections() -> Floats:
    """(64, words * bits) whole numbers: random directions, fine detail as strong as coarse.

    Pictures have little of the fine and much of the coarse (an amplitude of about 1/frequency),
    and without that weight most would share the sign of their coarse shape.
    """
    number = np.arange(CELLS)
    wave = np.cos(math.pi * number[:, None] * (2 * number + 1) / (2 * CELLS))
    waves = np.kron(wave, wave)  # (64 frequencies, 64 cells)
    frequency = np.hypot(*np.meshgrid(number, number)).ravel()
    drawn = hashlib.shake_256(b"near").digest(CELLS * CELLS * WORDS * BITS)
    directions = np.frombuffer(drawn, np.int8).reshape(CELLS * CELLS, -1) + 0.5
    return np.rint(waves.T @ (frequency[:, None] * directions))


def _copies(cells: Floats) -> tuple[Rows, Rows]:
    """The first of all rows of equal cells, and for each row which of those it equals."""
    _, first, copy = np.unique(cells @ _mixer(), return_index=True, return_inverse=True)
    return first, copy


def _candidates(cells: Floats, first: Rows, copy: Rows) -> Rows:
    """(m, 2) pairs of rows, the smaller first, that share a word; of copies only the first."""
    number = np.arange(len(cells))
    copied = number[first[copy] != number]
    found = [np.stack([first[copy][copied], copied], axis=1)]
    rows = np.sort(first)
    kept = cells[rows] @ _projections()
    bits = kept > np.median(kept[:: 1 + len(kept) // MIDDLE], axis=0)
    for word in range(WORDS):
        columns = slice(word * BITS, (word + 1) * BITS)
        code = bits[:, columns] @ (1 << np.arange(BITS))
        # Under a word that many share, those of nearly the same shape still stand together.
        order = np.lexsort((kept[:, columns.stop % kept.shape[1]], code))
        for distance in range(1, min(WINDOW, len(order) - 1) + 1):
            same = code[order[:-distance]] == code[order[distance:]]
            if not same.any():
                break
            pair = np.stack([order[:-distance][same], order[distance:][same]], axis=1)
            found.append(rows[np.sort(pair, axis=1)])
    together = np.concatenate(found)
    keys = np.unique(together[:, 0] * len(cells) + together[:, 1])
    return np.stack(np.divmod(keys, len(cells)), axis=1)


@cache
def _mixer() -> Floats:
    """(64,) whole numbers that tell nearly all rows of cells apart by one sum."""
    drawn = hashlib.shake_256(b"copy").digest(2 * CELLS * CELLS)
    return np.frombuffer(drawn, np.uint16).astype(np.float64)


def _centred(values: Floats) -> tuple[Floats, Floats]:
    """Rows without their mean and of length one, and their lengths."""
    values = values - values.mean(axis=1, keepdims=True)
    length = np.sqrt((values * values).sum(axis=1, keepdims=True))
    return values / np.maximum(length, 1e-6), length[:, 0]


def _remainder(cosine: Floats) -> Floats:
    """What is left of a row of length one when another has been fitted to it."""
    return np.sqrt(np.clip(1 - np.clip(cosine, 0, 1) ** 2, 0, 1))


def _usual(items: Pixels, rows: Rows) -> float:
    """The median share of variance that tells a picture from the nearest twentieth of others."""
    if len(rows) < 2:
        return 0.0
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64))]
    flat, _ = _centred(_flat(items, rows))
    remainder = _remainder(flat @ flat.T)
    np.fill_diagonal(remainder, np.inf)
    # Not the very nearest: that may be the copy that is looked for.
    rank = min(len(rows) - 2, 2 + len(rows) // 20)
    return float(np.median(np.partition(remainder, rank, axis=1)[:, rank])) ** 2


def _flat(items: Pixels, rows: Rows, fold: int = 1) -> Floats:
    """(n, d) means of squares of `fold` pixels a side; what is left over at the edges is not."""
    n, (h, w, c) = len(rows), items.shape[1:]
    some = items[rows, : h - h % fold, : w - w % fold].astype(np.float32)
    squares = some.reshape(n, h // fold, fold, w // fold, fold, c)
    return squares.mean(axis=(2, 4)).reshape(n, -1)


def _alike_cells(cells: Floats, pairs: Rows, most: float) -> npt.NDArray[np.bool_]:
    """(m,) whether pairs differ little enough in their cells to be worth a closer look."""
    unit = _centred(cells)[0].astype(np.float32)
    alike = np.empty(len(pairs), dtype=np.bool_)
    for piece in _pieces(len(pairs), cells.shape[1]):
        one, other = pairs[piece].T
        alike[piece] = _remainder(np.einsum("ij,ij->i", unit[one], unit[other])) <= most
    return alike


def _near(items: Pixels, pairs: Rows, most: float, flat: float) -> npt.NDArray[np.bool_]:
    """(m,) whether pairs are near duplicates, and not the very same, whole or at half the size.

    What resizing and codecs change is gone at half the size, where strokes are still seen.
    """
    alike = _alike(items, pairs, most, flat)
    if min(items.shape[1:3]) >= 2 * CELLS:
        alike |= _alike(items, pairs, HALVED * most, flat, fold=2)
    return alike


def _alike(
    items: Pixels, pairs: Rows, most: float, flat: float, fold: int = 1
) -> npt.NDArray[np.bool_]:
    """(m,) whether pairs are near duplicates, and not the very same, by all their squares."""
    whole = int(np.prod(items.shape[1:]))
    size = whole // fold**2
    peak = SPREAD * math.sqrt(2 * math.log(max(2, size))) * most / math.sqrt(size)
    alike = np.empty(len(pairs), dtype=np.bool_)
    for piece in _pieces(len(pairs), whole):
        levels = [_flat(items, rows, fold) for rows in pairs[piece].T]
        (one, length), (other, width) = (_centred(values) for values in levels)
        cosine = np.einsum("ij,ij->i", one, other)
        left = np.abs(other - cosine[:, None] * one).max(axis=1)
        seen = np.minimum(length, width) > flat * math.sqrt(size)
        light = np.maximum(length, width) <= LIGHT * np.minimum(length, width)
        one_whole, other_whole = (items[rows] for rows in pairs[piece].T)
        differs = (one_whole != other_whole).any(axis=(1, 2, 3))
        alike[piece] = (_remainder(cosine) <= most) & (left <= peak) & seen & light & differs
    return alike


def _around_the_first(pairs: Rows) -> list[list[int]]:
    """Clusters of a first row and all that are alike to it and in no earlier cluster."""
    first: dict[int, int] = {}
    clusters: dict[int, list[int]] = {}
    for one, other in pairs.tolist():  # in ascending order
        if first.setdefault(one, one) == one and first.setdefault(other, one) == one:
            clusters.setdefault(one, [one]).append(other)
    return [sorted(rows) for rows in clusters.values()]
