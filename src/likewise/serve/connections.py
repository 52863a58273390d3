"""Connections: how many there are, by what name they ask, and how long each may keep waiting."""

import asyncio
import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 30  # seconds in which headers must have come, and then the body
STALL = 10  # seconds in which a client must read what it was sent
MOST = 512  # connections, if so many files may be open
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
LOG = logging.getLogger("likewise.serve")


def files() -> int:
    """How many files and sockets this process may have open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 8 * MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 8 * MOST if soft == resource.RLIM_INFINITY else soft


def shares(least: int) -> tuple[int, int]:
    """How many connections there may be, and how many may wait to be taken up.

    They leave three eighths of the files to the rest of the process: where none is left, no
    connection can be taken up and none is ever refused.

    Args:
        least: connections that are of use, if so many files may be open.
    """
    many = files()
    return max(1, min(max(MOST, least), many // 2)), max(1, min(128, many // 8))


def is_local(host: str) -> bool:
    """Whether a name or an address, perhaps with a port, is this machine's own for itself.

    Example:
        >>> [is_local(one) for one in ("localhost", "127.0.0.1:80", "[::1]:80", "::1")]
        [True, True, True, True]
        >>> is_local("localhost.example.org"), is_local("192.168.0.1:80"), is_local("")
        (False, False, False)
    """
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host if host.count(":") > 1 else host.partition(":")[0]
    try:
        return name.lower() == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def protocol(most: int) -> "type[H11Protocol]":
    """A protocol of uvicorn that refuses connections beyond the most, and waits for none long."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        _late: asyncio.TimerHandle | None = None  # where a request must come
        _stalled: asyncio.TimerHandle | None = None  # where what was sent must be read

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=0)  # to hear of each byte that is not read
            if len(self.connections) > most:
                transport.write(BUSY)
                transport.close()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._late, self._stalled):
                if timer is not None:
                    timer.cancel()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(STALL, self._leave)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stalled is not None:
                self._stalled.cancel()

        def _wait(self) -> None:
            """Wait for a request, but only so long; for its body the route waits."""
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self._late is None:
                self._late = self.loop.call_later(PATIENCE, self.timeout_keep_alive_handler)
            elif not idle and self._late is not None:
                self._late.cancel()
                self._late = None

        def _leave(self) -> None:
            LOG.warning("a client did not read its answer for %d seconds; it is left", STALL)
            self.transport.abort()

    return Patient
