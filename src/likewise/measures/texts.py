"""Measures of texts: how varied they are, and how often they repeat themselves.

A text is a string; its units are words (letters and digits, or one other sign) or characters. Each
measure is one of generated texts, with held-out texts as its yardstick: it says what real texts
score, since neither the most varied nor the least repetitive text is the best. What depends on
length is measured at the length of the held-out texts, whatever was generated.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.core.errors import UsageError, must
from likewise.core.results import Better, Score
from likewise.measures.intervals import GROUPS, Interval, clopper_pearson, deal, jackknife
from likewise.measures.likelihood import nats_per_dim
from likewise.measures.measure import Estimate, RefusalError

Unit: TypeAlias = Literal["word", "character"]
Whole: TypeAlias = NDArray[np.int64]
Real: TypeAlias = NDArray[np.float64]
WORD = re.compile(r"\w+|[^\w\s]")
ALMOST_NONE = 0.1  # matches, where a BLEU has none of an order


class TextMeasure:
    """A measuring function of texts with all that makes its number readable.

    Attributes:
        name: of the function.
        unit: of the value.
        better: which way is better.
        minimum: the smallest number of texts on either side.
        function: (made, held_out, **options) -> Estimate, or raises RefusalError.
    """

    def __init__(
        self, function: Callable[..., Estimate], *, unit: str, better: Better, minimum: int
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = function.__name__
        self.unit, self.better, self.minimum = unit, better, minimum
        self.function = function

    def __call__(self, made: Sequence[str], held_out: Sequence[str], **options: Any) -> Score:
        """The Score of generated texts; `value` is None, and `why` says why, where refused.

        Raises:
            UsageError: a side is one string in place of several.
        """
        for texts, whose in ((made, "generated"), (held_out, "held-out")):
            if isinstance(texts, str):
                raise UsageError(must(f"{whose} texts", "a list of strings", "one string"))
        n = min(len(made), len(held_out))
        try:
            if n < self.minimum:
                raise RefusalError(f"it needs at least {self.minimum} texts; got {n}.")
            value, interval, how, used = self.function(made, held_out, **options)
        except RefusalError as refusal:
            return self.missing(str(refusal), n)
        low, high = interval or (None, None)
        return Score(
            value=value,
            low=low,
            high=high,
            unit=self.unit,
            better=self.better,
            n=n if used is None else used,
            how=how,
        )

    def missing(self, why: str, n: int = 0) -> Score:
        """A Score without a value."""
        return Score(value=None, unit=self.unit, better=self.better, n=n, why=why)


def text_measure(
    *, unit: str, better: Better, minimum: int = GROUPS
) -> Callable[[Callable[..., Estimate]], TextMeasure]:
    """Make a TextMeasure of a function."""
    return functools.partial(TextMeasure, unit=unit, better=better, minimum=minimum)


def units(text: str, unit: Unit) -> list[str]:
    """The words or the characters of a text.

    Example:
        >>> units("To be, or", "word"), units("To", "character")
        (['To', 'be', ',', 'or'], ['T', 'o'])
    """
    return WORD.findall(text) if unit == "word" else list(text)


class Grams(NamedTuple):
    """Runs of n units within texts.

    Attributes:
        ids: (N,) equal numbers for equal runs, in the order of the texts.
        text: (N,) the number of the text that each stands in.
    """

    ids: Whole
    text: Whole


def grams(sides: Sequence[Sequence[str]], size: int, unit: Unit) -> list[Grams]:
    """The n-grams of each side, numbered alike on all sides; a short text has none.

    Example:
        >>> grams([["a b a b"], ["b a"]], 2, "word")[0].ids.tolist()
        [0, 1, 0]
    """
    known: dict[str, int] = {}
    rows = [
        [known.setdefault(u, len(known)) for u in units(text, unit)]
        for side in sides
        for text in side
    ]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    codes = np.array([code for row in rows for code in row], dtype=np.int64)
    text = np.repeat(np.arange(len(rows)), lengths)
    inside = text[: max(0, len(text) - size + 1)] == text[size - 1 :]
    ids = codes[: len(inside)]
    for back in range(1, size):  # exact: a number for each pair of a shorter run and what follows
        pairs = ids * len(known) + codes[back : back + len(inside)]
        ids = np.unique(pairs, return_inverse=True)[1]
    ids, text = ids[inside], text[: len(inside)][inside]
    ends = np.cumsum([len(side) for side in sides])
    return [
        Grams(ids[own], text[own] - end + len(side))
        for side, end in zip(sides, ends, strict=True)
        for own in [(text >= end - len(side)) & (text < end)]
    ]


def ratio(parts: Real, sizes: Real) -> Estimate:
    """Sum of parts / sum of sizes over texts, with Student's interval (linearised)."""
    kept = sizes > 0
    sums, wholes = torch.from_numpy(parts[kept]), torch.from_numpy(sizes[kept])
    if len(sums) < 2:
        raise RefusalError(f"fewer than 2 of {len(parts)} texts are long enough to be looked at.")
    estimate: Estimate = nats_per_dim.function(-sums, dimensions=wholes)
    return estimate._replace(used=len(sums))


def share(parts: Real, sizes: Real) -> Estimate:
    """`ratio` of parts that are at most their sizes, its interval in [0, 1].

    Where all or none is found that interval has no width; what stands in for it is exact: as many
    independent trials as texts, all alike (Clopper and Pearson, 1934).

    Example:
        >>> value, interval, _, _ = share(np.zeros(10), np.ones(10))
        >>> value, interval.low, round(interval.high, 4)
        (0.0, 0.0, 0.3085)
    """
    found, interval, how, _ = ratio(parts, sizes)
    value, n = abs(found), int((sizes > 0).sum())
    assert interval is not None
    if interval.low < interval.high:
        return Estimate(value, _within(interval), how, n)
    miss = clopper_pearson(0, n).high
    how = f"exact interval over {n} examples, all alike"
    return Estimate(value, _within(Interval(value - miss, value + miss)), how, n)


def _within(interval: Interval) -> Interval:
    """As much of it as a share can be."""
    return Interval(max(0.0, interval.low), min(1.0, interval.high))


# -- distinct n-grams -----------------------------------------------------------------------


@text_measure(unit="1", better="higher")
def distinct(
    made: Sequence[str], held_out: Sequence[str], *, size: int = 2, unit: Unit = "word"
) -> Estimate:
    """Distinct-n: different n-grams / all n-grams (Li et al., 2016).

    "A diversity-promoting objective function for neural conversation models". Rewards variety, and
    noise above all: more than held-out texts have is no merit. The share falls as texts grow, so
    the first N n-grams are counted, N being half of what the held-out texts have.

    Jackknife over 20 groups of texts.

    Args:
        made, held_out: texts, in random order.
        size: n.
        unit: of which the n-grams are made.
    """
    ours, theirs = grams((made, held_out), size, unit)
    count = len(theirs.ids) // 2
    if len(ours.ids) < count or count < GROUPS:
        needs = f"{max(count, GROUPS)} {size}-grams of {unit}s, half of what held-out texts have"
        raise RefusalError(f"it counts {needs}; the generated texts have {len(ours.ids)}.")
    counted = Grams(*(part[:count] for part in ours))
    share, replicates = _distinct(counted)
    yardstick = len(np.unique(theirs.ids[:count])) / count
    how = (
        f"over {count:,} {size}-grams of {unit}s, of which held-out texts have {yardstick:.1%} "
        f"different ones; jackknife over {GROUPS} groups of texts"
    )
    used = int(counted.text.max()) + 1
    return Estimate(share, _within(jackknife(share, replicates)), how, used)


def _distinct(found: Grams) -> tuple[float, list[float]]:
    """The share of different n-grams, and without each group of texts."""
    used = int(found.text.max()) + 1
    if used < GROUPS:
        raise RefusalError(f"it needs {GROUPS} texts to see how sure it is; {used} hold them all.")
    group = deal(used).numpy()[found.text]
    _, number = np.unique(found.ids, return_inverse=True)
    first = np.full(number.max() + 1, GROUPS)
    last = np.full(number.max() + 1, -1)
    np.minimum.at(first, number, group)
    np.maximum.at(last, number, group)
    alone = np.bincount(first[first == last], minlength=GROUPS)  # stand in this group only
    rest = len(number) - np.bincount(group, minlength=GROUPS)
    return len(first) / len(number), ((len(first) - alone) / np.maximum(rest, 1)).tolist()


# -- self-BLEU ------------------------------------------------------------------------------


@text_measure(unit="1", better="lower")
def self_bleu(
    made: Sequence[str], held_out: Sequence[str], *, size: int = 4, unit: Unit = "word"
) -> Estimate:
    """Self-BLEU: the mean BLEU of each text against all others (Zhu et al., "Texygen", 2018).

    Rewards texts that are unlike each other, and noise above all: less than held-out texts have
    is no merit. It grows with the number of texts, so compare it at equal n only.

    BLEU as of Papineni et al. (2002), weights 1 / size, the closest length as the reference's;
    where an order above 1 has no match 0.1 is counted (Chen and Cherry, 2014, method 1), and
    without any match it is 0. Texts of fewer than `size` units are left out. Jackknife over 20
    groups of texts.

    Args:
        made, held_out: texts.
        size: the longest n-grams.
        unit: of which they are made.
    """
    bleu = _SelfBleu(made, size, unit)
    value = bleu.mean(np.ones(bleu.n, dtype=bool))
    group = deal(bleu.n).numpy()
    replicates = [bleu.mean(group != left_out) for left_out in range(GROUPS)]
    real = _SelfBleu(held_out[: bleu.n], size, unit)
    yardstick = real.mean(np.ones(real.n, dtype=bool))
    how = (
        f"BLEU-{size} over {unit}s of {bleu.n} texts, {real.n} held-out texts have "
        f"{yardstick:.3f}; jackknife over {GROUPS} groups of texts"
    )
    if bleu.n < len(made):
        how += f"; {len(made) - bleu.n} texts of fewer than {size} {unit}s left out"
    return Estimate(value, _within(jackknife(value, replicates)), how, bleu.n)


class _SelfBleu:
    """The n-grams of texts, ready to be compared among any of them."""

    def __init__(self, texts: Sequence[str], size: int, unit: Unit) -> None:
        kept = [text for text in texts if len(units(text, unit)) >= size]
        if len(kept) < GROUPS:
            least = f"{GROUPS} texts of at least {size} {unit}s"
            raise RefusalError(f"it needs {least}; got {len(kept)} of {len(texts)}.")
        self.n = len(kept)
        tables = [grams([kept], order, unit)[0] for order in range(1, size + 1)]
        self.lengths = np.bincount(tables[0].text, minlength=self.n)
        self.orders = [self._counts(table) for table in tables]

    def _counts(self, found: Grams) -> tuple[Whole, Whole, Whole]:
        """(n-gram, text, how often there), those of an n-gram together, the most often first."""
        pairs, counts = np.unique(found.ids * self.n + found.text, return_counts=True)
        ids, text = pairs // self.n, pairs % self.n
        order = np.lexsort((-counts, ids))
        return ids[order], text[order], counts[order]

    def mean(self, kept: NDArray[np.bool_]) -> float:
        """Mean BLEU among the texts kept, (n,) bool."""
        scores, found = np.zeros(self.n), kept.copy()
        for order, (ids, text, counts) in enumerate(self.orders, start=1):
            own = kept[text]
            matches = self._matches(ids[own], text[own], counts[own])
            if order == 1:
                found &= matches > 0
            matches = np.where(matches > 0, matches, ALMOST_NONE)
            scores += np.log(matches / (self.lengths - order + 1)) / len(self.orders)
        scores[kept] += np.minimum(0.0, 1.0 - _closest(self.lengths[kept]) / self.lengths[kept])
        return float(np.where(found, np.exp(scores), 0.0)[kept].mean())

    def _matches(self, ids: Whole, text: Whole, counts: Whole) -> Real:
        """How many n-grams of each text stand in another, each as often as in one other: (n,)."""
        start = np.flatnonzero(np.diff(ids, prepend=-1))  # where an n-gram is most often
        run = np.repeat(start, np.diff(start, append=len(ids)))
        second = run + 1  # may be that of another n-gram, or beyond the last
        next_best = np.where(np.append(ids, -1)[second] == ids, np.append(counts, 0)[second], 0)
        most = np.where(np.arange(len(ids)) == run, next_best, counts[run])  # of all others
        matches = np.bincount(text, weights=np.minimum(counts, most), minlength=self.n)
        return matches.astype(np.float64)


def _closest(lengths: Whole) -> Whole:
    """Of each length (n,), the nearest of the others, the shorter of two as near."""
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order]
    shorter = np.concatenate([ranked[1:2], ranked[:-1]])
    longer = np.concatenate([ranked[1:], ranked[-2:-1]])
    nearest = np.empty_like(lengths)
    nearest[order] = np.where(np.abs(ranked - shorter) <= np.abs(longer - ranked), shorter, longer)
    return nearest


# -- repetition -----------------------------------------------------------------------------


@text_measure(unit="1", better="lower")
def repetition(
    made: Sequence[str], held_out: Sequence[str], *, size: int = 4, unit: Unit = "word"
) -> Estimate:
    """The share of n-grams that stood in the same text before, averaged over texts.

    Loops are how likely text degenerates (Holtzman et al., "The curious case of neural text
    degeneration", 2020; the share as in Welleck et al., "Neural text generation with unlikelihood
    training", 2020). Rewards texts that do not loop; less than held-out texts have is no merit.
    Texts are cut at the median length of held-out ones. Student's interval over texts.

    Args:
        made, held_out: texts.
        size: n.
        unit: of which the n-grams are made.
    """
    ours, theirs = grams((made, held_out), size, unit)
    longest = math.ceil(np.median(np.bincount(theirs.text, minlength=len(held_out))))
    shares, real = _repeated(ours, longest), _repeated(theirs, longest)
    if len(shares) < GROUPS or len(real) < GROUPS:
        few = min(len(shares), len(real))
        raise RefusalError(f"it needs {GROUPS} texts of at least {size} {unit}s; got {few}.")
    value, interval, over, used = share(shares, np.ones_like(shares))
    how = (
        f"{size}-grams of {unit}s, at most {longest} of a text; held-out texts repeat "
        f"{real.mean():.2%}; {over}"
    )
    return Estimate(value, interval, how, used)


def _repeated(found: Grams, longest: int) -> Real:
    """The share that stood before, of each text that has n-grams, of its first `longest`."""
    starts = np.searchsorted(found.text, found.text)
    kept = np.arange(len(found.text)) - starts < longest
    ids, text = found.ids[kept], found.text[kept]
    totals = np.bincount(text)
    pairs = np.unique(np.stack([text, ids]), axis=1)
    different = np.bincount(pairs[0], minlength=len(totals))
    shares: Real = 1.0 - different[totals > 0] / totals[totals > 0]
    return shares
