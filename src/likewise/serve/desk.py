"""Requests in flight, and the one thread that owns the model.

The engine is touched by its thread alone, which takes orders out of a queue. All else here happens
in the thread of the event loop, so nothing needs a lock.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from likewise.serve.errors import ApiError
from likewise.serve.metrics import Metrics
from likewise.tasks.engine import Engine
from likewise.tasks.rows import Event, Request

Order: TypeAlias = Callable[[], None]
RETRY = 1  # seconds after which a client may ask again
LOG = logging.getLogger("likewise.serve")


@dataclass(eq=False)
class Ticket:
    """The requests of one client that are served together.

    Attributes:
        left: those that are not over.
        heard: what was made of them, and None where the engine failed.
    """

    left: set[Request]
    heard: "asyncio.Queue[Event | None]" = field(default_factory=asyncio.Queue)


class Desk:
    """Takes requests in, and hands out what the engine makes of them.

    Args:
        engine: nobody else touches it while the desk is open.
        waiting: requests that may wait for a slot, at most.
        metrics: tokens are counted there.

    Attributes:
        draining: whether no new requests are taken.
    """

    def __init__(self, engine: Engine, waiting: int, metrics: Metrics) -> None:
        self.engine, self.metrics = engine, metrics
        self.most = engine.slots + waiting
        self.draining = False
        self._open: dict[Request, Ticket] = {}
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    @property
    def open(self) -> int:
        """How many requests are not over."""
        return len(self._open)

    def start(self) -> None:
        """Start the engine's thread; events come to the loop that is running."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the engine's thread; what is in flight is lost."""
        self._orders.put(None)
        await asyncio.to_thread(self._thread.join)

    def take(self, requests: Sequence[Request]) -> Ticket:
        """Take requests in, all or none.

        Raises:
            ApiError: 503 while draining, 429 where the queue is full.
        """
        self.refuse_late()
        if self.open + len(requests) > self.most:
            retry = {"Retry-After": str(RETRY)}
            message = f"The queue is full: {self.open} texts are being made or wait. Ask again."
            raise ApiError(429, message, code="queue_full", headers=retry)
        ticket = Ticket(set(requests))
        for request in requests:
            self._open[request] = ticket
            self._orders.put(partial(self.engine.submit, request))
        return ticket

    def refuse_late(self) -> None:
        """Raise ApiError while draining."""
        if self.draining:
            message = "The server is about to end and takes no new requests."
            raise ApiError(503, message, headers={"Retry-After": str(RETRY)})

    def close(self, ticket: Ticket) -> None:
        """Cancel what is left of a ticket."""
        for request in ticket.left:
            self._open.pop(request, None)
            self._orders.put(partial(self.engine.cancel, request))
        ticket.left.clear()

    async def hear(self, ticket: Ticket) -> AsyncIterator[Event]:
        """The events of a ticket, to the last; ApiError if the engine failed."""
        while ticket.left or not ticket.heard.empty():
            event = await ticket.heard.get()
            if event is None:
                raise ApiError(500, "The model failed on this batch; the server's log says why.")
            yield event

    # -- in the engine's thread ---------------------------------------------------------------

    def _work(self) -> None:
        while True:
            try:
                if not self._obey():
                    return
                telling = partial(self._deal, self.engine.advance())
            except Exception:  # of a network, or of a machine: the server lives on
                LOG.exception("the engine failed; its requests are given up")
                self.engine.clear()
                telling = partial(self._fail)
            try:
                self._loop.call_soon_threadsafe(telling)
            except RuntimeError:  # the loop was ended in the middle: nobody listens
                return

    def _obey(self) -> bool:
        """Do what was ordered, and wait for it while there is nothing to make; False: the end."""
        while True:
            try:
                order = self._orders.get(block=not self.engine.busy)
            except queue.Empty:
                return True
            if order is None:
                return False
            order()

    # -- in the loop's thread -----------------------------------------------------------------

    def _deal(self, events: list[Event]) -> None:
        self.metrics.made += len(events)
        for event in events:
            ticket = self._open.get(event.request)
            if ticket is None:  # its client has left
                continue
            if event.finish is not None:
                del self._open[event.request]
                ticket.left.discard(event.request)
            ticket.heard.put_nowait(event)

    def _fail(self) -> None:
        for ticket in set(self._open.values()):
            self.close(ticket)  # also of what was ordered in the meantime
            ticket.heard.put_nowait(None)
