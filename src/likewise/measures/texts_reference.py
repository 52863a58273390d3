"""A two-sample test of texts by an independent model: what would be learned from them?

A small n-gram model of characters is trained on generated texts and again on as much valid text,
and both are asked for test texts. What the first needs more, in bits a byte, is the distance: 0
for real data. It sees all that four characters of context tell: spelling, words, punctuation,
lengths of lines. It cannot see whether the sentences follow from one another, nor copying.

The model interpolates orders 1 to 5 as Witten and Bell do ("The zero-frequency problem", 1991):
p(s | c) = (n(c, s) + t(c) p(s | shorter c)) / (n(c) + t(c)), t(c) being the number of different
signs seen after c. Order 0 gives every Unicode character and the end of a text the same share.

Shapes: N characters, R columns: column 0 counts every training text, column g leaves out group g.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.core.errors import UsageError, must
from likewise.measures.intervals import GROUPS, Interval, deal, jackknife
from likewise.measures.measure import Estimate, RefusalError
from likewise.measures.texts import Real, Whole, ratio, text_measure

ORDER = 5
SIGNS = 0x110000 + 1  # every Unicode character, and the end of a text
MOST, LEAST = 200_000, 2_000  # characters on each side: beyond the first little is gained
LEFT_OUT = 10  # groups of training texts, left out one at a time


def sizes_in_bytes(texts: Sequence[str]) -> Real:
    """(n,) bytes of each text in UTF-8, its end counted as one.

    Example:
        >>> sizes_in_bytes(["é", ""]).tolist()
        [3.0, 1.0]
    """
    return np.array([len(text.encode("utf-8", "surrogatepass")) + 1.0 for text in texts])


def character_log_masses(training: Sequence[str], texts: Sequence[str]) -> Tensor:
    """The log mass of each text, end included, under the n-gram model of training texts.

    Returns:
        (n,) float64 nats.

    Raises:
        UsageError: there is no training text.

    Example:
        >>> known, new = character_log_masses(["abab"] * 5, ["abab", "bbaa"]).tolist()
        >>> known > new
        True
    """
    if not training:
        raise UsageError(must("the number of training texts", "at least 1", 0))
    runs = _runs([*training, *texts])
    rows = np.arange(len(training) + len(texts))
    masses = _log_masses(runs, rows < len(training), np.zeros_like(rows), rows >= len(training), 0)
    return torch.from_numpy(masses[:, 0])


@text_measure(unit="bits/byte", better="lower")
def reference_distance(
    made: Sequence[str], held_out: Sequence[str], *, valid: Sequence[str]
) -> Estimate:
    """Bits a byte of test texts under a model of generated ones, beyond one of valid ones.

    Rewards texts from which as much can be learned as from real ones. 0 for real data; it may come
    out a little below, where generated texts are smoother than as many real ones. The first
    generated and the last valid texts are read, half as many characters as valid has (at most
    200,000), so that valid against itself shares no text.

    The interval is Student's over test texts, joined by the jackknife over 10 groups of the
    generated and of the valid texts.

    Args:
        made: generated texts, in random order.
        held_out: test texts; as many are read as have 200,000 characters.
        valid: never-trained texts, in random order.
    """
    count = min(MOST, sum(map(len, valid)) // 2)
    known = sum(map(len, made))
    if min(count, known) < max(count, LEAST):
        wanted = f"{max(count, LEAST):,} characters, half of what valid texts have or {LEAST:,}"
        raise RefusalError(f"it reads {wanted}; generated {known:,}, half of valid {count:,}.")
    first, second = _first(made, count), _last(valid, count)
    asked = _whole(held_out, MOST)
    if min(len(first), len(second)) < LEFT_OUT or len(asked) < GROUPS:
        got = f"{len(first)} generated, {len(second)} valid and {len(asked)} test texts"
        raise RefusalError(
            f"it needs {LEFT_OUT} texts to learn of and {GROUPS} to ask; got {got}."
        )
    return _difference(first, second, asked)


def _difference(first: list[str], second: list[str], asked: list[str]) -> Estimate:
    """What texts cost after the first rather than after the second, in bits a byte."""
    runs = _runs([*first, *second, *asked])
    side = np.repeat([0, 1, 2], [len(first), len(second), len(asked)])
    group = np.zeros(len(side), dtype=np.int64)
    costs = []
    for number, texts in enumerate((first, second)):
        group[side == number] = deal(len(texts), LEFT_OUT).numpy()
        nats = -_log_masses(runs, side == number, group, side == 2, LEFT_OUT)
        costs.append(nats / math.log(2))
    sizes = sizes_in_bytes(asked)
    value, interval, _, _ = ratio(costs[0][:, 0] - costs[1][:, 0], sizes)
    low = interval.low if interval else value
    halves = [value - low] + [
        value - jackknife(value, (cost[:, 1:].sum(axis=0) / sizes.sum()).tolist()).low
        for cost in costs
    ]
    half = math.hypot(*halves)
    rates = [float(cost[:, 0].sum() / sizes.sum()) for cost in costs]
    how = (
        f"{rates[0]:.3f} bits/byte of {len(asked)} test texts after {len(first)} generated, "
        f"{rates[1]:.3f} after as much of {len(second)} valid ones; {ORDER}-grams of characters; "
        f"Student interval over texts, jackknife over {LEFT_OUT} groups of either side"
    )
    return Estimate(value, Interval(value - half, value + half), how)


def _first(texts: Sequence[str], count: int) -> list[str]:
    """The first `count` characters, the last text cut."""
    taken = []
    for text in texts:
        if count <= 0:
            break
        taken.append(text[:count])
        count -= len(text)
    return taken


def _last(texts: Sequence[str], count: int) -> list[str]:
    """The last `count` characters, the first text cut."""
    backwards = _first([text[::-1] for text in reversed(texts)], count)
    return [text[::-1] for text in reversed(backwards)]


def _whole(texts: Sequence[str], count: int) -> list[str]:
    """The first texts, up to the one with which they have `count` characters."""
    before = np.cumsum([0, *map(len, texts)])[:-1]
    return [text for text, start in zip(texts, before, strict=True) if start < count]


class _Runs(NamedTuple):
    """All characters of some texts, each text closed by an end, and what stands before each.

    Attributes:
        text: (N,) the number of the text.
        contexts: for each order the (N,) number of what stands before the character.
        runs: for each order the (N,) number of that together with the character.
    """

    text: Whole
    contexts: list[Whole]
    runs: list[Whole]


def _runs(texts: Sequence[str]) -> _Runs:
    codes = [np.frombuffer(t.encode("utf-32-le", "surrogatepass"), "<u4") for t in texts]
    end = np.array([SIGNS - 1], dtype="<u4")
    signs, symbols = np.unique(
        np.concatenate([part for row in codes for part in (row, end)]), return_inverse=True
    )
    text = np.repeat(np.arange(len(texts)), [len(row) + 1 for row in codes])
    begins = np.diff(text, prepend=-1) > 0
    contexts, runs = [np.zeros_like(text)], [symbols]
    for _ in range(1, ORDER):  # exact: what stood before the last sign, and that sign
        context = np.where(begins, 0, np.roll(runs[-1], 1) + 1)
        contexts.append(context)
        pairs = context * len(signs) + symbols
        runs.append(np.unique(pairs, return_inverse=True)[1])
    return _Runs(text, contexts, runs)


def _log_masses(
    found: _Runs, training: NDArray[np.bool_], group: Whole, asked: NDArray[np.bool_], groups: int
) -> Real:
    """The log mass of each text asked, (texts, 1 + groups).

    Args:
        found: the characters of all texts.
        training, asked: which texts are learned, and which are asked.
        group: of each text; those of one group are left out together.
        groups: how many there are; 0 for none to be left out.
    """
    learned, wanted = training[found.text], asked[found.text]
    groups_of = group[found.text[learned]]
    share = np.full((int(wanted.sum()), 1 + groups), 1.0 / SIGNS)
    for context, run in zip(found.contexts, found.runs, strict=True):
        runs, first, number = np.unique(run[learned], return_index=True, return_inverse=True)
        counts = _counts(number, groups_of, groups)
        own = context[learned][first]  # the context of each run
        order = np.argsort(own, kind="stable")
        places, starts = np.unique(own[order], return_index=True)
        seen = np.add.reduceat(counts[order], starts)
        kinds = np.add.reduceat((counts[order] > 0).astype(np.float64), starts)
        n, t = _at(places, seen, context[wanted]), _at(places, kinds, context[wanted])
        c = _at(runs, counts, run[wanted])
        share = np.where(n > 0, (c + t * share) / np.maximum(n + t, 1.0), share)
    _, starts = np.unique(found.text[wanted], return_index=True)
    masses: Real = np.add.reduceat(np.log(share), starts)
    return masses


def _counts(number: Whole, group: Whole, groups: int) -> Real:
    """How often each number stands, in all and without each group: (numbers, 1 + groups)."""
    kinds = int(number.max()) + 1
    whole = np.bincount(number, minlength=kinds)[:, None]
    if not groups:
        return whole.astype(np.float64)
    table = np.bincount(number * groups + group, minlength=kinds * groups)
    parts = table.reshape(kinds, groups)  # (kinds * groups,) -> (kinds, groups)
    return np.concatenate([whole, whole - parts], axis=1).astype(np.float64)


def _at(keys: Whole, rows: Real, asked: Whole) -> Real:
    """The row of each key asked, 0 where there is none: (asked, R)."""
    place = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
    return np.where((keys[place] == asked)[:, None], rows[place], 0.0)
