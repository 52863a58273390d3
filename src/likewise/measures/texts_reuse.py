"""Measures of what texts take from train word for word.

A run is verbatim if it also stands, as it is, within one text of train. Train may be tens of
megabytes: it is read once, in blocks, each run of it hashed (64 bits, by doubling: a run of 2 w is
two runs of w) and looked up among the runs of the texts that are asked about; every hit is then
compared unit by unit. So nothing is found that is not there; a run is overlooked only where two
hashes of 64 bits collide.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.core.errors import UsageError, must
from likewise.measures.measure import Estimate
from likewise.measures.texts import Real, Unit, share, text_measure, units

Codes: TypeAlias = NDArray[np.uint64]
Mask: TypeAlias = NDArray[np.bool_]
Encode: TypeAlias = Callable[[str], Codes]

RUN = 50  # characters that hardly stand in two texts by chance
BLOCK = 1 << 20  # units of train that are hashed at once
SIEVE = 22  # bits of a hash that are looked at first
SIFTED = np.uint64(64 - SIEVE)
BETWEEN, OUTSIDE, UNKNOWN = 1 << 40, 1 << 41, 1 << 42  # after a text asked about; after one of
# train; a word that no text asked about holds: so none of them is ever shared
FACTOR, MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9  # odd, their bits in no order


def runs_in_train(
    texts: Sequence[str], train: Sequence[str], *, length: int = RUN, unit: Unit = "character"
) -> list[Mask]:
    """Which units of each text stand in a run of at least `length` that also stands in train.

    Args:
        texts: that are asked about; what they hold must fit into memory a few times.
        train: any number of texts.
        length: of a run, at least 1.
        unit: of which it is made.

    Returns:
        For each text a bool for each of its units.

    Raises:
        UsageError: the length is below 1.

    Example:
        >>> runs_in_train(["xabcx"], ["abcd"], length=3)[0].tolist()
        [False, True, True, True, False]
    """
    if length < 1:
        raise UsageError(must("length", "at least 1", length))
    asked = _Asked(texts, unit)
    return asked.spread(asked.hits(train, length), length)


def longest_shared(texts: Sequence[str], train: Sequence[str], *, unit: Unit = "character") -> int:
    """The length of the longest run of any of the texts that also stands in train.

    Found by doubling and halving: if a run of so many is shared, so are all shorter ones.

    Example:
        >>> longest_shared(["to be or", "not to be"], ["it is not to have"])
        7
    """
    asked = _Asked(texts, unit)

    def shared(length: int) -> bool:
        return any(found.any() for found in asked.search(train, length))

    least, most = 0, 1
    while shared(most):
        least, most = most, 2 * most
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if shared(middle) else (least, middle)
    return least


@text_measure(unit="1", better="lower", minimum=2)
def overlap(
    made: Sequence[str],
    held_out: Sequence[str],
    *,
    train: Sequence[str],
    size: int = 4,
    unit: Unit = "word",
) -> Estimate:
    """The share of n-grams that also stand in train.

    Rewards what was not taken from train, and noise above all: all writing shares n-grams with
    other writing, so less than held-out texts share is no merit. Student's interval over texts.

    Args:
        made, held_out: texts.
        train: what the model was trained on.
        size: n.
        unit: of which the n-grams are made.
    """
    ours, theirs = _shares(made, held_out, train, size, unit, whole=True)
    real = share(*theirs).value
    value, interval, how, used = share(*ours)
    said = f"{size}-grams of {unit}s; of those of held-out texts {real:.1%} stand in train"
    return Estimate(value, interval, f"{said}; {how}", used)


@text_measure(unit="1", better="lower", minimum=2)
def verbatim(
    made: Sequence[str],
    held_out: Sequence[str],
    *,
    train: Sequence[str],
    length: int = RUN,
    unit: Unit = "character",
) -> Estimate:
    """The share of all characters that stand in a long run that also stands in train.

    Rewards what was not recited; less than held-out texts have (quotations, licences, headings)
    is no merit. Cannot see a copy in which every few words are changed. Student's over texts.

    Args:
        made, held_out: texts.
        train: what the model was trained on.
        length: of a run; 50 characters or 8 words are long.
        unit: of which runs are made, and the share too.
    """
    ours, theirs = _shares(made, held_out, train, length, unit, whole=False)
    real = share(*theirs).value
    value, interval, how, used = share(*ours)
    said = f"runs of at least {length} {unit}s; {real:.2%} of held-out texts stand in such runs"
    return Estimate(value, interval, f"{said}; {how}", used)


@text_measure(unit="characters", better="lower", minimum=1)
def longest_run(made: Sequence[str], held_out: Sequence[str], *, train: Sequence[str]) -> Estimate:
    """The longest run of characters that also stands in train: the longest common substring.

    Rewards not reciting; shorter than that of as many held-out texts is no merit. A maximum grows
    with n and has no interval.

    Args:
        made, held_out: texts, equally many.
        train: what the model was trained on.
    """
    length, real = longest_shared(made, train), longest_shared(held_out, train)
    how = f"of {len(made)} texts; {real} characters of {len(held_out)} held-out texts"
    return Estimate(float(length), None, how)


def _shares(
    made: Sequence[str],
    held_out: Sequence[str],
    train: Sequence[str],
    length: int,
    unit: Unit,
    *,
    whole: bool,
) -> list[tuple[Real, Real]]:
    """(found, all) of each text on either side: of units, or of `whole` runs; train read once."""
    asked = _Asked([*made, *held_out], unit)
    hits = asked.hits(train, length)
    if whole:
        found_in = np.bincount(asked.text[: len(hits)][hits], minlength=len(asked.sizes))
        totals = np.maximum(asked.sizes - length + 1, 0)
    else:
        found_in = np.array([int(mask.sum()) for mask in asked.spread(hits, length)])
        totals = asked.sizes
    n = len(made)
    parts, sizes = found_in.astype(np.float64), totals.astype(np.float64)
    return [(parts[:n], sizes[:n]), (parts[n:], sizes[n:])]


class _Asked:
    """Texts that are asked about, as numbers: one for each unit, and one after each text."""

    def __init__(self, texts: Sequence[str], unit: Unit) -> None:
        self.encode = _encoder(texts, unit)
        rows = [self.encode(text) for text in texts]
        self.sizes = np.array([len(row) for row in rows], dtype=np.int64)
        self.text = np.repeat(np.arange(len(rows)), self.sizes + 1)
        self.codes = _joined(rows, BETWEEN)

    def hits(self, train: Sequence[str], length: int) -> Mask:
        """Which runs of this length stand in train, by where they start: (runs,) bool."""
        hits = self._none(length)
        for found in self.search(train, length):
            hits |= found
        return hits

    def search(self, train: Sequence[str], length: int) -> Iterator[Mask]:
        """For each block of train the runs that stand in it and in none before: (runs,) bool."""
        missing = ~self._none(length)
        keys, number = np.unique(_hashes(self.codes, length), return_inverse=True)
        sieve = np.zeros(1 << SIEVE, dtype=bool)
        sieve[keys >> SIFTED] = True
        for block in _blocks(train, self.encode, length):
            where = _places(_hashes(block, length), keys, sieve)[number]
            runs = np.flatnonzero(missing & (where >= 0))
            for step in range(length):
                runs = runs[self.codes[runs + step] == block[where[runs] + step]]
            found = self._none(length)
            found[runs] = True
            missing &= ~found
            yield found

    def spread(self, hits: Mask, length: int) -> list[Mask]:
        """Which units of each text stand in a run that was hit."""
        change = np.zeros(len(self.codes) + 1, dtype=np.int64)
        change[: len(hits)] += hits
        change[length : length + len(hits)] -= hits
        covered = np.cumsum(change)[:-1] > 0
        ends = np.cumsum(self.sizes + 1)
        starts = ends - self.sizes - 1
        return [covered[start : end - 1] for start, end in zip(starts, ends, strict=True)]

    def _none(self, length: int) -> Mask:
        return np.zeros(max(0, len(self.codes) - length + 1), dtype=bool)


def _encoder(texts: Sequence[str], unit: Unit) -> Encode:
    """A text as numbers: code points, or the numbers of the words that `texts` hold."""
    if unit == "character":
        return lambda text: np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(
            np.uint64
        )
    known: dict[str, int] = {}
    for text in texts:
        for word in units(text, "word"):
            known.setdefault(word, len(known))
    return lambda text: np.array(
        [known.get(word, UNKNOWN) for word in units(text, "word")], dtype=np.uint64
    )


def _joined(rows: Sequence[Codes], after: int) -> Codes:
    """Rows one after another, each followed by a number that no other side holds."""
    end = np.array([after], dtype=np.uint64)
    return np.concatenate([part for row in rows for part in (row, end)] or [end[:0]])


def _blocks(train: Sequence[str], encode: Encode, length: int) -> Iterator[Codes]:
    """Train in blocks of some `BLOCK` units; where a text is cut, the ends overlap."""
    rows: list[Codes] = []
    waiting = 0
    for text in train:
        row = encode(text)
        for start in range(0, max(1, len(row) - length + 1), BLOCK):
            rows.append(row[start : start + BLOCK + length - 1])
            waiting += len(rows[-1])
            if waiting >= BLOCK:
                yield _joined(rows, OUTSIDE)
                rows, waiting = [], 0
    if rows:
        yield _joined(rows, OUTSIDE)


def _hashes(codes: Codes, length: int) -> Codes:
    """A hash of each run of `length` units, by where it starts: (len(codes) - length + 1,)."""
    if len(codes) < length:
        return codes[:0]
    hashes, width, level = _mixed(codes), 1, 1
    while width < length:
        step = min(width, length - width)  # the two halves overlap where the length is no power
        hashes = hashes[:-step] * np.uint64(pow(FACTOR, level, 1 << 64)) + hashes[step:]
        width, level = width + step, level + 1
    return _mixed(hashes)


def _mixed(hashes: Codes) -> Codes:
    """Every bit of each number spread over all of its bits."""
    mixed = hashes * np.uint64(MIX)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(FACTOR)
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _places(hashes: Codes, keys: Codes, sieve: Mask) -> NDArray[np.int64]:
    """Where in `hashes` each of the sorted keys stands, -1 where nowhere: (len(keys),)."""
    where = np.full(len(keys), -1)
    places = np.flatnonzero(sieve[hashes >> SIFTED])
    if len(keys):
        nearest = np.searchsorted(keys, hashes[places]).clip(max=len(keys) - 1)
        same = keys[nearest] == hashes[places]
        where[nearest[same]] = places[same]
    return where
