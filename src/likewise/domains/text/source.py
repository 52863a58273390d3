"""Texts as training batches: records with what stands before them, and windows of a stream."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels
from likewise.core.errors import DataError
from likewise.core.rng import Draws
from likewise.core.space import Sequence as SequenceSpace
from likewise.core.space import Space
from likewise.domains.text.corpus import Passages
from likewise.domains.text.roles import MARKS
from likewise.domains.text.stream import Stream
from likewise.domains.text.tokenise import Ids
from likewise.domains.text.vocabulary import Vocabulary

SOURCE = "source"
ABSENT = 8  # one row in so many is trained without what stands before it, or without a source
FAR = 1 << 16  # characters looked back for who speaks


def filled(rows: Sequence[Ids], pad: int, length: int | None = None) -> Tensor:
    """(n, length) int64: rows filled up on the right; by default as long as the longest."""
    width = length if length is not None else max(1, *(len(row) for row in rows), 1)
    x = np.full((len(rows), width), pad, dtype=np.int64)
    for into, row in zip(x, rows, strict=True):
        into[: len(row)] = row
    return torch.from_numpy(x)


def turns(tokens: Ids, vocabulary: Vocabulary, speaking: npt.NDArray[np.bool_]) -> Tensor:
    """(n, T) bool: the tokens of the assistant, and the one that closes its turn.

    Its own mark is not among them: that is what it is asked by.

    Args:
        tokens: (n, T).
        vocabulary: with marks.
        speaking: (n,) whether the assistant speaks just before the first token.
    """
    first = vocabulary.tokeniser.size
    marks = (tokens >= first) & (tokens < first + len(vocabulary.marks))
    marks |= (tokens == vocabulary.end) | (tokens == vocabulary.pad)
    place = np.where(marks, np.arange(tokens.shape[1]), -1)
    latest = np.maximum.accumulate(place, axis=1)  # (n, T) where the latest mark stands
    spoken = np.take_along_axis(tokens, np.maximum(latest, 0), axis=1) == vocabulary.assistant
    after = np.where(latest >= 0, spoken, speaking[:, None])  # (n, T) who speaks after each
    before = np.concatenate([speaking[:, None], after[:, :-1]], axis=1)
    return torch.from_numpy(before & (tokens != vocabulary.pad))


class RecordSource:
    """A `Source` with one record a row, and what stands before it as prompt.

    Args:
        passages: the records.
        columns: {name: (n, ...) values and (n,) presence} of conditions but the prompt.
        vocabulary, space, conditions: of the codec.
        context: how many tokens a model sees at once.
        room: tokens of a prompt, at most. It must not tell how long a record is, and rows of
            prompts are as wide whichever records they stand before.
        train: whether prompts are left out at random, and turns of a dialogue are told apart.
    """

    def __init__(
        self,
        passages: Passages,
        columns: Mapping[str, tuple[Tensor, Tensor]],
        *,
        vocabulary: Vocabulary,
        space: SequenceSpace,
        conditions: Conditions,
        context: int,
        room: int,
        train: bool,
    ) -> None:
        self.passages, self.columns, self.vocabulary = passages, columns, vocabulary
        self.context = context
        self.room = room
        self.space: Space = space
        self.conditions = conditions
        self.train = train
        self._length = space.length
        self._closes = passages.closes

    def __len__(self) -> int:
        return len(self.passages)

    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        """x (b, length) and conditions of the records numbered `index` (b,) int64."""
        rows, vocabulary = index.tolist(), self.vocabulary
        found = vocabulary.encode([self.passages[row] for row in rows])
        ended = [
            np.append(ids, vocabulary.end) if self._closes[row] else ids
            for row, ids in zip(rows, found, strict=True)
        ]
        for row, ids in zip(rows, ended, strict=True):
            self._check(row, ids)
        x = filled(ended, vocabulary.pad, self._length)
        prompts = self._prompts(rows)
        present = torch.ones(len(rows), dtype=torch.bool)
        if self.train:
            present = rng.integers(ABSENT, len(rows)) > 0
        c = {name: (values[index], known[index]) for name, (values, known) in self.columns.items()}
        if self.train and SOURCE in c:
            values, known = c[SOURCE]
            c[SOURCE] = (values, known & (rng.integers(ABSENT, len(rows)) > 0))
        c["prompt"] = (filled(prompts, vocabulary.pad, self.room), present)
        if self.train and vocabulary.marks:
            speaking = np.array([self._speaking(row) for row in rows], dtype=np.bool_)
            c["scored"] = (turns(x.numpy(), vocabulary, speaking), torch.ones_like(present))
        return x, c

    def _check(self, row: int, ids: Ids) -> None:
        if len(ids) > self._length:
            raise DataError(
                f"a record must have at most {self._length} tokens, its end among them; "
                f"{self.passages[row][:40]!r} has {len(ids)}. Load the data as that of training "
                f"was: with context={self.context} and the same tokenizer."
            )

    def _prompts(self, rows: Sequence[int]) -> list[Ids]:
        """What stands before each row, as many tokens as there is room for."""
        reach = self.vocabulary.tokeniser.reach * self.room
        texts = [self.passages.before(row, reach) for row in rows]
        begin = np.array([self.vocabulary.begin])
        found = self.vocabulary.encode(texts)
        return [ids[-self.room :] if len(ids) else begin for ids in found]

    def _speaking(self, row: int) -> bool:
        """Whether the assistant speaks just before a record."""
        text = self.passages.before(row, FAR)
        latest = max(MARKS, key=text.rfind)
        return latest in text and latest == MARKS[2]


class WindowSource:
    """A `Source` whose rows are windows of one stream of tokens.

    Windows stand side by side; each is shifted at random by up to half its length, so that every
    token is met at every place. A window's prompt is the one token before it. One row in eight
    begins where a record begins instead, and nothing is known of what stands before.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        vocabulary: Vocabulary,
        space: SequenceSpace,
        conditions: Conditions,
    ) -> None:
        self.stream, self.vocabulary = stream, vocabulary
        self.space: Space = space
        self.conditions = conditions
        self._length = space.length

    def __len__(self) -> int:
        return -(-len(self.stream.tokens) // self._length)

    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        """x (b, length) and conditions of windows near those numbered `index` (b,) int64."""
        n = len(index)
        shift = rng.integers(self._length, n) - self._length // 2
        record = rng.integers(len(self.stream.starts), n).numpy()
        absent = (rng.integers(ABSENT, n) == 0).numpy()
        last = max(0, len(self.stream.tokens) - self._length)
        near = (index * self._length + shift).clamp(0, last).numpy()
        starts = np.where(absent, self.stream.starts[record], near)
        return self.windows(starts, absent)

    def windows(
        self, starts: npt.NDArray[np.int64], absent: npt.NDArray[np.bool_]
    ) -> tuple[Tensor, Batch]:
        """x (b, length) from places in the stream, with the token before each as prompt."""
        tokens, vocabulary = self.stream.tokens, self.vocabulary
        rows = [tokens[start : start + self._length].astype(np.int64) for start in starts.tolist()]
        x = filled(rows, vocabulary.pad, self._length)
        begin = vocabulary.begin if self.stream.opens else vocabulary.pad
        before = np.where(starts > 0, tokens[np.maximum(starts - 1, 0)], begin).astype(np.int64)
        present = torch.from_numpy(~absent & (before != vocabulary.pad))
        c: dict[str, tuple[Tensor, Tensor]] = {
            "prompt": (torch.from_numpy(before)[:, None], present)
        }
        if vocabulary.marks:
            speaking = np.array([self._speaking(start) for start in starts.tolist()])
            c["scored"] = (turns(x.numpy(), vocabulary, speaking), torch.ones(len(x)).bool())
        return x, c

    def _speaking(self, start: int) -> bool:
        """Whether the assistant speaks just before a place in the stream."""
        first = self.vocabulary.tokeniser.size
        for high in range(start, 0, -self._length):
            some = self.stream.tokens[max(0, high - self._length) : high]
            found = np.flatnonzero((some >= first) & (some != self.vocabulary.unknown))
            if len(found):
                return bool(some[found[-1]] == self.vocabulary.assistant)
        return False


def labels_of(values: Sequence[object], labels: Labels) -> tuple[Tensor, Tensor]:
    """(n,) int64 the number of each label, and (n,) whether it is known."""
    number = {name: i for i, name in enumerate(labels.names)}
    found = torch.tensor([number.get(str(value), -1) for value in values], dtype=torch.int64)
    return found.clamp(min=0), found >= 0
