"""`serve`: a model behind a socket, until a signal ends it."""

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from likewise.core.errors import LikewiseError, UsageError, must
from likewise.serve.app import Front, application
from likewise.serve.asked import Reader
from likewise.serve.connections import LOG, STALL, is_local, protocol, shares
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
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a model by OpenAI's HTTP interface until SIGTERM or SIGINT comes.

    Routes: /v1/models, /v1/completions, /v1/chat/completions (for models of dialogues), /health,
    /metrics. A first signal lets nothing new in (503), finishes what is in flight and returns; a
    second ends at once, that of Ctrl-C with a KeyboardInterrupt.

    Args:
        model: of texts, whose family reads from left to right.
        name: of the model, as clients call it.
        host: the address to listen at; others than 127.0.0.1 let other machines in.
        port: to listen at; 0 for one that is free.
        key: that clients must bring to /v1 as a bearer token; None for none. Without one, a
            server at this machine's own address answers only to that name, lest pages of the web
            reach it by another.
        slots: texts that are made at one time.
        queue: texts that may wait for a slot; beyond them clients get 429.
        most_tokens: new tokens of one text, at most; None for as many as the context holds.
        most_body: bytes of a request's body, at most; beyond them clients get 413.
        ready: called with the URL when the server listens there.

    Raises:
        UsageError: the model cannot be served, a number is out of its range, or the address
            cannot be listened at.
        LikewiseError: FastAPI or uvicorn is missing.
    """
    front = front_of(
        model,
        name=name,
        host=host,
        key=key,
        slots=slots,
        queue=queue,
        most_tokens=most_tokens,
        most_body=most_body,
    )
    server = server_of(front)
    with listening(host, port) as listener:
        if ready is not None:
            at = f"[{host}]" if ":" in host else host
            ready(f"http://{at}:{listener.getsockname()[1]}/v1")
        server.run(sockets=[listener])


def front_of(
    model: Model,
    *,
    name: str,
    host: str = "127.0.0.1",
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
    if key is not None:
        _check_key(key)
    engine = Engine(model, slots=slots)
    most = engine.room - 1 if most_tokens is None else most_tokens
    metrics = Metrics()
    desk = Desk(engine, queue, metrics)
    reader = Reader(engine, name, most, desk.most)
    local = key is None and is_local(host)
    return Front(desk=desk, reader=reader, metrics=metrics, key=key, body=most_body, local=local)


def _check_key(key: str) -> None:
    """Raise UsageError for a key that no client could bring."""
    if not key:
        raise UsageError(must("key", "a text that is not empty, or left out", key))
    strange = "".join(one for one in key if not " " <= one <= "~")
    if strange or key != key.strip():
        be = "of letters, digits and signs of ASCII, without a space before or after them"
        raise UsageError(must("key", be, strange or " ", "A header of HTTP carries no others."))


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

    most, backlog = shares(2 * front.desk.most)
    config = uvicorn.Config(
        application(front),
        http=protocol(most),
        ws="none",
        log_level="warning",
        access_log=False,
        backlog=backlog,
    )
    return _ending(front.desk)(config)


def _ending(desk: Desk) -> "type[uvicorn.Server]":
    """A server that finishes what is in flight before it ends."""
    import uvicorn

    class Server(uvicorn.Server):
        told = False

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Drain first; at a second signal end."""
            if not desk.draining:
                desk.draining = True
                return
            super().handle_exit(sig, frame)
            self.force_exit = True

        async def on_tick(self, counter: int) -> bool:
            """Whether to end: when nothing is in flight any more."""
            if desk.draining and desk.open and not self.told:
                self.told = True
                many = f"{desk.open} answer{'' if desk.open == 1 else 's'}"
                LOG.warning("finishing %s; Ctrl-C again ends at once", many)
            return await super().on_tick(counter) or (desk.draining and not desk.open)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Close all connections; clients have a while to read what was made for them."""
            if self.force_exit:  # what breaks off then is no failure
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
                self.leave()
            leaving = asyncio.get_running_loop().call_later(STALL, self.leave)
            await super().shutdown(sockets)
            leaving.cancel()

        def leave(self) -> None:
            """Close all connections, though they be in use."""
            for one in list(self.server_state.connections):
                one.transport.abort()

    return Server


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
