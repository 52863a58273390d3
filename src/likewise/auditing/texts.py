"""What an audit of texts works on, and whether texts recite training texts.

A rule over texts is a `Rule` as any other: it asks of its material its samples, and of the
reference what was worked out before. Both are strings here, where `Material` has tensors.

Recitation: a sample recites if 50 characters of it in a row stand in a training text. The effect
is the share of samples that do, beyond that share among texts that were never trained on, which
quote, repeat headings and licences too. Texts of fewer characters are passed over on both sides.
Cannot see a copy in which every few words are changed, nor one of a shorter text.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from likewise.auditing.canaries import Exposure
from likewise.auditing.rule import Effect, Rule
from likewise.core.rng import fold, generator
from likewise.measures.intervals import newcombe
from likewise.measures.texts_reuse import RUN, runs_in_train

MATTERS = 0.05
FEWEST = 50  # texts of a side that are long enough
Continue: TypeAlias = Callable[[Sequence[str], int], Sequence[str]]
Value = TypeVar("Value")


class Asked(NamedTuple):
    """What a model says of some real texts.

    Attributes:
        texts: n of them.
        log_masses: (n,) nats.
        reference: (n,) nats of a model that saw none of them (that of
            `measures.texts_reference`, say), NaN of those that it did see, or None.
    """

    texts: Sequence[str]
    log_masses: Tensor
    reference: Tensor | None = None


class TextLosses(NamedTuple):
    """What a model says of some training texts, and of some that it never saw."""

    train: Asked
    valid: Asked
    test: Asked


@dataclass(frozen=True, kw_only=True)
class RealTexts:
    """The real texts of a run, and what depends on nothing else: worked out once for a run.

    Attributes:
        train: what the models were trained on, whole documents.
        pieces: the same as it was cut into records, or some of it; of valid and test there are
            such pieces alone. Empty: train.
        valid, test: texts that they never saw.
        seed: of the controls.
        by_place: whether the parts are different places of few long texts.
    """

    train: Sequence[str]
    valid: Sequence[str]
    test: Sequence[str]
    pieces: Sequence[str] = ()
    seed: int = 0
    by_place: bool = False
    _known: dict[Hashable, Any] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What `make` gives, made at the first call with this key."""
        if key not in self._known:
            self._known[key] = make()
        found: Value = self._known[key]
        return found

    @property
    def held_out(self) -> list[str]:
        """Texts that were never trained on: valid, then test."""
        return [*self.valid, *self.test]

    def some(self, texts: Sequence[str], n: int, *words: object) -> list[str]:
        """At most n of some texts, drawn at random for one purpose."""
        seed = fold(self.seed, "audit", *words)
        rows = torch.randperm(len(texts), generator=generator(seed))[:n]
        return [texts[row] for row in rows.tolist()]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What one model wrote, beside the real texts.

    Attributes:
        samples: texts that the model wrote.
        reference: the real texts.
        losses: what the model says of real texts, or None if it has no density.
        continue_from: (prefixes, characters) -> the likeliest continuation of each prefix, at
            least that many characters where the model does not end the text; None if it has none.
        exposures: how well the model knows planted canaries, and some that never were.
        tokens: what each token of the model spells.
    """

    samples: Sequence[str]
    reference: RealTexts
    losses: TextLosses | None = None
    continue_from: Continue | None = None
    exposures: Sequence[Exposure] = ()
    tokens: Sequence[str] = ()

    def untrained(self) -> "Texts":
        """The test texts as if they were samples, judged by the valid ones alone: made once."""
        real = self.reference
        return real.once(
            "untrained", lambda: Texts(samples=real.test, reference=replace(real, test=()))
        )


def compared(found: int, n: int, base: int, m: int, level: float, matters: float) -> Effect:
    """A share among n samples beyond the same share among m never-trained texts."""
    low, high = newcombe(found, n, base, m, level)
    effect = found / n - base / m
    return Effect(value=effect, low=low, high=high, matters=matters, sentence="", n=n, evidence={})


def long_enough(texts: Sequence[str], length: int) -> list[str]:
    """Those of at least so many characters."""
    return [text for text in texts if len(text) >= length]


def _recited(texts: Sequence[str], train: Sequence[str]) -> int:
    """How many texts hold a run of train."""
    return sum(bool(mask.any()) for mask in runs_in_train(texts, train, length=RUN))


def _effect(texts: Texts, level: float) -> Effect:
    real = texts.reference
    samples, others = long_enough(texts.samples, RUN), long_enough(real.held_out, RUN)
    base = real.once("recited", lambda: _recited(others, real.train))
    found, n, m = _recited(samples, real.train), len(samples), len(others)
    short = len(texts.samples) - n
    told = f" {short} samples of fewer characters were passed over." if short else ""
    return replace(
        compared(found, n, base, m, level, MATTERS),
        sentence=(
            f"{found} of {n} samples hold {RUN} characters in a row that stand in a training "
            f"text, and {base} of {m} texts that were never trained on.{told}"
        ),
        evidence={"recited": found, "recited_by_held_out": base, "characters": RUN},
    )


def _too_short(texts: Texts) -> str | None:
    sides = texts.reference.valid, texts.reference.test
    if min(len(long_enough(side, RUN)) for side in sides) >= FEWEST:
        return None
    return (
        f"fewer than {FEWEST} texts of valid or of test have {RUN} characters, too few to tell "
        f"how often texts recite by chance"
    )


def _wrote_too_little(texts: Texts) -> str | None:
    count, n = len(long_enough(texts.samples, RUN)), len(texts.samples)
    if count >= FEWEST:
        return None
    return (
        f"Only {count} of {n} samples have {RUN} characters; {FEWEST} are needed to tell anything."
    )


def training_texts(texts: Texts) -> Texts:
    """Training texts themselves, as if they were samples."""
    real, n = texts.reference, len(texts.samples)
    return replace(texts, samples=real.some(long_enough(real.train, RUN), n, "training texts"))


RECITATION = Rule(
    name="recitation",
    effect=_effect,
    positive=training_texts,
    negative=Texts.untrained,
    applies=_too_short,
    unable=_wrote_too_little,
)
