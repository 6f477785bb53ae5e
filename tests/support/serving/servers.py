"""Real servers for tests: uvicorn on a free loopback port, in a thread with its own event loop."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

START_LIMIT = 10.0
STOP_LIMIT = 10.0


def loopback_socket(host: str = "127.0.0.1") -> socket.socket:
    """A bound TCP socket on a free port. With ``proto=0`` asyncio would leave TCP_NODELAY off."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, 0))
    return sock


def abort(transport: asyncio.WriteTransport) -> None:
    """Break a connection off, if it is still there.

    CPython 3.11 doesn't see that a transport is closed if its close waited for its buffer: abort() then raises.
    """
    with contextlib.suppress(AttributeError):
        transport.abort()


class Server:
    """A running server. ``url`` has no slash at its end; ``errors`` is what it logged as such."""

    def __init__(self, url: str, errors: list[str]) -> None:
        self.url = url
        self.errors = errors


class _Uvicorn(uvicorn.Server):
    """Stops when it is told to, and as soon as it can: uvicorn itself looks only ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._stopped = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.on_tick(0)
        await self._stopped.wait()

    def stop(self) -> None:
        """Called from another thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stopped.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, but without its pause of a tenth of a second where nothing is left to wait for."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(20):
            if not self.server_state.connections and not self.server_state.tasks:
                await self.lifespan.shutdown()
                return
            await asyncio.sleep(0.005)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.up.set()


class _ErrorsOfThread(logging.Handler):
    """Keeps the errors that one thread logs: several servers share uvicorn's logger."""

    def __init__(self, thread: threading.Thread, errors: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(message)s"))
        self._thread = thread
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread.ident:
            self._errors.append(self.format(record))


@contextmanager
def serve(
    app: ASGIApp,
    *,
    lifespan: Literal["auto", "on", "off"] = "auto",
    http: type[asyncio.Protocol] | Literal["httptools"] = "httptools",
) -> Iterator[Server]:
    """Run an ASGI app under uvicorn (uvloop, httptools) while the block lasts.

    Requests that still run at the end are cancelled after a second.
    """
    config = uvicorn.Config(
        app,
        http=http,
        loop="auto",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Uvicorn(config)
    sock = loopback_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="uvicorn", daemon=True)
    errors: list[str] = []
    handler = _ErrorsOfThread(thread, errors)
    loggers = [logging.getLogger("uvicorn.error"), logging.getLogger("asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        thread.start()
        if not server.up.wait(START_LIMIT) or not server.started:
            raise RuntimeError(f"the server did not start: {errors}")
        yield Server(f"http://127.0.0.1:{sock.getsockname()[1]}", errors)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        server.stop()
        thread.join(STOP_LIMIT)
        sock.close()
        if thread.is_alive():
            raise RuntimeError("the server did not stop")


async def eventually(condition: Callable[[], object], *, limit: float = 5.0) -> None:
    """Wait until the condition holds, e.g. for something that another thread's server has yet to see."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("what the test waits for did not happen")
        await asyncio.sleep(0.005)
