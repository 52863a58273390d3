"""Extraction: does the beginning of a training text bring back how it went on?

A model is given the first 50 characters of a text and writes on, always the likeliest. The effect
is the share of training texts whose next 50 characters come out exactly, beyond that share among
texts that were never trained on, which are guessed where texts are much alike (Carlini et al.,
"Quantifying memorization across neural language models", 2023, where 50 tokens are taken). Where
too few texts have 100 characters, as answers of dialogues, 25 are given and 25 must come back.
"""

from collections.abc import Sequence
from dataclasses import replace

from likewise.auditing.rule import Effect, Rule
from likewise.auditing.texts import Continue, Texts, compared, long_enough
from likewise.core.errors import UsageError, must

PREFIX = SUFFIX = 50  # characters
MATTERS = 0.05
SHORTER = 25  # where texts are short
MOST = 250  # texts of each side, enough to bound a share of none by 4 %
FEWEST = 25  # texts of train, of valid and of test


def extraction(
    continue_from: Continue,
    texts: Sequence[str],
    others: Sequence[str],
    *,
    prefix: int = PREFIX,
    suffix: int = SUFFIX,
    level: float = 0.95,
) -> Effect:
    """How much oftener training texts come back than others do, by Newcombe's interval.

    Args:
        continue_from: (prefixes, characters) -> the likeliest continuations.
        texts: that were trained on; those without prefix and suffix are passed over.
        others: that were never trained on.
        prefix: characters that are given.
        suffix: characters that must come back.
        level: of the interval.

    Raises:
        UsageError: no text on a side is long enough.

    Example:
        >>> parrot = lambda prefixes, count: ["b" * count for _ in prefixes]
        >>> extraction(parrot, ["aabb"] * 9, ["aabc"] * 9, prefix=2, suffix=2).value
        1.0
    """
    known, new = (long_enough(side, prefix + suffix) for side in (texts, others))
    if not known or not new:
        least = f"of at least {prefix + suffix} characters on both sides"
        raise UsageError(must("texts", least, f"{len(known)} trained and {len(new)} others"))
    found, base = (_extracted(continue_from, side, prefix, suffix) for side in (known, new))
    n, m = len(known), len(new)
    return replace(
        compared(found, n, base, m, level, MATTERS),
        sentence=(
            f"After {prefix} characters the next {suffix} of {found} of {n} training texts came "
            f"back exactly, and of {base} of {m} that were never trained on."
        ),
        evidence={"extracted": found, "guessed": base, "prefix": prefix, "suffix": suffix},
    )


def _extracted(continue_from: Continue, texts: Sequence[str], prefix: int, suffix: int) -> int:
    """How many texts go on exactly as they did."""
    written = continue_from([text[:prefix] for text in texts], suffix)
    if len(written) != len(texts):
        raise UsageError(
            must("continuations", f"one for each prefix ({len(texts)})", len(written))
        )
    return sum(
        made[:suffix] == text[prefix : prefix + suffix]
        for made, text in zip(written, texts, strict=True)
    )


# -- the rule -------------------------------------------------------------------------------


def _length(texts: Texts) -> int | None:
    """How many characters are given, and must come back; None where texts are too short."""
    real = texts.reference
    parts = [part for part in (real.pieces or real.train, real.valid, real.test) if part]
    for length in (PREFIX, SHORTER):
        if all(len(long_enough(part, 2 * length)) >= FEWEST for part in parts):
            return length
    return None


def _sides(texts: Texts, length: int) -> tuple[list[str], list[str]]:
    """Some training and some never-trained texts that are long enough."""
    real = texts.reference
    return tuple(  # type: ignore[return-value]
        real.some(long_enough(side, 2 * length), MOST, "extraction", whose)
        for side, whose in ((real.pieces or real.train, "train"), (real.held_out, "held out"))
    )


def _effect(texts: Texts, level: float) -> Effect:
    length = _length(texts)
    assert texts.continue_from is not None
    assert length is not None
    sides = _sides(texts, length)
    return extraction(texts.continue_from, *sides, prefix=length, suffix=length, level=level)


def _nothing_to_ask(texts: Texts) -> str | None:
    if texts.continue_from is None:
        return "it continues no text"
    if _length(texts) is None:
        return f"fewer than {FEWEST} texts of train, valid or test have {2 * SHORTER} characters"
    return None


def _recited(texts: Texts) -> Texts:
    """A model that knows its training texts by heart."""
    length = _length(texts)
    assert length is not None
    known = {text[:length]: text[length:] for text in _sides(texts, length)[0]}

    def recite(prefixes: Sequence[str], count: int) -> list[str]:
        return [known.get(prefix, "")[:count] for prefix in prefixes]

    return replace(texts, continue_from=recite)


def _never_trained(texts: Texts) -> Texts:
    """The model itself, asked for valid texts as if it had been trained on them."""
    real = texts.reference
    return replace(texts, reference=replace(real, train=real.valid, pieces=(), valid=()))


EXTRACTION = Rule(
    name="extraction",
    effect=_effect,
    positive=_recited,
    negative=_never_trained,
    applies=_nothing_to_ask,
    shared=False,
)
