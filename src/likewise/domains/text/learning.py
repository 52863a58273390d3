"""The tokeniser of training texts: learned from some of them, or a ready one that spells them."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from likewise.core.records import Records
from likewise.domains.text.corpus import Passages
from likewise.domains.text.roles import plain
from likewise.domains.text.tokenise import Tokeniser, check_fit, learn

LEARNED = 1 << 26  # bytes of train, evenly spread, that a tokeniser learns from
CHECKED = 1 << 22  # characters of train that a ready tokeniser must give back


def tokeniser_of(train: Records, passages: Passages, sources: Sequence[str]) -> Tokeniser:
    """The tokeniser that the facts of the records ask for.

    Args:
        train: the training records.
        passages: their texts; what leads to them is learned too, for it is read.
        sources: texts to work on.

    Raises:
        DataError: a ready tokeniser loses something of the text.
        LikewiseError: the tokenizers library is missing.
    """
    total = int((passages.stops - passages.leads).sum())
    kind = str(train.facts.get("tokenizer", "characters"))
    some = passages.pick(np.arange(0, len(passages), -(-total // LEARNED), dtype=np.int64))
    wanted = train.facts.get("vocabulary")
    tokeniser = learn(kind, chain(sources, _unmarked(some)), total, wanted)
    if kind.endswith(".json"):
        check_fit(tokeniser, _first(chain(sources, _unmarked(some))))
    return tokeniser


def _unmarked(texts: Passages) -> Iterator[str]:
    """Texts, with what leads to them, without marks of roles, which have tokens of their own."""
    return (plain(texts.lead(row) + texts[row]) for row in range(len(texts)))


def _first(texts: Iterator[str]) -> Iterator[str]:
    """The first texts, up to `CHECKED` characters."""
    seen = 0
    for text in texts:
        yield text
        seen += len(text)
        if seen > CHECKED:
            return
