"""The domain of texts: what was learned of the training texts, and what a model carries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels, Tokens
from likewise.core.contract import Domain, Guess, Sizes, Source
from likewise.core.errors import DataError, StoreError, UsageError, must, nearest
from likewise.core.records import Records
from likewise.core.rng import Draws
from likewise.core.space import Sequence as SequenceSpace
from likewise.core.space import Space
from likewise.domains.text import prompts, read, recognise, save, show, toy
from likewise.domains.text.corpus import Passages, passages_of
from likewise.domains.text.learning import LABEL, SOURCE, Codec, learned, widened
from likewise.domains.text.passages import LEAST
from likewise.domains.text.prompts import PROMPT
from likewise.domains.text.roles import answer, plain
from likewise.domains.text.sizes import sizes_of
from likewise.domains.text.source import (
    RecordSource,
    WindowSource,
    filled,
    labels_of,
    sources_of,
)
from likewise.domains.text.stream import stream_of
from likewise.domains.text.tokenise import tokeniser_from
from likewise.domains.text.vocabulary import Vocabulary

GIVEN = ("begin", "end", "pad", "tokens", "marks")  # of a vocabulary that has its own


class Text(Domain):
    """Texts as sequences of tokens: one record a row, or windows packed from a stream.

    Example:
        >>> domain = Text()
        >>> domain.fit(Text.toy())
        >>> plain, packed = domain.views()
        >>> plain.packed, packed.packed, [one.name for one in domain.conditions()]
        (False, True, ['prompt'])
    """

    name: ClassVar[str] = "text"
    headline: ClassVar[str] = "bits_per_byte"
    numbered: ClassVar[bool] = True
    settled: ClassVar[frozenset[str]] = frozenset({"tokenizer", "vocabulary", "context"})

    def __init__(self) -> None:
        self._codec: Codec | None = None

    @classmethod
    def recognises(cls, data: Any) -> Guess:
        """How sure it is that `data` is text, and why; never raises."""
        return recognise.recognises(data)

    @classmethod
    def load(cls, data: Any, **options: Any) -> Records:
        """Texts from a file, a folder, rows of JSONL or CSV, dialogues, or Python's strings.

        Args:
            data: a .txt file, a folder of texts or source files, JSONL, JSON or CSV with `text`
                (and `label`), with `source` and `target`, or dialogues with `messages`,
                `conversations` or `instruction` and `output`; a script of USER: and SYSTEM: lines;
                each also as .gz; a list of strings, or (strings, labels).
            options: column, unit ("auto", "file", "line", "paragraph"), tokenizer ("auto",
                "characters", "bytes", "bpe", "unigram" or the path of a tokenizer.json),
                vocabulary (tokens of bpe and unigram), context (tokens), encoding, train (the
                share that trains where one long text is split by position, 0.8).

        Returns:
            Records whose items are passages: documents, or pieces of long ones.

        Raises:
            DataError: there is no text in it, or too little, or it is binary.
            UsageError: an option is unknown or cannot be.
        """
        return read.load(data, options)

    @classmethod
    def toy(cls, seed: int = 0) -> Records:
        """300 short stories of a little grammar."""
        return toy.toy(seed)

    def fit(self, train: Records) -> None:
        """Learn the tokeniser and the labels on train records.

        Raises:
            DataError: there is no record, or a ready tokeniser loses something of the text.
            LikewiseError: the tokenizers library is missing.
        """
        self._codec = learned(train, _passages(train))

    def widened(self, train: Records) -> "Text":
        """This domain with tokens for the roles of new dialogues, and room for new sources."""
        wider = Text()
        wider._codec = widened(self.codec, train)
        return wider

    @property
    def codec(self) -> Codec:
        """What was learned; UsageError before `fit`."""
        if self._codec is None:
            raise UsageError("the text domain must be fitted before it is used: call fit.")
        return self._codec

    def state(self) -> dict[str, Any]:
        """The fitted codec as plain data."""
        codec = self.codec
        return {
            "tokeniser": codec.vocabulary.tokeniser.state(),
            "roles": bool(codec.vocabulary.marks),
            "context": codec.context,
            "passage": codec.passage,
            "whole": codec.whole,
            "labels": list(codec.labels),
            "source": codec.source,
            **codec.vocabulary.given,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Text":
        """A fitted codec out of plain data; StoreError if it is not that of texts."""
        domain = cls()
        try:
            tokeniser = tokeniser_from(state["tokeniser"])
            given = {name: int(state[name]) for name in GIVEN if name in state} or None
            domain._codec = Codec(
                vocabulary=Vocabulary(tokeniser, roles=bool(state["roles"]), given=given),
                context=int(state["context"]),
                passage=int(state["passage"]),
                whole=bool(state["whole"]),
                labels=tuple(state["labels"]),
                source=int(state["source"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"this is not the state of a text codec ({error}).") from error
        return domain

    def views(self) -> tuple[SequenceSpace, ...]:
        """Records one a row, and windows of a stream unless records have a label or a source."""
        codec, words = self.codec, self.codec.vocabulary

        def view(length: int, packed: bool = False) -> SequenceSpace:
            return SequenceSpace(
                length=length,
                tokens=words.size,
                end=words.end,
                pad=words.pad,
                packed=packed,
                unknown=words.unknown,
                over=tuple(self.roles.values()),
                closes=words.closes,
            )

        if codec.labels or codec.source:
            return (view(codec.context),)
        return view(codec.passage), view(codec.context, packed=True)

    def conditions(self) -> Conditions:
        """What stands before, and the label or the source where records have one."""
        codec, words = self.codec, self.codec.vocabulary
        found: list[Labels | Tokens] = [
            Tokens(name=PROMPT, length=codec.context, tokens=words.size, pad=words.pad)
        ]
        if codec.source:
            length = codec.source
            found.append(Tokens(name=SOURCE, length=length, tokens=words.size, pad=words.pad))
        if len(codec.labels) > 1:
            found.append(Labels(name=LABEL, names=codec.labels))
        return tuple(found)

    def source(self, records: Records, space: Space, *, train: bool) -> Source:
        """Records as batches: windows to train on over the packed view, else one record a row.

        Raises:
            DataError: a record is longer than the context, or its source than those of training.
            UsageError: the space is not one of `views()`.
        """
        view, words = self._view(space), self.codec.vocabulary
        passages, known = _passages(records), self.conditions()
        answers = bool(words.marks or records.facts.get("roles"))
        if view.packed and train:
            stream = stream_of(passages, words)
            return WindowSource(
                stream, vocabulary=words, space=view, conditions=known, answers=answers
            )
        columns: dict[str, tuple[Tensor, Tensor]] = {}
        for one in known:
            if isinstance(one, Labels):
                columns[one.name] = labels_of(_column(records, one.name), one)
            elif one.name == SOURCE:
                texts = _column(records, one.name)
                columns[one.name] = sources_of(texts, words, self.codec.source)
        return RecordSource(
            passages,
            columns,
            vocabulary=words,
            space=view,
            conditions=known,
            context=self.codec.context,
            room=self._room(answers),
            train=train,
        )

    def _room(self, answers: bool) -> int:
        """Tokens of the prompt of a record, at most."""
        if self.codec.whole:
            return self.codec.context if answers else 1
        return max(1, self.codec.context // 2)

    def decode(self, x: Tensor, space: Space, c: Batch | None = None) -> Records:
        """Rows (n, length) of a view as texts, each up to its end, with the labels of `c`.

        Of dialogues a text is one answer, up to where another speaks, with the prompt of `c`; of
        pairs it comes with the source of `c`.
        """
        self._view(space)
        if x.ndim != 2 or x.is_floating_point():
            got = (tuple(x.shape), str(x.dtype))
            raise DataError(must("texts", "whole numbers of shape (n, length)", got))
        words, codec = self.codec.vocabulary, self.codec
        rows = x.detach().cpu().numpy().clip(0, words.size - 1)
        conditions: dict[str, tuple[str | None, ...]] = {}
        if c and LABEL in c and len(codec.labels) > 1:
            pairs = zip(c[LABEL][0].tolist(), c[LABEL][1].tolist(), strict=True)
            conditions[LABEL] = tuple(codec.labels[i] if known else None for i, known in pairs)
        if c and PROMPT in c and words.marks:
            conditions[PROMPT] = prompts.texts_of(*c[PROMPT], words)
        if c and SOURCE in c:
            conditions[SOURCE] = prompts.texts_of(*c[SOURCE], words)
        return Records(
            domain=self.name,
            items=tuple(answer(words.decode(row)) for row in rows),
            ids=tuple(str(i) for i in range(len(rows))),
            conditions=conditions,
            facts={
                "roles": bool(words.marks),
                "context": codec.context,
                "passage": codec.passage,
            },
        )

    def condition(self, where: Mapping[str, Any], n: int) -> Batch:
        """{"prompt": "ROMEO:"}, {"source": "..."} or {"label": "..."} for n examples.

        A value is one for all, or a list of n, None for what is not known. An empty prompt is
        the beginning of a document. Where the model was trained on dialogues, a prompt is what
        it is to answer: messages [{"role", "content"}, ...], lines such as "USER: Hi", or else
        what a user says.

        Raises:
            UsageError: a condition or a label is unknown, a list is not of n values, or a text
                is too long or has characters that training never had.
        """
        known = {one.name: one for one in self.conditions()}
        batch = {}
        for name, value in where.items():
            if name not in known:
                raise UsageError(f"condition {name!r} is unknown; {nearest(name, known)}.")
            kind = known[name]
            values = prompts.one_each(value, n, name)
            present = torch.tensor([one is not None for one in values], dtype=torch.bool)
            if isinstance(kind, Labels):
                numbers = [0 if one is None else kind.index(one) for one in values]
                batch[name] = (torch.tensor(numbers, dtype=torch.int64), present)
            else:
                assert isinstance(kind, Tokens)
                begins = name == PROMPT and (self.codec.whole or bool(self.roles))
                rows = prompts.tokens(values, name, kind.length, self.codec.vocabulary, begins)
                batch[name] = (filled(rows, self.codec.vocabulary.pad), present)
        return batch

    def sizes(self, records: Records) -> Sizes:
        """The bytes and the characters of records, and nats for characters without a token.

        What closes a record counts as one of each: the end of its document, or of its turn.
        """
        return sizes_of(_passages(records), self.codec.vocabulary)

    @property
    def roles(self) -> dict[str, int]:
        """The tokens that open the turns of a dialogue; empty if there are none."""
        words = self.codec.vocabulary
        names = ("system", "user", "assistant") if words.marks else ()
        return {name: words.first + place for place, name in enumerate(names)}

    @property
    def end(self) -> int:
        """The token that closes a document."""
        return self.codec.vocabulary.end

    @property
    def pad(self) -> int:
        """The token that fills up."""
        return self.codec.vocabulary.pad

    def encode(self, text: str) -> list[int]:
        """The tokens of a plain text alone; marks of roles in it are left out.

        Raises:
            UsageError: it has characters that there is no token for.
        """
        said = plain(text)
        prompts.refuse_broken(said, "text")
        prompts.refuse_strange(said, "text", self.codec.vocabulary)
        return self.codec.vocabulary.encode([said])[0].tolist()

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, no end or padding among them; broken bytes become U+FFFD."""
        return self.codec.vocabulary.decode(np.array(tokens, dtype=np.int64))

    def spelled(self) -> list[bytes]:
        """What each token adds to a text, as UTF-8; nothing if it is a role, the end etc."""
        return self.codec.vocabulary.spelled()

    def asks(self, records: Records) -> Batch:
        """What is said before each record of dialogues; of pairs, what each is made from."""
        if not (self.roles or self.codec.source):
            return {}
        source = self.source(records, self.views()[0], train=False)
        _, c = source.batch(torch.arange(len(records)), Draws(0))
        name = SOURCE if self.codec.source else PROMPT
        return {name: c[name]}

    def alike(self) -> dict[str, Any]:
        """The context of training, or the least that `load` takes: it shrinks to short texts."""
        return {"context": max(LEAST, self.codec.context)}

    def texts(self, records: Records) -> tuple[str, ...]:
        """The records as a person reads them: turns of a dialogue as lines.

        An answer whose prompt is known stands after the turn that it answers.
        """
        return tuple(show.read(records, row) for row in range(len(records)))

    def save(self, records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
        """A .txt a record in a folder, or one .txt or .jsonl, each with its mark beside it."""
        return save.save(records, path, provenance)

    def show(self, records: Records) -> bytes:
        """The bytes of an SVG with up to 12 texts, readable in light and dark."""
        return show.show(records)

    def _view(self, space: Space) -> SequenceSpace:
        """The view that a space is; UsageError if it is none of them."""
        for view in self.views():
            if view == space:
                return view
        raise UsageError(must("the space", "one of the domain's views", space))


def _passages(records: Records) -> Passages:
    """The items as passages; DataError if they are anything else."""
    if not len(records):
        raise DataError(must("texts", "at least one", 0))
    if isinstance(records.items, Passages):
        return records.items
    if not all(isinstance(item, str) for item in records.items):
        raise DataError(must("texts", "strings", type(records.items[0]), "Call load."))
    return passages_of(records.items)


def _column(records: Records, name: str) -> Sequence[Any]:
    return records.conditions.get(name, (None,) * len(records))
