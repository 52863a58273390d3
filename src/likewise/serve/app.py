"""The routes, as a FastAPI application."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from likewise.core.errors import must
from likewise.serve.answers import Answer
from likewise.serve.asked import Asked, Reader
from likewise.serve.connections import PATIENCE, is_local
from likewise.serve.desk import Desk, Ticket
from likewise.serve.errors import ApiError
from likewise.serve.fields import SHOWN, Shown, read
from likewise.serve.metrics import Metrics

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

READ = ["GET", "HEAD"]
LEFT = 499  # how a request is counted whose client has left


@dataclass(frozen=True, kw_only=True)
class Front:
    """What the routes share.

    Attributes:
        desk: where requests are taken in.
        reader: of bodies.
        metrics: what is counted.
        key: that clients must bring, or None.
        body: bytes of a body, at most.
        local: whether it answers to this machine's own names alone.
    """

    desk: Desk
    reader: Reader
    metrics: Metrics
    key: str | None
    body: int
    local: bool


def application(front: Front) -> "FastAPI":
    """The application; its engine's thread runs from its start to its end."""
    from fastapi import Depends, FastAPI, Request

    async def named(request: Request) -> None:
        _refuse_names(front, request)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        front.desk.start()
        yield
        await front.desk.stop()

    app = FastAPI(
        lifespan=lifespan,
        dependencies=[Depends(named)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_middleware(Counted, metrics=front.metrics)
    _add_errors(app)
    for add in (_add_models, _add_texts, _add_state):
        add(app, front)
    return app


def _add_errors(app: "FastAPI") -> None:
    """What a client is told where it cannot be served, all in one form."""
    from fastapi import Request
    from fastapi.responses import JSONResponse, Response
    from starlette.exceptions import HTTPException

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return JSONResponse(error.body(), error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        what = f"{request.method} {request.url.path[:120]}"
        message = f"There is no {what} here; {error.detail.lower()}."
        body = ApiError(error.status_code, message).body()
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        message = "Something in the server failed; its log says what."
        return JSONResponse(ApiError(500, message).body(), 500)


def _add_models(app: "FastAPI", front: Front) -> None:
    """The routes that name the model."""
    from fastapi import Request
    from fastapi.responses import JSONResponse, Response

    known = front.reader.name
    card = {"id": known, "object": "model", "created": int(time.time()), "owned_by": "likewise"}

    @app.api_route("/v1/models", methods=READ)
    async def models(request: Request) -> Response:
        _admit(front, request)
        return JSONResponse({"object": "list", "data": [card]})

    @app.api_route("/v1/models/{name:path}", methods=READ)
    async def model(request: Request, name: str) -> Response:
        _admit(front, request)
        if name != known:
            message = f"There is no model {name[:120]!r}; there is {known!r}."
            raise ApiError(404, message, param="model", code="model_not_found")
        return JSONResponse(card)


def _add_texts(app: "FastAPI", front: Front) -> None:
    """The routes that write."""
    from fastapi import Request
    from fastapi.responses import Response

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await _answered(front, request, front.reader.text)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await _answered(front, request, front.reader.chat)


def _add_state(app: "FastAPI", front: Front) -> None:
    """The routes that tell how the server is."""
    from fastapi.responses import JSONResponse, PlainTextResponse, Response

    desk = front.desk

    @app.api_route("/health", methods=READ)
    async def health() -> Response:
        word = "draining" if desk.draining else "ok"
        return JSONResponse({"status": word}, 503 if desk.draining else 200)

    @app.api_route("/metrics", methods=READ)
    async def metrics() -> Response:
        running = desk.engine.running
        text = front.metrics.text(running, max(0, desk.open - running))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


def _admit(front: Front, request: "Request") -> None:
    """Raise ApiError unless the request brings the key, where there is one."""
    if front.key is None:
        return
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(key.encode(), front.key.encode()):
        message = "The key is wrong or missing; send it as Authorization: Bearer KEY."
        headers = {"WWW-Authenticate": "Bearer"}
        raise ApiError(401, message, code="invalid_api_key", headers=headers)


def _refuse_names(front: Front, request: "Request") -> None:
    """Raise ApiError for a name that is not this machine's own, where it answers to no other.

    A page of the web can have its own name lead to this machine, and ask by that.
    """
    host = request.headers.get("host", "")
    if front.local and not is_local(host):
        got = Shown(host[:SHOWN])
        remedy = "To serve others, give the server a key (--key), which they bring."
        message = must("Host", "localhost or 127.0.0.1, as nobody else is served", got, remedy)
        raise ApiError(403, message, code="unknown_host")


def _refuse_kinds(request: "Request") -> None:
    """Raise ApiError unless a body says that it is JSON.

    A page of the web may send other kinds to any address, but JSON only where it is let.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        got = Shown(kind[:SHOWN])
        raise ApiError(415, must("Content-Type", "application/json", got))


async def _body(request: "Request", most: int) -> bytes:
    """The body of a request.

    Raises:
        ApiError: 413 where it is too large, 408 where it does not come.
    """
    data = bytearray()
    size = request.headers.get("content-length", "")
    if size.isdecimal() and int(size[:20]) > most:
        raise _large(most)
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise _large(most)
    except TimeoutError as error:
        raise ApiError(408, f"The body must come within {PATIENCE} seconds.") from error
    return bytes(data)


def _large(most: int) -> ApiError:
    headers = {"Connection": "close"}
    return ApiError(413, f"The body must be of at most {most} bytes.", headers=headers)


async def _answered(
    front: Front, request: "Request", reads: Callable[[dict[str, Any]], Asked]
) -> "Response":
    """Read a body, take its requests in, answer whole or in pieces."""
    from fastapi.responses import JSONResponse, Response
    from starlette.requests import ClientDisconnect

    _admit(front, request)
    _refuse_kinds(request)
    front.desk.refuse_late()
    try:
        body = read(await _body(request, front.body))
    except ClientDisconnect:
        return Response(status_code=LEFT)
    asked = await asyncio.to_thread(reads, body)
    answer = Answer(asked, front.reader.name, front.reader.engine.codec)
    ticket = front.desk.take(asked.requests)
    front.metrics.read += asked.read
    if asked.stream:
        return _streamed(front.desk, ticket, answer)
    try:
        found = await _unless_left(request, _all(front.desk, ticket))
    finally:
        front.desk.close(ticket)
    return Response(status_code=LEFT) if found is None else JSONResponse(answer.whole(found))


async def _all(desk: Desk, ticket: Ticket) -> list[Any]:
    return [event async for event in desk.hear(ticket)]


async def _unless_left(request: "Request", work: Awaitable[list[Any]]) -> list[Any] | None:
    """What comes of some work, or None if the client leaves before."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        leaving.cancel()


def _streamed(desk: Desk, ticket: Ticket, answer: Answer) -> "Response":
    """Server-sent events; whatever becomes of the client, the ticket is closed."""
    from fastapi.responses import StreamingResponse

    class Streamed(StreamingResponse):
        async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                desk.close(ticket)

    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    events = _events(desk, ticket, answer)
    return Streamed(events, media_type="text/event-stream", headers=headers)


async def _events(desk: Desk, ticket: Ticket, answer: Answer) -> AsyncIterator[str]:
    for piece in answer.first():
        yield _sent(piece)
    try:
        async for event in desk.hear(ticket):
            told = answer.piece(event)
            if told is not None:
                yield _sent(told)
    except ApiError as error:  # the status is sent already
        yield _sent(error.body())
        return
    for piece in answer.last():
        yield _sent(piece)
    yield "data: [DONE]\n\n"


def _sent(piece: dict[str, Any]) -> str:
    return f"data: {json.dumps(piece)}\n\n"


class Counted:
    """Counts requests by status, with their seconds.

    Args:
        app: what is counted.
        metrics: where.
    """

    def __init__(self, app: "ASGIApp", metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """One request; others than HTTP are passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, over, begun = 500, False, time.monotonic()

        async def sending(message: "Message") -> None:
            nonlocal status, over
            if message["type"] == "http.response.start":
                status = message["status"]
            over = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            told = LEFT if status == 200 and not over else status
            self.metrics.served(_path(scope), told, time.monotonic() - begun)


def _path(scope: "Scope") -> str:
    """The route of a request; one name for all paths that there are not, or they fill memory."""
    route = scope.get("route")
    return str(getattr(route, "path", "other"))
