"""Texts that a search finds the likeliest, in place of draws: beams."""

from collections.abc import Iterator

import torch

from likewise.core.contract import Controls
from likewise.core.errors import UsageError, must
from likewise.nn.decoding import beams
from likewise.store.model import Model
from likewise.tasks.codec import never
from likewise.tasks.engine import Engine
from likewise.tasks.rows import Event, Request, Row, taken
from likewise.tasks.sliding import Sliding


def check_width(width: int, controls: Controls) -> None:
    """UsageError unless so many beams go with the controls; 1 is no search but a draw."""
    if width < 1:
        raise UsageError(must("the number of beams", "1 or more", width))
    if width > 1 and controls.changed():
        named = ", ".join(sorted(controls.changed()))
        raise UsageError(f"{named} shapes draws, and beams draw nothing. Take 1 beam.")


def searched(model: Model, requests: list[Request], width: int) -> Iterator[Event]:
    """The tokens of the likeliest text of each request, one request after another.

    A text's log-probability is divided by its number of tokens (Wu et al., "Google's neural
    machine translation system", 2016), so that short texts are not favoured.

    Args:
        model: of texts, whose family reads from left to right.
        requests: without controls, stop strings and forms.
        width: beams, 2 or more.

    Raises:
        UsageError: a request cannot be served, or has what beams cannot honour; at once.
    """
    engine = Engine(model)
    for request in requests:
        check_width(width, request.controls)
        for named, given in (("stop strings", request.stop), ("a form", request.form)):
            if given:
                raise UsageError(
                    f"{named} and beams do not go together yet: leave one of them out."
                )
        engine.check(request)
    rows = [engine.row(request) for request in requests]
    return (event for row in rows for event in _told(engine, row, width))


@torch.no_grad()
def _told(engine: Engine, row: Row, width: int) -> list[Event]:
    """What the likeliest text of a row tells, read once more token by token."""
    model, end, device = engine.model, engine.space.end, engine.model.family.device
    read = torch.tensor(row.tokens, device=device)
    once, again = (Sliding(model, [row.request.where], engine.room) for _ in range(2))
    barred = never(engine.codec)
    over = row.request.over
    (tokens, _), *_ = beams(
        once, read, width=width, most=row.most, end=end, never=barred, over=over
    )
    logits, events = again.begin(read[None], torch.tensor([len(read)])), []
    for token in torch.tensor(tokens, device=device)[:, None]:
        events += taken([row], token, logits, end)
        if events[-1].finish is not None:
            break
        logits = again.step(token)
    return events
