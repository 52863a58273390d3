"""What is asked of a model of texts, how far each text has come, and what each token tells."""

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from likewise.core.condition import Batch
from likewise.core.contract import Controls, Domain
from likewise.core.rng import Draws, fold
from likewise.core.space import Sequence
from likewise.nn.decoding import Seen
from likewise.tasks.codec import Codec
from likewise.tasks.forms import Course, Form
from likewise.tasks.spelling import Spelling

Finish: TypeAlias = Literal["stop", "length"]
Top: TypeAlias = tuple[tuple[int, float], ...]
"""The likeliest tokens with their log-probabilities, the likeliest first."""
FIRST = 256  # numbers that are drawn at first for a request


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is to be continued, and how.

    Attributes:
        tokens: what is read first, 1 at least; a document begins with the domain's `end`.
        most: new tokens, 1 at least; None for as many as the context holds.
        controls: temperature and the like.
        seed: of the draws.
        sample: which sample of the seed it is; `Model.sample` draws the same for that number.
        stop: strings at the first of which the text is over; none is part of the text.
        over: tokens besides the domain's `end` that close it, such as those of roles.
        top: for how many of the likeliest tokens log-probabilities are told.
        form: that the text must match as a whole; None for any text.
        where: what else the text should be, such as {"label": "letter"}.
    """

    tokens: Listed[int]
    most: int | None = None
    controls: Controls = Controls()
    seed: int = 0
    sample: int = 0
    stop: Listed[str] = ()
    over: frozenset[int] = frozenset()
    top: int = 0
    form: Form | None = None
    where: Mapping[str, Any] = field(default_factory=dict)


class Event(NamedTuple):
    """One token of one request.

    Attributes:
        request: whose it is.
        token: that was made; the one that closes the text too.
        text: that can be shown now and could not before: never half a character, nor what may be
            the beginning of a stop string.
        log_prob: nats, in the family's own distribution, before temperature and the like.
        top: the likeliest tokens with theirs, the likeliest first.
        place: characters of the new text that stand before what the token adds to it.
        finish: "stop" where the end, a token of `over` or a stop string was met or the form is
            complete, "length" where there was no more room or no token that the form could go on
            with, None where it goes on.
    """

    request: Request
    token: int
    text: str
    log_prob: float
    top: Top = ()
    place: int = 0
    finish: Finish | None = None


@dataclass
class Row:
    """A request in the batch.

    Attributes:
        request: that can be served.
        tokens: what is read first: what stands before an end in the request is left out.
        most: new tokens, at most.
        spelling: of what was made.
        seen: the tokens that stood before, if there is a penalty for repetition.
        course: what follows the request's form.
        made: the new tokens.
        points: numbers in (0, 1) that tokens are drawn with, more than were made or all so far.
    """

    request: Request
    tokens: list[int]
    most: int
    spelling: Spelling
    seen: Seen | None
    course: Course | None
    made: list[int] = field(default_factory=list)
    points: list[float] = field(default_factory=list)

    @classmethod
    def of(
        cls, request: Request, codec: Codec, *, space: Sequence, room: int, course: Course | None
    ) -> "Row":
        """A request at its beginning.

        Args:
            request: that can be served.
            codec: of the model.
            space: of the model.
            room: tokens of the context.
            course: what follows the request's form.
        """
        tokens, end, size = list(request.tokens), space.end, space.tokens
        if space.closes and end in tokens:  # what follows one knows nothing before it
            tokens = tokens[len(tokens) - 1 - tokens[::-1].index(end) :]
        penalised = request.controls.repetition != 1.0
        read = torch.tensor([tokens])
        return cls(
            request=request,
            tokens=tokens,
            most=room - len(tokens) if request.most is None else request.most,
            spelling=Spelling(codec, request.stop),
            seen=Seen(read, torch.tensor([len(tokens)]), size) if penalised else None,
            course=course,
        )

    def point(self) -> float:
        """The number in (0, 1) that the next token is drawn with."""
        place = len(self.made)
        if place == len(self.points):  # a longer draw begins as a shorter one does
            draws = Draws(fold(self.request.seed, "sample"), self.request.sample)
            self.points = draws.uniform(1, max(FIRST, 2 * place))[0].tolist()
        return self.points[place]

    def take(self, token: int, log_prob: float, top: Top, end: int) -> Event:
        """Take up a token, and say what it means."""
        self.made.append(token)
        if self.seen is not None:
            self.seen.add(torch.tensor([token]))
        request, spelling = self.request, self.spelling
        closed = token == end or token in request.over
        text = spelling.rest() if closed else spelling.add(token)
        place = spelling.place
        full = len(self.made) == self.most
        whole = False
        if self.course is not None and not closed:
            self.course.take(token)
            full, whole = full or self.course.over, self.course.over and self.course.matches
        if full and not closed and not spelling.stopped:
            text += spelling.rest()
        stopped = closed or whole or spelling.stopped
        finish: Finish | None = "stop" if stopped else "length" if full else None
        return Event(request, token, text, log_prob, top, place, finish)


def taken(rows: Listed[Row], tokens: Tensor, logits: Tensor, end: int) -> list[Event]:
    """The events of tokens (n,), one for each row, that were chosen by logits (n, K).

    Numbers come from a device all at once, not row by row.
    """
    log_probs = logits.float().log_softmax(dim=-1)
    own = log_probs.gather(1, tokens[:, None])[:, 0].tolist()
    most = max(row.request.top for row in rows)
    values, places = (x.tolist() for x in log_probs.topk(most, dim=-1))
    every = zip(rows, tokens.tolist(), own, places, values, strict=True)
    return [
        row.take(token, nats, tuple(zip(at, tops, strict=True))[: row.request.top], end)
        for row, token, nats, at, tops in every
    ]


def conditions(wheres: Listed[Mapping[str, Any]], domain: Domain) -> Batch | None:
    """What texts should be, as a batch; None where nothing is asked of any."""
    names = {name for where in wheres for name in where}
    if not names:
        return None
    asked = {name: [where.get(name) for where in wheres] for name in sorted(names)}
    return domain.condition(asked, len(wheres))


def filled(rows: Listed[list[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of tokens as (n, p) int64, filled up on the right, and their lengths (n,)."""
    longest = max(map(len, rows))
    full = [row + [pad] * (longest - len(row)) for row in rows]
    return torch.tensor(full, device=device), torch.tensor([*map(len, rows)], device=device)
