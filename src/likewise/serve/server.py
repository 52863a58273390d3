"""`serve`: a model behind a socket, until a signal ends it."""

import socket
from types import FrameType
from typing import TYPE_CHECKING

from likewise.core.errors import LikewiseError, UsageError, must
from likewise.serve.app import PATIENCE, Front, application
from likewise.serve.asked import Reader
from likewise.serve.desk import Desk
from likewise.serve.metrics import Metrics
from likewise.store.model import Model
from likewise.tasks.engine import Engine

if TYPE_CHECKING:
    import uvicorn

INSTALL = "serving needs FastAPI and uvicorn: pip install 'likewise[serve]'"
BODY = 1 << 20


def serve(
    model: Model,
    *,
    name: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    key: str | None = None,
    slots: int = 32,
    queue: int = 64,
    most_tokens: int | None = None,
    most_body: int = BODY,
) -> None:
    """Serve a model by OpenAI's HTTP interface until SIGTERM or SIGINT comes.

    Routes: /v1/models, /v1/completions, /v1/chat/completions (for models of dialogues), /health,
    /metrics. A first signal lets nothing new in (503), finishes what is in flight and returns; a
    second ends at once.

    Args:
        model: of texts, whose family reads from left to right.
        name: of the model, as clients call it.
        host: the address to listen at; others than 127.0.0.1 let other machines in.
        port: to listen at.
        key: that clients must bring to /v1 as a bearer token; None for none.
        slots: texts that are made at one time.
        queue: texts that may wait for a slot; beyond them clients get 429.
        most_tokens: new tokens of one text, at most; None for as many as the context holds.
        most_body: bytes of a request's body, at most; beyond them clients get 413.

    Raises:
        UsageError: the model cannot be served, a number is out of its range, or the address
            cannot be listened at.
        LikewiseError: FastAPI or uvicorn is missing.
    """
    front = front_of(
        model,
        name=name,
        key=key,
        slots=slots,
        queue=queue,
        most_tokens=most_tokens,
        most_body=most_body,
    )
    server = server_of(front)
    with listening(host, port) as listener:
        server.run(sockets=[listener])


def front_of(
    model: Model,
    *,
    name: str,
    key: str | None = None,
    slots: int = 32,
    queue: int = 64,
    most_tokens: int | None = None,
    most_body: int = BODY,
) -> Front:
    """What `serve` serves, with nothing started; arguments as there."""
    numbers = (("queue", queue, 0), ("most_tokens", most_tokens, 1), ("most_body", most_body, 1))
    for what, value, least in numbers:
        if value is not None and value < least:
            raise UsageError(must(what, f"{least} or more", value))
    if key == "":
        raise UsageError(must("key", "a text that is not empty, or left out", key))
    engine = Engine(model, slots=slots)
    most = engine.room - 1 if most_tokens is None else most_tokens
    metrics = Metrics()
    desk = Desk(engine, queue, metrics)
    reader = Reader(engine, name, most, desk.most)
    return Front(desk=desk, reader=reader, metrics=metrics, key=key, body=most_body)


def server_of(front: Front) -> "uvicorn.Server":
    """A uvicorn server of a front that ends gracefully.

    Raises:
        LikewiseError: FastAPI or uvicorn is missing.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise LikewiseError(INSTALL) from error

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Drain first; at a second signal end."""
            if not front.desk.draining:
                front.desk.draining = True
                return
            super().handle_exit(sig, frame)
            self.force_exit = True

        async def on_tick(self, counter: int) -> bool:
            """Whether to end: when nothing is in flight any more."""
            drained = front.desk.draining and not front.desk.open
            return await super().on_tick(counter) or drained

    config = uvicorn.Config(
        application(front),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=PATIENCE,
    )
    return Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; with port 0, at one that is free.

    Raises:
        UsageError: the address cannot be listened at, and why.
    """
    if not 0 <= port < 2**16:
        raise UsageError(must("port", "from 0 to 65535", port))
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        raise UsageError(
            f"the server cannot listen at {host}:{port} ({error}). Choose another port or host."
        ) from error
    return listener
