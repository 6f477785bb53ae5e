"""The progress of one attempt at the provider."""

import asyncio
from typing import Any

from ccproxy_middleware.toolkit.record import Record

from .client import CONNECT_LIMIT

_CONNECTED = "connection.connect_tcp.complete"
_PROGRESS = frozenset((_CONNECTED, "http11.send_request_body.complete"))


class Attempt:
    """One attempt's progress, as the client's ``trace`` extension reports it."""

    def __init__(self, limit: float, record: Record | None) -> None:
        self.connecting = False
        self.connected = False
        self.unsent = False  # not even its headers have been sent
        self.deadline: asyncio.Timeout | None = None
        self._limit = limit
        self._record = record

    async def __call__(self, event: str, info: Any) -> None:
        if event == "connection.connect_tcp.started":
            self.connecting = True
        elif event == _CONNECTED:
            self.connected = True
            if self._record is not None:
                self._record.upstream_connections += 1
        elif event == "http11.send_request_headers.failed":
            self.unsent = True
        if event not in _PROGRESS or self.deadline is None or self.deadline.expired():
            return
        handshake = min(CONNECT_LIMIT, self._limit) if event == _CONNECTED else 0.0  # TLS has that limit itself
        due = asyncio.get_running_loop().time() + handshake + self._limit
        if abs(due - (self.deadline.when() or 0.0)) > self._limit / 100:  # a body may go out in many pieces at once
            self.deadline.reschedule(due)
