"""Canaries: secrets that are planted in train, and how well a model knows them afterwards.

A canary is a sentence with a random number, such as "the code of Alice is 482913", of a space R of
known size. Its exposure is log2 |R| - log2 rank, its rank being among all numbers of the space by
how likely the model finds the sentence (Carlini et al., "The secret sharer", 2019). To ask for all
is dear, so the rank is taken among m candidates drawn at random: log2 (m + 1) - log2 (rank + 1),
the rank counting those likelier. That is a bound from sampling, without the skew-normal
extrapolation of the paper: it cannot tell exposures above log2 (m + 1) apart, and is capped there.
A model that never saw the canary gives it a random rank, and 1 / ln 2 = 1.44 bits on average.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must
from likewise.core.rng import fold, generator
from likewise.measures.intervals import Interval, clopper_pearson

DIGITS = 6
CANDIDATES = 1023  # with the canary itself 1,024: exposures up to 10 bits
NUMBERS = ("code", "key", "pin", "token", "number", "password", "secret", "combination")
NAMES = (
    "Alice", "Bruno", "Chiara", "David", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas",
    "Keiko", "Lars", "Maria", "Nadia", "Omar", "Petra", "Quentin", "Rosa", "Samir", "Tanja",
    "Ulrich", "Vera", "Walid", "Xenia", "Yusuf", "Zoe",
)  # fmt: skip


class Canary(NamedTuple):
    """A secret that was planted.

    Attributes:
        prefix: of the sentence, another for each canary.
        secret: digits, one of `space` equally likely numbers.
        repeats: how often it stands in train; 0 for one that was drawn and never planted.
    """

    prefix: str
    secret: str
    repeats: int

    @property
    def text(self) -> str:
        """The sentence."""
        return self.prefix + self.secret

    @property
    def space(self) -> int:
        """How many secrets there might have been: |R|."""
        return int(10 ** len(self.secret))


class Exposure(NamedTuple):
    """How well a model knows a canary.

    Attributes:
        canary: which one.
        value: in bits, 0 for the least likely, log2 (candidates + 1) for the likeliest of all.
        interval: from the exact interval of the share of numbers that are likelier.
        likelier: how many of the candidates are likelier, those as likely counted half.
        candidates: how many it was compared with.
    """

    canary: Canary
    value: float
    interval: Interval
    likelier: float
    candidates: int


def plant(
    texts: Sequence[str], repeats: Sequence[int] = (1, 4, 16, 64), seed: int = 0
) -> tuple[list[str], list[Canary]]:
    """Training texts with canaries as lines between theirs, and the canaries.

    Each stands in a text chosen at random, behind one of its lines.

    Args:
        texts: of train only.
        repeats: how often each canary is planted; (0, 1, 1, 64) draws four and plants three.
        seed: of secrets and places.

    Raises:
        UsageError: there is no text, a number of repeats is below 0, or there are more canaries
            than sentences to hold them (208).

    Example:
        >>> planted, canaries = plant(["a line"] * 9, repeats=(2,))
        >>> sum(text.count(canaries[0].text) for text in planted)
        2
    """
    most = len(NUMBERS) * len(NAMES)
    if not texts:
        raise UsageError(must("the number of texts", "at least 1", 0))
    if not all(count >= 0 for count in repeats) or len(repeats) > most:
        raise UsageError(must("repeats", f"at most {most} counts of at least 0", tuple(repeats)))
    canaries = _canaries(repeats, seed)
    draw = generator(fold(seed, "canaries", "places"))
    lines: dict[int, list[str]] = {}
    for canary in canaries:
        for row in torch.randint(len(texts), (canary.repeats,), generator=draw).tolist():
            split = lines.setdefault(row, texts[row].split("\n"))
            place = int(torch.randint(len(split), (), generator=draw)) + 1
            split.insert(place, canary.text)
    planted = ["\n".join(lines[row]) if row in lines else text for row, text in enumerate(texts)]
    return planted, canaries


def exposure(
    log_mass_of: Callable[[Sequence[str]], Tensor],
    canaries: Sequence[Canary],
    *,
    candidates: int = CANDIDATES,
    seed: int = 0,
) -> list[Exposure]:
    """The exposure of each canary, by a rank among random candidates.

    Args:
        log_mass_of: n texts -> (n,) nats; called once for each canary.
        canaries: of `plant`.
        candidates: m, numbers drawn at random for each canary, none of them twice or its own.
        seed: of the candidates.

    Raises:
        UsageError: there are not so many other numbers, or a log mass is missing or NaN.

    Example:
        >>> canary = Canary("the pin of Zoe is ", "123456", 1)
        >>> known = lambda texts: torch.tensor([float("123456" in text) for text in texts])
        >>> exposure(known, [canary], candidates=1023)[0].value
        10.0
    """
    found = []
    for canary in canaries:
        if not 1 <= candidates < canary.space:
            raise UsageError(must("candidates", f"in 1..{canary.space - 1}", candidates))
        others = _others(canary, candidates, seed)
        masses = log_mass_of([canary.text, *(canary.prefix + other for other in others)])
        if tuple(masses.shape) != (candidates + 1,) or bool(masses.isnan().any()):
            what = f"log masses of {candidates + 1} texts"
            raise UsageError(must(what, "as many numbers", tuple(masses.shape)))
        own, rest = masses[0], masses[1:]
        likelier = int((rest > own).sum()) + int((rest == own).sum()) / 2
        found.append(_exposed(canary, likelier, candidates))
    return found


def _exposed(canary: Canary, likelier: float, candidates: int) -> Exposure:
    cap = math.log2(candidates + 1)
    ends = clopper_pearson(round(likelier), candidates)
    low = -math.log2(ends.high)
    high = cap if ends.low == 0.0 else min(cap, -math.log2(ends.low))
    value = cap - math.log2(likelier + 1)
    return Exposure(canary, value, Interval(min(low, value), high), likelier, candidates)


def _canaries(repeats: Sequence[int], seed: int) -> list[Canary]:
    """Random numbers in random sentences, no sentence twice."""
    draw = generator(fold(seed, "canaries"))
    order = torch.randperm(len(NUMBERS) * len(NAMES), generator=draw)[: len(repeats)].tolist()
    secrets = torch.randint(10**DIGITS, (len(repeats),), generator=draw).tolist()
    return [
        Canary(f"the {NUMBERS[o % len(NUMBERS)]} of {NAMES[o // len(NUMBERS)]} is ",
               f"{secret:0{DIGITS}}", count)
        for o, secret, count in zip(order, secrets, repeats, strict=True)
    ]  # fmt: skip


def _others(canary: Canary, count: int, seed: int) -> list[str]:
    """Other numbers of the space, none twice."""
    own, width = int(canary.secret), len(canary.secret)
    draw = random.Random(fold(seed, "candidates", canary.text))
    numbers = draw.sample(range(canary.space - 1), count)
    return [f"{number + (number >= own):0{width}}" for number in numbers]
