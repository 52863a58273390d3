"""What is learned of training texts: their tokens, how long they are, their labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from likewise.core.records import Records
from likewise.domains.text.corpus import Passages
from likewise.domains.text.roles import MARKS, plain
from likewise.domains.text.rows import LABEL, SOURCE
from likewise.domains.text.tokenise import Tokeniser, check_fit, learn
from likewise.domains.text.vocabulary import Vocabulary

LEARNED = 1 << 26  # bytes of train, evenly spread, that a tokeniser learns from
CHECKED = 1 << 22  # characters of train that a ready tokeniser must give back


@dataclass(frozen=True, kw_only=True)
class Codec:
    """What is learned of training texts.

    Attributes:
        vocabulary: the tokens.
        context: how many tokens a model sees at once.
        passage: the most tokens of a record, its end among them; no more than the context.
        whole: whether documents fit into the context; so records are whole documents, and a
            prompt is how one begins, or of dialogues all that was said before.
        labels: the names of the labels, sorted; empty if there are none.
        source: the most tokens of a source text, 0 if there are none.
    """

    vocabulary: Vocabulary
    context: int
    passage: int
    whole: bool
    labels: tuple[str, ...]
    source: int


def learned(train: Records, passages: Passages) -> Codec:
    """The codec of training texts.

    Raises:
        DataError: a ready tokeniser loses something of the text.
        LikewiseError: the tokenizers library is missing.
    """
    sizes = passages.bytes()
    roles = bool(train.facts.get("roles"))
    labels = {str(one) for one in train.conditions.get(LABEL, ()) if one is not None}
    whole = bool((passages.opens & passages.closes).all())
    return Codec(
        vocabulary=Vocabulary(tokeniser_of(train, passages, sources_in(train)), roles=roles),
        context=int(train.facts.get("context") or sizes.max() + 1),
        passage=int(train.facts.get("passage") or sizes.max() + 1),
        whole=bool(train.facts.get("fits")) if roles else whole,
        labels=tuple(sorted(labels)),
        source=_longest(train),
    )


def widened(codec: Codec, train: Records) -> Codec:
    """The same codec with what new texts need: tokens of roles, behind all others, and sources."""
    words, roles = codec.vocabulary, bool(train.facts.get("roles"))
    source = max(codec.source, _longest(train))
    passage = codec.passage if source == codec.source else codec.context
    codec = replace(codec, source=source, passage=passage)
    if not roles or words.marks:
        return codec
    given = {"begin": words.begin, "end": words.end, "pad": words.pad, "marks": words.size}
    wider = Vocabulary(
        words.tokeniser, roles=True, given={**given, "tokens": words.size + len(MARKS)}
    )
    return replace(codec, vocabulary=wider, whole=bool(train.facts.get("fits")))


def sources_in(train: Records) -> list[str]:
    """The texts to work on, where records have one."""
    return [str(one) for one in train.conditions.get(SOURCE, ()) if one is not None]


def _longest(train: Records) -> int:
    """The most tokens that a source may have: no tokeniser makes more of them than bytes."""
    longest = max((len(text.encode()) for text in sources_in(train)), default=0)
    return max(longest, int(train.facts.get("source", 0)))


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
