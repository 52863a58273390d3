"""Continuous batching: requests join a running batch when a slot is free, and leave when over.

Yu et al., "Orca: a distributed serving system for transformer-based generative models", 2022. Each
call of `Engine.advance` makes one token for every row of the batch, however long each has been in
it, so a short request never waits for a long one.

Every request draws from a stream of its own, so who else is in the batch changes no draw of it.
The numbers that the network computes can differ by rounding between batch sizes; a text can then
differ where two tokens are equally likely to the last digits.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from likewise.core.condition import Tokens
from likewise.core.contract import Controls
from likewise.core.errors import LengthError, UsageError, must
from likewise.core.space import Sequence as SequenceSpace
from likewise.nn.decoding import choose
from likewise.store.model import Model
from likewise.tasks.codec import codec_of, unknown
from likewise.tasks.forms import check_form, course
from likewise.tasks.rows import Event, Request, Row, filled, taken
from likewise.tasks.sliding import Sliding

LONGEST = 1 << 20  # new tokens of a text


class Engine:
    """A batch of requests that grows and shrinks.

    Args:
        model: of texts, whose family reads from left to right.
        slots: requests in the batch at one time, at most.

    Attributes:
        room: tokens of the context, those read and those made; of a text that is to be longer,
            the latest half is read anew (`likewise.tasks.sliding`).

    Raises:
        UsageError: the model is not one of texts, its family does not read from left to right,
            or a number is out of its range.
    """

    def __init__(self, model: Model, *, slots: int = 32) -> None:
        space = model.family.space
        self.codec = codec_of(model)
        if not isinstance(space, SequenceSpace) or not hasattr(model.family, "reader"):
            raise UsageError(
                f"{model.name} does not write from left to right, and this needs a family that "
                "does, such as transformer."
            )
        if slots < 1:
            raise UsageError(must("slots", "1 or more", slots))
        self.model, self.slots, self.space = model, slots, space
        self.room = space.length + 1
        self._barred = torch.tensor([*unknown(self.codec), space.pad], dtype=torch.int64)
        self._queue: deque[Request] = deque()
        self._rows: list[Row] = []
        self._reader: Sliding | None = None
        model.family.eval()

    @property
    def running(self) -> int:
        """How many requests are in the batch."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether `advance` has something to do."""
        return bool(self._rows or self._queue)

    def check(self, request: Request) -> None:
        """Raise UsageError unless the request can be served, and say why.

        Raises:
            LikewiseError: it has a form, and the llguidance library is missing.
        """
        self._check_prompt(request.tokens)
        self._check_numbers(request)
        able = self.model.family.claims.controls
        refused = request.controls.changed() - able
        if refused:
            raise UsageError(
                f"{self.model.name} does not honour {', '.join(sorted(refused))}; "
                f"it honours: {', '.join(sorted(able)) or 'none'}."
            )
        self._check_where(request.where)
        if request.form is not None:
            check_form(self.codec, request.form, self.space.tokens)

    def _check_prompt(self, prompt: Sequence[int]) -> None:
        """UsageError unless a prompt fits into the context, and its tokens are the model's."""
        size, tokens = len(prompt), self.space.tokens
        be = f"of 1 to {self.room - 1} tokens, for the context of this model"
        if size == 0:
            raise UsageError(must("a prompt", be, size))
        if size >= self.room:
            raise LengthError(must("a prompt", be, size, "Leave out its beginning."))
        strange = [token for token in prompt if not 0 <= token < tokens]
        if strange:
            raise UsageError(must("tokens of a prompt", f"from 0 to {tokens - 1}", strange[0]))

    def _check_numbers(self, request: Request) -> None:
        """UsageError unless the rest of what is asked for can be."""
        tokens = self.space.tokens
        if request.most is not None and not 1 <= request.most <= LONGEST:
            raise UsageError(must("the most new tokens", f"from 1 to {LONGEST}", request.most))
        if isinstance(request.stop, str):
            raise UsageError(must("stop strings", "a list of texts", request.stop))
        if not all(request.stop):
            raise UsageError(must("stop strings", "of 1 character or more", ""))
        if not 0 <= request.top < tokens:
            be = f"from 0 to {tokens - 1}"
            raise UsageError(must("the number of log-probabilities", be, request.top))

    def _check_where(self, where: Mapping[str, Any]) -> None:
        """UsageError unless the family honours it, and the domain knows what it says."""
        able = [one.name for one in self.model.family.conditions if not isinstance(one, Tokens)]
        strange = [name for name in where if name not in able]
        if strange:
            raise UsageError(
                f"{self.model.name} does not write by {strange[0]!r}; "
                f"it can by: {', '.join(able) or 'nothing but the prompt'}."
            )
        if where:
            self.model.domain.condition({name: [value] for name, value in where.items()}, 1)

    def submit(self, request: Request) -> None:
        """Queue a request; UsageError if it cannot be served."""
        self.check(request)
        self._queue.append(request)

    def cancel(self, request: Request) -> None:
        """Forget a request, in the queue or in the batch; nothing if it is over."""
        if request in self._queue:
            self._queue.remove(request)
        self._keep([i for i, row in enumerate(self._rows) if row.request is not request])

    def clear(self) -> None:
        """Forget all requests."""
        self._queue.clear()
        self._keep([])

    @torch.no_grad()
    def advance(self) -> list[Event]:
        """One more token of every request that is in the batch or can join it."""
        parts = [*self._stepped(), *self._admitted()]
        if not parts:
            return []
        logits = torch.cat(parts)
        barred = self._barred.to(logits.device)
        limited = _limited(self._rows, logits).index_fill(1, barred, -torch.inf)
        tokens = self._chosen(limited)
        events = taken(self._rows, tokens, logits, self.space.end)
        self._keep([i for i, event in enumerate(events) if event.finish is None])
        return events

    def _stepped(self) -> list[Tensor]:
        """Logits (n, tokens) of the rows in the batch, if there are any."""
        if self._reader is None:
            return []
        last = torch.tensor([row.made[-1] for row in self._rows], device=self.model.family.device)
        return [self._reader.step(last)]

    def _admitted(self) -> list[Tensor]:
        """Logits (m, tokens) of the requests that join now, if there are any; read together."""
        free = min(self.slots - len(self._rows), len(self._queue))
        if free == 0:
            return []
        new = [self.row(self._queue.popleft()) for _ in range(free)]
        reader = Sliding(self.model, [row.request.where for row in new], self.room)
        rows = [row.tokens for row in new]
        logits = reader.begin(*filled(rows, self.space.pad, self.model.family.device))
        if self._reader is None:
            self._reader = reader
        else:
            self._reader.join(reader)
        self._rows += new
        return [logits]

    def row(self, request: Request) -> Row:
        """A request at its beginning."""
        form, over = request.form, request.over
        found = None if form is None else course(self.codec, form, self.space.tokens, over)
        return Row.of(request, self.codec, space=self.space, room=self.room, course=found)

    def _chosen(self, logits: Tensor) -> Tensor:
        """A token for each row (n,), of logits (n, tokens); rows of equal controls together."""
        groups: dict[Controls, list[int]] = {}
        for place, row in enumerate(self._rows):
            groups.setdefault(row.request.controls, []).append(place)
        chosen = logits.new_empty(len(logits), dtype=torch.int64)
        for controls, places in groups.items():
            rows = [self._rows[place] for place in places]
            some = _lowered(rows, logits[places], controls.repetition)
            points = [row.point() for row in rows]
            at = torch.tensor(points, dtype=torch.float64, device=logits.device)
            chosen[places] = choose(some, controls, at)
        return chosen

    def _keep(self, places: list[int]) -> None:
        """Go on with these rows of the batch alone."""
        if len(places) == len(self._rows):
            return
        self._rows = [self._rows[place] for place in places]
        if not places:
            self._reader = None
        elif self._reader is not None:
            self._reader.keep(torch.tensor(places, device=self.model.family.device))


def _limited(rows: list[Row], logits: Tensor) -> Tensor:
    """Logits (n, tokens) of rows, those of tokens that the form of a row forbids at -inf."""
    if all(row.course is None for row in rows):
        return logits
    pairs = zip(rows, logits, strict=True)
    every = [one if row.course is None else row.course.limited(one) for row, one in pairs]
    return torch.stack(every)


def _lowered(rows: list[Row], logits: Tensor, penalty: float) -> Tensor:
    """Logits (n, tokens) of rows, those of tokens that stood before lowered by the penalty."""
    parts = [
        row.seen.lowered(logits[place : place + 1], penalty)
        for place, row in enumerate(rows)
        if row.seen is not None
    ]
    return torch.cat(parts) if parts else logits
