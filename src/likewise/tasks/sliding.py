"""Texts that outgrow the context: when it is full, its latest half is read anew, and they go on.

A sliding window with re-computation (Xiao et al., "Efficient streaming language models with
attention sinks", 2024), moved by half a context at a time, so that a token is read twice at most.
What has left the window is forgotten.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from likewise.nn.decoding import Readable, Reader
from likewise.nn.speculating import Retracting
from likewise.store.model import Model
from likewise.tasks.codec import codec_of
from likewise.tasks.rows import conditions, filled


class Joining(Reader, Protocol):
    """A reader that can take up the rows of another."""

    def join(self, other: "Joining") -> None:
        """Go on with the rows of another reader too, after its own."""
        ...


def begin_of(tokens: int, room: int) -> int:
    """Where the window begins that is read of so many tokens, fewer than `room` long.

    Example:
        >>> [begin_of(tokens, 6) for tokens in range(4, 13)]
        [0, 0, 3, 3, 3, 6, 6, 6, 9]
    """
    by = room - room // 2
    return 0 if tokens < room else ((tokens - room) // by + 1) * by


class Sliding:
    """A reader of rows of any length; see `likewise.nn.decoding.Reader`.

    Args:
        model: of texts, whose family reads from left to right.
        wheres: what each row should be, such as {"label": "letter"}.
        room: tokens that there is room for, the one to come among them; 2 at least.
    """

    def __init__(self, model: Model, wheres: Listed[Mapping[str, Any]], room: int) -> None:
        self._model, self._wheres, self._room = model, list(wheres), room
        self._rows: list[list[int]] = []
        self._begins = [0] * len(self._wheres)  # of the windows that the reader has read
        self._reader: Joining

    def begin(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Logits (n, tokens) after rows (n, p), filled up on the right."""
        pairs = zip(rows.tolist(), lengths.tolist(), strict=True)
        self._rows = [row[:size] for row, size in pairs]
        self._reader, logits = self._read(range(len(self._rows)))
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (n, tokens) after one more token of each row."""
        for row, token in zip(self._rows, tokens.tolist(), strict=True):
            row.append(token)
        moved = [i for i in range(len(self._rows)) if self._begin(i) != self._begins[i]]
        return self._anew(moved, tokens) if moved else self._reader.step(tokens)

    def extend(self, tokens: Tensor) -> Tensor:
        """Logits (n, k, tokens) after each of k more tokens of each row (n, k)."""
        more = range(1, tokens.shape[1] + 1)
        rows = range(len(self._rows))
        if any(self._begin(i, k) != self._begins[i] for i in rows for k in (more[0], more[-1])):
            return torch.stack([self.step(token) for token in tokens.unbind(dim=1)], dim=1)
        for row, some in zip(self._rows, tokens.tolist(), strict=True):
            row.extend(some)
        return cast(Retracting, self._reader).extend(tokens)

    def forget(self, counts: Tensor) -> None:
        """Take back the last tokens of each row, so many (n,)."""
        taken = counts.tolist()
        for i, (row, count) in enumerate(zip(self._rows, taken, strict=True)):
            del row[len(row) - count :]
            if self._begin(i, 1) != self._begins[i]:
                taken[i] = 0  # the window moves back and is read anew with the next token
        cast(Retracting, self._reader).forget(torch.tensor(taken))

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone; a row may be asked for twice."""
        places = rows.tolist()
        self._rows = [list(self._rows[place]) for place in places]
        self._begins = [self._begins[place] for place in places]
        self._wheres = [self._wheres[place] for place in places]
        self._reader.keep(rows)

    def join(self, other: "Sliding") -> None:
        """Go on with the rows of another reader too."""
        self._rows += other._rows
        self._begins += other._begins
        self._wheres += other._wheres
        self._reader.join(other._reader)

    def _begin(self, row: int, more: int = 0) -> int:
        """Where the window of a row begins, with so many tokens more."""
        return begin_of(len(self._rows[row]) + more, self._room)

    def _read(self, rows: Listed[int]) -> tuple[Joining, Tensor]:
        """What has read the windows of some rows, and the logits (m, tokens) after them."""
        family, pad = self._model.family, codec_of(self._model).pad
        for row in rows:
            self._begins[row] = self._begin(row)
        c = conditions([self._wheres[row] for row in rows], self._model.domain)
        reader = cast(Readable[Joining], family).reader(c, len(rows))
        windows = [self._rows[row][self._begins[row] :] for row in rows]
        return reader, reader.begin(*filled(windows, pad, family.device))

    def _anew(self, moved: list[int], tokens: Tensor) -> Tensor:
        """Logits (n, tokens) as `step` gives them, the windows of moved rows read anew."""
        fresh, logits = self._read(moved)
        left = [row for row in range(len(self._rows)) if row not in moved]
        if not left:
            self._reader = fresh
            return logits
        self._reader.keep(torch.tensor(left))
        logits = torch.cat([self._reader.step(tokens[left]), logits])
        self._reader.join(fresh)
        order = torch.tensor([*left, *moved]).argsort()
        self._reader.keep(order)
        return logits[order]
