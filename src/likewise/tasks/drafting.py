"""Texts of a large model, which checks the guesses of a small one several at a time.

Both must spell alike. What is written is the large model's: with a temperature of 0 the very text,
otherwise a text of the same distribution. See `likewise.nn.speculating`.
"""

from collections.abc import Iterator
from typing import cast

import torch

from likewise.core.errors import UsageError
from likewise.core.rng import Draws, fold
from likewise.nn.decoding import Readable, Reader
from likewise.nn.speculating import Spoken, speculate
from likewise.store.model import Model
from likewise.tasks.codec import Codec, codec_of, never, spelled
from likewise.tasks.engine import Engine
from likewise.tasks.rows import Event, Request, Row, filled, taken
from likewise.tasks.sliding import Sliding


def drafted(model: Model, draft: Model, requests: list[Request]) -> Iterator[Event]:
    """The tokens of requests, all in one batch, several of a request at a time.

    Args:
        model: of texts, whose texts they are.
        draft: a smaller one with the same tokens, trained on texts of the kind.
        requests: of one seed, samples that follow one another, and equal controls; no form, no
            `where` and no repetition penalty.

    Raises:
        UsageError: a request cannot be served, the models do not go together, or one of them
            cannot take back what it read.
    """
    check_draft(model, draft)
    _refuse(requests)
    large, small = Engine(model), Engine(draft)
    for request in requests:
        large.check(request)
    return _events(large, small, [large.row(request) for request in requests])


def check_draft(model: Model, draft: Model) -> None:
    """UsageError unless a model can draft for another."""
    for one in (model, draft):
        if not hasattr(one.family, "reader") or not _retracts(one):
            raise UsageError(
                f"{one.name} cannot take back what it read, and drafts need that of both models: "
                "transformer and ngram can."
            )
    if _spelled(codec_of(model)) != _spelled(codec_of(draft)):
        raise UsageError(
            f"the draft {draft.name} must have the tokens of {model.name}; they differ. Train "
            "both on the same data, or give the draft the tokeniser of the model."
        )


def _retracts(model: Model) -> bool:
    return hasattr(cast(Readable[Reader], model.family).reader(None, 1), "forget")


def _spelled(codec: Codec) -> tuple[object, ...]:
    return (tuple(spelled(codec)), tuple(codec.roles.items()), codec.end, codec.pad)


def _refuse(requests: list[Request]) -> None:
    if any(request.form is not None for request in requests):
        raise UsageError("a form and a draft do not go together yet: leave one of them out.")
    if any(request.where for request in requests):
        raise UsageError("a draft cannot write by labels: leave one of them out.")
    if any(request.controls.repetition != 1.0 for request in requests):
        raise UsageError("a repetition penalty and a draft do not go together: leave one out.")


@torch.no_grad()
def _events(large: Engine, small: Engine, rows: list[Row]) -> Iterator[Event]:
    space, first = large.space, rows[0].request
    # each slides by its own context, so the texts are those that the large one alone would write
    reader, draft = (Sliding(one.model, [{} for _ in rows], one.room) for one in (large, small))
    device = large.model.family.device
    read, lengths = filled([row.tokens for row in rows], space.pad, device)
    stream = speculate(
        reader,
        draft,
        read,
        lengths,
        most=torch.tensor([row.most for row in rows]),
        end=space.end,
        rng=Draws(fold(first.seed, "sample"), first.sample),
        controls=first.controls,
        never=never(large.codec),
    )
    spoken = next(stream)
    while True:
        over = []
        for event, number in _told(spoken, rows, space.end):
            yield event
            if event.finish is not None:
                over.append(number)
        try:
            spoken = stream.send(torch.tensor(over, dtype=torch.int64))
        except StopIteration:
            return


def _told(spoken: Spoken, rows: list[Row], end: int) -> Iterator[tuple[Event, int]]:
    """What a round means for each row, and the row's number; nothing after a row is over."""
    over: set[int] = set()
    for step in range(int(spoken.counts.max())):
        numbers = spoken.rows.tolist()
        here = [
            place
            for place, count in enumerate(spoken.counts.tolist())
            if step < count and numbers[place] not in over
        ]
        if not here:  # all were over before the round was
            return
        some = [rows[numbers[place]] for place in here]
        events = taken(some, spoken.tokens[here, step], spoken.logits[here, step], end)
        for place, event in zip(here, events, strict=True):
            if event.finish is not None:
                over.add(numbers[place])
            yield event, numbers[place]
