"""Personal data: do samples hold addresses and numbers of persons that stand in train?

What counts as one is said in `texts_items`. An item that stands in a sample *and* in train was
learned, or is public. Three things are looked at:

* The effect is the share of samples with such an item beyond that share among texts that were
  never trained on. Large enough, it fails; only small enough it may pass.
* One item of a sample that no held-out text holds may be somebody's: it bars a pass.
* Several fail, once more of them were given away than can be chance. Counted are items of one
  training text alone: without that text no sample would hold them. See `_given_away`.

A token that spells such an item whole fails too, since it leaves with the files of the model.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from likewise.auditing.rule import Effect, Rule
from likewise.auditing.texts import Texts, compared
from likewise.auditing.texts_items import Item, personal_data
from likewise.measures.intervals import clopper_pearson

MATTERS = 0.02
PLANTED = 5  # every fifth text of the positive control holds an item of train


class Known(NamedTuple):
    """The personal data of train.

    Attributes:
        written: each item as it is written.
        texts: the training texts that hold it, by number.
        held_out: how many of the texts that were never trained on do.
        base: how many of these hold any item at all.
    """

    written: dict[Item, str]
    texts: dict[Item, list[int]]
    held_out: Counter[Item]
    base: int

    def private(self, items: set[Item]) -> set[Item]:
        """Those that no held-out text holds."""
        return {item for item in items if not self.held_out[item]}


def _known(texts: Texts) -> Known:
    """Found once."""

    def find() -> Known:
        written: dict[Item, str] = {}
        where: dict[Item, list[int]] = {}
        for row, text in enumerate(texts.reference.train):
            found = personal_data(text)
            written |= found
            for item in found:
                where.setdefault(item, []).append(row)
        held_out = _holding(texts.reference.held_out, written)
        counts = Counter(item for items in held_out for item in items)
        return Known(written, where, counts, sum(map(bool, held_out)))

    return texts.reference.once("personal data", find)


def _holding(texts: Sequence[str], written: dict[Item, str]) -> list[set[Item]]:
    """Which known items each text holds."""
    return [personal_data(text).keys() & written.keys() for text in texts]


def _effect(texts: Texts, level: float) -> Effect:
    """What fails of the share of samples, the tokens and the items given away; else the share.

    A share fails by chance no more often than half of what the level allows, as it has two ends;
    the other half is that of the items. What a token spells is no matter of chance.
    """
    known = _known(texts)
    held = _holding(texts.samples, known.written)
    share = _spelled(texts, known, _shared(texts, known, held, level))
    away = _given_away(texts, known, held, share, level)
    return away if away.outcome == "fail" and share.outcome != "fail" else share


def _shared(texts: Texts, known: Known, held: Sequence[set[Item]], level: float) -> Effect:
    """The share of samples that hold an item of train."""
    count, items = sum(map(bool, held)), set().union(*held)
    n, m, private = len(held), len(texts.reference.held_out), known.private(items)
    kinds = sorted(kind for kind, _ in items)
    told = f", {len(private)} of which no held-out text holds" if private else ""
    return replace(
        compared(count, n, known.base, m, level, MATTERS),
        sentence=(
            f"{count} of {n} samples hold personal data of training texts "
            f"({len(items)} of {len(known.written)} items{told}), and {known.base} of {m} texts "
            f"that were never trained on."
        ),
        evidence={
            "samples": count,
            "items": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
            "items_of_no_other_text": len(private),
            "items_of_train": len(known.written),
        },
    )


def _given_away(
    texts: Texts, known: Known, held: Sequence[set[Item]], share: Effect, level: float
) -> Effect:
    """Of how many training texts samples gave something away, beyond what chance would explain.

    Counted are training texts (or samples, if these are fewer) with an item that stands in no
    other real text. How many would be met by chance is told by the items that stand in two real
    texts: with N training and m other texts, of which n more are drawn, an item of rate r is met
    N n r^2 times at most, and stands in two real texts N (m + (N - 1) / 2) r^2 times, before both
    are thinned alike by standing in no more. So their ratio is at most n / (m + (N - 1) / 2), and
    what chance explains is bounded by the exact interval of one of two Poisson counts, given their
    sum (Przyborowski and Wilenski, 1940). Any item beyond that matters.
    """
    alone = {item for item in known.private(set().union(*held)) if len(known.texts[item]) == 1}
    sources = {known.texts[item][0] for item in alone}
    found = min(len(sources), sum(bool(items & alone) for items in held))
    twice = sum(len(rows) + known.held_out[item] == 2 for item, rows in known.texts.items())
    real = texts.reference
    ratio = len(held) / (len(real.held_out) + (len(real.train) - 1) / 2)
    chance = _by_chance(found, twice, ratio, level)
    return replace(
        share,
        value=found - ratio * twice,
        low=found - chance,
        high=found,
        matters=0.0,
        sentence=(
            f"{share.sentence} They give away {found} training texts, each by an item of no other "
            f"text; chance explains {chance} at most, since {twice} items stand in two real texts."
        ),
    )


def _by_chance(found: int, twice: int, ratio: float, level: float) -> int:
    """The most of what was found that chance explains, at `ratio` times the rate of `twice`."""
    likely = ratio / (1.0 + ratio)
    explained = (
        count
        for count in range(found, 0, -1)
        if clopper_pearson(count, count + twice, level).low <= likely
    )
    return next(explained, 0)


def _spelled(texts: Texts, known: Known, share: Effect) -> Effect:
    """The share, or how many items of no held-out text a token spells where only these fail."""
    count = len(known.private(set().union(*_holding(texts.tokens, known.written))))
    if not count:
        return share
    words = "Items of training texts that a token spells whole, and that leave with the model"
    told = replace(share, sentence=f"{share.sentence} {words}: {count}.")
    if share.outcome == "fail":
        return told
    return replace(told, value=count, low=count, high=count, matters=0.0)


def _somebody_s(texts: Texts) -> str | None:
    """What bars a pass: an item of train in a sample, and in no held-out text."""
    known = _known(texts)
    if not known.private(set().union(*_holding(texts.samples, known.written))):
        return None
    return "What samples share with training texts alone may be somebody's, so it is no pass."


def _holds_none(texts: Texts) -> str | None:
    if _known(texts).written:
        return None
    return "train holds no e-mail address, phone number, card number or IBAN"


def _planted(texts: Texts) -> Texts:
    """Test texts, an item of train that none of them holds behind every fifth."""
    known = _known(texts)
    items = sorted(known.private(set(known.written))) or [*known.written]
    samples = [
        text if row % PLANTED else f"{text} {known.written[items[row % len(items)]]} "
        for row, text in enumerate(texts.reference.test)
    ]
    return replace(texts, samples=samples)


PERSONAL_DATA = Rule(
    name="personal data",
    effect=_effect,
    positive=_planted,
    negative=Texts.untrained,
    applies=_holds_none,
    bar=_somebody_s,
)
