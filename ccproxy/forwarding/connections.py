"""Kept-alive connections: which of them can be reused, and which requests were lost on closed ones."""

import select
import socket
import struct
import sys
from asyncio import BaseTransport
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

_ACKED = struct.Struct("=120xQ")  # tcpi_bytes_acked of Linux's struct tcp_info, since 4.1

_MAX_WAITING = 100  # answers to one request that arrived together, all but the last of them 1xx

Trace = Callable[[str, Any], Awaitable[None]]
"""httpcore's ``trace``: it receives events by name."""

_taken: ContextVar["_Connection | None"] = ContextVar("ccproxy.kept_connection", default=None)
_trace: ContextVar[Trace | None] = ContextVar("ccproxy.trace", default=None)


class KeptConnections(aiohttp.TCPConnector):
    """aiohttp's pool. A connection is reused only if nothing has arrived over it since its last answer.

    aiohttp notices that a provider has closed a connection only when the event loop processes the event. It takes data
    that follows an answer as the next answer.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(cast(type[ResponseHandler], _Connection), loop=self._loop)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp's)
    ) -> aiohttp.connector.Connection:
        _taken.set(None)
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert isinstance(protocol, _Connection)  # noqa: S101
            if not protocol.kept:
                protocol.kept = True
                return connection
            if protocol.take():
                _taken.set(protocol)
                return connection
            connection.close()

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp's)
    ) -> ResponseHandler:
        # aiohttp's own traces would also cost time for requests over kept connections.
        trace = _trace.get()
        if trace is not None:
            await trace("connection.connect_tcp.started", {})
        protocol = await super()._create_connection(req, traces, timeout)
        if trace is not None:
            await trace("connection.connect_tcp.complete", {})
        return protocol


def tell_of_connects(trace: Trace | None) -> None:
    """Notify this of each connection that is newly opened for this task's request."""
    _trace.set(trace)


def is_unread() -> bool:
    """Whether the provider can't have read the request that has just failed in this task.

    This is so only if the request used a kept connection that the other side closed before any byte of the request
    arrived: the close acknowledges none of its bytes. A provider that has read a request may be processing it, which
    costs
    money.
    """
    connection = _taken.get()
    return connection is not None and connection.lost_all


class _Connection(ResponseHandler):
    """One connection, which checks whether it was closed while its socket still exists."""

    kept = False  # it has already carried a request
    lost_all = False
    _acked_before: int | None = None  # bytes of earlier requests
    _poll: "select.poll | None" = None

    def take(self) -> bool:
        """Prepare for another request; False if the connection can't be reused."""
        if self.should_close or self._has_input():
            return False
        self._acked_before = _acked(self.transport)
        return True

    def feed_data(self, data: Any, size: int = 0) -> None:
        # aiohttp handles all informational answers that have arrived before other tasks run.
        if len(self) < _MAX_WAITING:
            super().feed_data(data, size)
        elif self.exception() is None:
            self.set_exception(HttpProcessingError(message="too many informational answers"))
            if self.transport is not None:
                self.transport.close()

    def _has_input(self) -> bool:
        """Whether there is something to read. Between two requests that is the end, or an answer without a request."""
        if self._poll is None:
            number = _number(self.transport)
            if number is None or not hasattr(select, "poll"):  # Windows
                return False
            self._poll = select.poll()
            self._poll.register(number, select.POLLIN)
        return bool(self._poll.poll(0))

    def eof_received(self) -> None:
        # A close acknowledges the data received before it; a reset does not.
        self._compare()
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        # A write fails with this error after a close. Under TLS it is reported when the socket no longer exists.
        if isinstance(exc, BrokenPipeError) and self._is_plain():
            self._compare()
        super().connection_lost(exc)

    def _is_plain(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is None

    def _compare(self) -> None:
        if self._acked_before is not None:
            self.lost_all = _acked(self.transport) == self._acked_before


def _acked(transport: BaseTransport | None) -> int | None:
    """How many bytes the other side's system has acknowledged; None if this system does not report it."""
    if sys.platform != "linux" or transport is None:
        return None
    sock = transport.get_extra_info("socket")
    if sock is None:
        return None
    try:
        (acked,) = _ACKED.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size))
    except (OSError, struct.error):  # closed, or a system that only resembles Linux
        return None
    return acked if acked > 1 else None  # the handshake counts as one byte, and a request was sent before


def _number(transport: BaseTransport | None) -> int | None:
    sock = None if transport is None else transport.get_extra_info("socket")
    number = -1 if sock is None else sock.fileno()
    return number if number >= 0 else None
