"""The proxy with instruments around it, for the soak only: ``uvicorn bench.instrumented:app``.

A second port, ``REPORT_PORT``, answers each request with a JSON object: how many tasks and file descriptors there
are, how much memory after a collection, and how late the event loop has been since the last report.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from asgi import app as proxy

from .measure import quantile

_PERIOD = 0.01  # seconds between two looks at the event loop's clock


class LagSampler:
    """Note how much later than asked for the event loop calls back."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lags = [0.0]
        self._arm()

    def take(self) -> list[float]:
        """The lags since the last time, in seconds."""
        lags, self._lags = self._lags, [0.0]
        return lags

    def stop(self) -> None:
        self._timer.cancel()

    def _arm(self) -> None:
        self._due = self._loop.time() + _PERIOD
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._lags.append(self._loop.time() - self._due)
        self._arm()


def memory() -> float:
    """Resident MB, without garbage and without what the allocator only keeps for later."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@asynccontextmanager
async def reporting(port: int) -> AsyncIterator[None]:
    """Answer on this port while the block lasts."""
    sampler = LagSampler()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lags = sampler.take()
        report = {
            "tasks": len(asyncio.all_tasks()),
            "files": len(os.listdir("/proc/self/fd")),
            "memory": memory(),
            "lag_p99": quantile(lags, 0.99),
            "lag_max": max(lags),
        }
        sampler.take()  # the collection has held everything up
        body = json.dumps(report).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        yield
    sampler.stop()


class Instrumented:
    """An ASGI app whose lifespan has a report beside it."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await self.app(scope, receive, send)
        async with reporting(self._port):
            await self.app(scope, receive, send)


app = Instrumented(proxy, int(os.environ["REPORT_PORT"]))
