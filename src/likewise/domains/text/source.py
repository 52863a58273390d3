"""Texts as training batches: records with what stands before them, and windows of a stream.

Of a dialogue the records are the answers of the assistant, each after all that was said before it.
Windows hold whole dialogues, and say which of their tokens count: those that are of a record.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels
from likewise.core.errors import DataError, must
from likewise.core.rng import Draws
from likewise.core.space import Sequence as SequenceSpace
from likewise.core.space import Space
from likewise.domains.text.corpus import Passages
from likewise.domains.text.rows import SOURCE
from likewise.domains.text.stream import Stream, closings
from likewise.domains.text.tokenise import Ids
from likewise.domains.text.vocabulary import Vocabulary

ABSENT = 8  # one row in so many is trained without what stands before it, or without a source


def filled(rows: Sequence[Ids], pad: int, length: int | None = None) -> Tensor:
    """(n, length) int64: rows filled up on the right; by default as long as the longest."""
    width = length if length is not None else max(1, *(len(row) for row in rows), 1)
    x = np.full((len(rows), width), pad, dtype=np.int64)
    for into, row in zip(x, rows, strict=True):
        into[: len(row)] = row
    return torch.from_numpy(x)


class RecordSource:
    """A `Source` with one record a row, and what stands before it as prompt.

    Args:
        passages: the records.
        columns: {name: (n, ...) values and (n,) presence} of conditions but the prompt.
        vocabulary, space, conditions: of the codec.
        context: how many tokens a model sees at once.
        room: tokens of a prompt, at most. It must not tell how long a record is, and rows of
            prompts are as wide whichever records they stand before.
        train: whether prompts and sources are left out at random.
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

    def __len__(self) -> int:
        return len(self.passages)

    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        """x (b, length) and conditions of the records numbered `index` (b,) int64."""
        rows, vocabulary = index.tolist(), self.vocabulary
        found = vocabulary.encode([self.passages[row] for row in rows])
        closing = closings(self.passages, rows, vocabulary)
        ended = [np.concatenate(pair) for pair in zip(found, closing, strict=True)]
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
        return x, c

    def _check(self, row: int, ids: Ids) -> None:
        if len(ids) > self._length:
            raise DataError(
                f"a record must have at most {self._length} tokens, its end among them; "
                f"{self.passages[row][:40]!r} has {len(ids)}. Load the data as that of training "
                f"was: with context={self.context} and the same tokenizer."
            )

    def _prompts(self, rows: Sequence[int]) -> list[Ids]:
        """What stands before each row, as many tokens as there is room for, the latest of it."""
        reach = self.vocabulary.tokeniser.reach * self.room
        found = self.vocabulary.encode([self.passages.before(row, reach) for row in rows])
        return [np.append(self.vocabulary.begin, ids)[-self.room :] for ids in found]


class WindowSource:
    """A `Source` whose rows are windows of one stream of tokens.

    Windows stand side by side; each is shifted at random by up to half its length, so that every
    token is met at every place. A window's prompt is the one token before it; what stands before
    that, up to a window of it, is `earlier`, for families that carry a state. One row in eight
    begins where a record begins instead, and nothing is known of what stands before.

    Args:
        stream: of tokens.
        vocabulary, space, conditions: of the codec.
        answers: whether records are answers of dialogues, which alone are scored.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        vocabulary: Vocabulary,
        space: SequenceSpace,
        conditions: Conditions,
        answers: bool,
    ) -> None:
        self.stream, self.vocabulary = stream, vocabulary
        self.answers = answers
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
        """x (b, length) from places in the stream, with what stands before each."""
        tokens, vocabulary = self.stream.tokens, self.vocabulary
        rows = [tokens[start : start + self._length].astype(np.int64) for start in starts.tolist()]
        x = filled(rows, vocabulary.pad, self._length)
        begin = vocabulary.begin if self.stream.opens else vocabulary.pad
        before = np.where(starts > 0, tokens[np.maximum(starts - 1, 0)], begin).astype(np.int64)
        present = torch.from_numpy(~absent & (before != vocabulary.pad))
        c: dict[str, tuple[Tensor, Tensor]] = {
            "prompt": (torch.from_numpy(before)[:, None], present)
        }
        earlier = [self._earlier(start) for start in starts.tolist()]
        known = present & torch.tensor([len(row) > 0 for row in earlier], dtype=torch.bool)
        c["earlier"] = (filled(earlier, vocabulary.pad, self._length), known)
        if self.answers:
            places = starts[:, None] + np.arange(self._length)
            scored = torch.from_numpy(self.stream.learned(places)) & (x != vocabulary.pad)
            c["scored"] = (scored, torch.ones(len(x), dtype=torch.bool))
        return x, c

    def _earlier(self, start: int) -> Ids:
        """What stands in the stream before the prompt of a window, behind the last seam."""
        row = self.stream.tokens[max(0, start - 1 - self._length) : max(0, start - 1)]
        seams = np.flatnonzero(row == self.vocabulary.pad)
        return row[seams[-1] + 1 if len(seams) else 0 :].astype(np.int64)


def labels_of(values: Sequence[object], labels: Labels) -> tuple[Tensor, Tensor]:
    """(n,) int64 the number of each label, and (n,) whether it is known."""
    number = {name: i for i, name in enumerate(labels.names)}
    found = torch.tensor([number.get(str(value), -1) for value in values], dtype=torch.int64)
    return found.clamp(min=0), found >= 0


def sources_of(
    texts: Sequence[object], vocabulary: Vocabulary, most: int
) -> tuple[Tensor, Tensor]:
    """(n, most) tokens of source texts, and (n,) whether a record has one.

    Raises:
        DataError: one is longer than those of training.
    """
    rows = vocabulary.encode(["" if text is None else str(text) for text in texts])
    longest = max(rows, key=len, default=np.zeros(0))
    if len(longest) > most:
        got = f"{len(longest)} tokens"
        raise DataError(must("a source text", f"of at most {most} tokens, as in training", got))
    present = torch.tensor([text is not None for text in texts], dtype=torch.bool)
    return filled(rows, vocabulary.pad, most), present
