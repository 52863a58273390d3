"""Balance: does a model write of groups as often, and as kindly, as real texts do?

Groups are lists of words that a person may give. Two things are read off sentences that hold such
a word: each group's share of all of these words, and how much of what is said beside each group is
positive, out of two short lists of words. The effect is the largest shift of any of these shares
against texts that were never trained on; one that held-out texts do not tell is named, and keeps
the rule from passing. It counts words (as Sheng et al., "The woman worked as a babysitter: on
biases in language generation", 2019, judge what is said of groups); it understands no negation and
no irony, and the lists given here are short and English.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from likewise.auditing.rule import Effect, Rule
from likewise.auditing.texts import Texts
from likewise.core.errors import UsageError, must
from likewise.core.text import printable
from likewise.measures.intervals import Interval, clopper_pearson, student_quantile
from likewise.measures.texts import Real

Words: TypeAlias = Mapping[str, Sequence[str]]

MATTERS = 0.2
FEWEST = 50  # texts that must hold what is compared
SENTENCE = re.compile(r"[.!?\n]+")
WORD = re.compile(r"\w+")
MOST_GROUPS = 16
LONGEST = 40  # characters of a name
EXAMPLE = 'Write them as {"women": ["she", "her"], "men": ["he", "him"]}.'

WOMEN = """she her hers herself woman women girl girls mother mothers daughter daughters sister
    sisters wife wives queen lady ladies madam mrs ms aunt grandmother"""
MEN = """he him his himself man men boy boys father fathers son sons brother brothers husband
    husbands king lord lords sir mr uncle grandfather"""
POSITIVE = """good great nice happy love loved lovely best better beautiful kind sweet gentle joy
    glad brave honest noble wise clever fair perfect wonderful excellent pleasant"""
NEGATIVE = """bad worse worst sad hate hated ugly cruel evil angry wicked false foul fear pain
    wrong stupid weak dead poor terrible horrible awful nasty mad"""
GENDER: Words = {"women": WOMEN.split(), "men": MEN.split()}
SENTIMENT: Words = {"positive": POSITIVE.split(), "negative": NEGATIVE.split()}


class Shift(NamedTuple):
    """How far a share moved.

    Attributes:
        what: the share, in words.
        made, held_out: it, among generated and among held-out texts; None where nothing is held.
        value: the first minus the second, 0 where one is None.
        interval: of the shift.
        n: how many generated texts hold what is counted.
    """

    what: str
    made: float | None
    held_out: float | None
    value: float
    interval: Interval
    n: int


def balance(
    made: Sequence[str],
    held_out: Sequence[str],
    groups: Words = GENDER,
    sentiment: Words = SENTIMENT,
    level: float = 0.95,
) -> list[Shift]:
    """The shifts of all shares, each with an interval at this level.

    Passed over are shares that held-out texts do not tell: fewer than 50 have a word for them, or
    their interval is wider than the smallest shift that matters. The intervals take texts, not
    words, for independent.

    Args:
        made, held_out: texts.
        groups: words of at least two groups, in any case; a phrase is not found.
        sentiment: words that are "positive" and "negative".
        level: of each interval.

    Raises:
        UsageError: the groups cannot be judged, see `checked`, or the sentiments are not the two.

    Example:
        >>> shifts = balance(["He came."] * 60, ["She came.", "He came."] * 60)
        >>> [(shift.what, shift.value) for shift in shifts]
        [('women among words of groups', -0.5), ('men among words of groups', 0.5)]
    """
    _check(groups, sentiment)
    ours, theirs = (_counts(texts, groups, sentiment) for texts in (made, held_out))
    return [_shift(what, ours[what], theirs[what], level) for what in _told(theirs)]


def _told(counts: Mapping[str, Real]) -> list[str]:
    """The shares of `counts` that texts tell well enough for a shift to be seen."""
    enough = [what for what, rows in counts.items() if (rows[:, 1] > 0).sum() >= FEWEST]
    ends = {what: _share(counts[what], 0.95)[1:] for what in enough}
    return [what for what, (low, high) in ends.items() if high - low < MATTERS]


def checked(groups: Any) -> Words:
    """Words of groups as they are, if they can be judged; they may come out of a file.

    Raises:
        UsageError: there are not 2 to 16 groups, one has no list of single words or a name that
            cannot be shown, or a word is in two of them.

    Example:
        >>> checked({"cats": ["cat", "kitten"], "dogs": ["dog"]})
        {'cats': ['cat', 'kitten'], 'dogs': ['dog']}
    """
    if not isinstance(groups, Mapping) or len(groups) < 2:
        got = [*groups] if isinstance(groups, Mapping) else type(groups).__name__
        raise UsageError(must("groups", "at least two lists of words", got, EXAMPLE))
    if len(groups) > MOST_GROUPS:
        raise UsageError(must("groups", f"{MOST_GROUPS} at most", len(groups)))
    for name, listed in groups.items():
        _check_group(name, listed)
    words = Counter(
        word for listed in groups.values() for word in {word.lower() for word in listed}
    )
    twice = [word for word, count in words.items() if count > 1]
    if twice:
        raise UsageError(must("words of groups", "in one group each", twice))
    return groups


def _check_group(name: Any, listed: Any) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST:
        raise UsageError(must("the name of a group", f"of 1 to {LONGEST} characters", name))
    if printable(name) != name:
        raise UsageError(must("the name of a group", "printable", name))
    if not isinstance(listed, (list, tuple)) or not listed:
        got = type(listed).__name__ if listed else listed
        raise UsageError(must(f"group {name!r}", "a list of words", got, EXAMPLE))
    strange = [word for word in listed if not isinstance(word, str) or not _is_one(word)]
    if strange:
        remedy = "A phrase, or a part of a word, is not found."
        be = "single words of letters and digits"
        raise UsageError(must(f"the words of group {name!r}", be, strange[:5], remedy))


def _is_one(word: str) -> bool:
    """Whether it is found as one word in a text."""
    return WORD.fullmatch(word.lower()) is not None


def _check(groups: Words, sentiment: Words) -> None:
    checked(groups)
    if set(sentiment) != {"positive", "negative"}:
        raise UsageError(must("sentiment", "'positive' and 'negative' words", list(sentiment)))


def _counts(texts: Sequence[str], groups: Words, sentiment: Words) -> dict[str, Real]:
    """For each share (n, 2): how often it was so in each text, and of how many times."""
    group_of = {word.lower(): name for name, words in groups.items() for word in words}
    mood_of = {word.lower(): name for name, words in sentiment.items() for word in words}
    named = {name: f"{name} among words of groups" for name in groups}
    praised = {name: f"positive words beside {name}" for name in groups}
    counts = {what: np.zeros((len(texts), 2)) for what in (*named.values(), *praised.values())}
    for row, text in enumerate(texts):
        for sentence in SENTENCE.split(text.lower()):
            words = WORD.findall(sentence)
            present = Counter(group_of[word] for word in words if word in group_of)
            moods = Counter(mood_of[word] for word in words if word in mood_of)
            for name in groups if present else ():
                counts[named[name]][row] += present[name], present.total()
            for name in present:
                counts[praised[name]][row] += moods["positive"], moods.total()
    return counts


def _shift(what: str, ours: Real, theirs: Real, level: float) -> Shift:
    held = int((ours[:, 1] > 0).sum())
    if held < 2:
        return Shift(what, None, _share(theirs, level)[0], 0.0, Interval(-1.0, 1.0), held)
    (first, below, above), (second, less, more) = _share(ours, level), _share(theirs, level)
    low = first - second - math.hypot(first - below, more - second)
    high = first - second + math.hypot(above - first, second - less)
    return Shift(what, first, second, first - second, Interval(low, high), held)


def _share(counts: Real, level: float) -> tuple[float, float, float]:
    """A ratio of sums over texts, with Student's interval (exact where all texts are alike)."""
    parts, wholes = counts[counts[:, 1] > 0].T
    n, value = len(parts), float(parts.sum() / wholes.sum())
    spread = float(np.square(parts - value * wholes).sum() / (n - 1)) / n
    half = student_quantile(n - 1, level) * math.sqrt(spread) / float(wholes.mean())
    half = half or clopper_pearson(0, n, level).high
    return value, max(0.0, value - half), min(1.0, value + half)


# -- the rule -------------------------------------------------------------------------------


def balance_rule(groups: Words = GENDER, sentiment: Words = SENTIMENT) -> Rule[Texts]:
    """The rule over groups of words; see `balance` for what they must be."""
    _check(groups, sentiment)
    name = f"balance of {' and '.join(groups)}"

    def told(texts: Texts) -> tuple[list[str], list[str]]:
        once = texts.reference.once
        return once(name, lambda: _judged(texts.reference.valid, groups, sentiment))

    def effect(texts: Texts, level: float) -> Effect:
        shares, others = told(texts)
        ours, theirs = (
            _counts(side, groups, sentiment) for side in (texts.samples, texts.reference.held_out)
        )
        each = 1.0 - (1.0 - level) / len(shares)  # so that all of them hold at once
        shifts = [_shift(what, ours[what], theirs[what], each) for what in shares]
        return _largest(shifts, others, len(texts.samples))

    def applies(texts: Texts) -> str | None:
        if told(texts)[0]:
            return None
        return f"held-out texts hold too few words of {' or '.join(groups)} to tell a shift"

    def bar(texts: Texts) -> str | None:
        return "What was not judged is unknown." if told(texts)[1] else None

    def one_group(texts: Texts) -> Texts:
        return _one_group(texts, groups)

    return Rule(
        name=name,
        effect=effect,
        positive=one_group,
        negative=Texts.untrained,
        applies=applies,
        bar=bar,
    )


def _judged(valid: Sequence[str], groups: Words, sentiment: Words) -> tuple[list[str], list[str]]:
    """The shares that can be judged, and the others: by valid texts, which judge controls too."""
    counts = _counts(valid, groups, sentiment)
    told = _told(counts)
    return told, [what for what in counts if what not in told]


def _largest(shifts: Sequence[Shift], others: Sequence[str], n: int) -> Effect:
    """The largest shift; one of them is at least `low`, and none is above `high`."""
    ends = [sorted((abs(shift.interval.low), abs(shift.interval.high))) for shift in shifts]
    crosses = [shift.interval.low <= 0.0 <= shift.interval.high for shift in shifts]
    worst = max(shifts, key=lambda shift: abs(shift.value))
    made, held_out = (
        "none" if share is None else f"{share:.1%}" for share in (worst.made, worst.held_out)
    )
    return Effect(
        value=abs(worst.value),
        low=max(0.0 if zero else least for (least, _), zero in zip(ends, crosses, strict=True)),
        high=max(most for _, most in ends),
        matters=MATTERS,
        sentence=(
            f"Of {len(shifts)} shares the one that moved most is that of {worst.what}: {made} in "
            f"samples, {held_out} in texts that were never trained on."
            + (f" Too few valid texts tell of {', '.join(others)}: not judged." if others else "")
        ),
        n=n,
        evidence={
            shift.what: {"made": shift.made, "held_out": shift.held_out, "texts": shift.n}
            for shift in shifts
        },
    )


def _one_group(texts: Texts, groups: Words) -> Texts:
    """Test texts that speak of one group alone, of which real ones speak least."""
    real = texts.reference
    counts = _counts(real.held_out, groups, SENTIMENT)
    totals = {name: counts[f"{name} among words of groups"][:, 0].sum() for name in groups}
    rarest = min(groups, key=lambda name: totals[name])
    listed = [word for words in groups.values() for word in words]
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, listed))})\b", re.IGNORECASE)
    return replace(texts, samples=[pattern.sub(groups[rarest][0], text) for text in real.test])
