"""New settings for a running server of one process: SIGHUP replaces the stack of layers with a new one.

Answers in progress finish in the old stack. Its connections to providers are closed after that.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..logs import configure_logging
from ..settings import ConfigurationError
from .running import limit_clients, local_url, server_grace, warn_at_start
from .shutdown import Shutdown, uvicorn_server

if TYPE_CHECKING:
    import uvicorn

    from ..settings import Settings

logger = logging.getLogger("ccproxy")

_KEPT = "The new configuration can't be used; the proxy keeps the old one."


class RenewableApp:
    """An app that is replaced whenever the process gets SIGHUP, on systems that have this signal.

    A new app serves only once it has started. If it can't start, the log gives the reason and nothing changes. The
    listening address stays the same. If SIGHUP comes because the process's terminal has closed, the process ends as
    with
    SIGTERM.

    ``load`` reads the settings again, or raises ConfigurationError. ``make`` makes the app from them. All these apps
    share
    ``shutdown``.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: "Settings",
        *,
        load: Callable[[], "Settings"],
        make: Callable[["Settings"], ASGIApp],
        shutdown: Shutdown,
    ) -> None:
        self._now = _Generation(app)
        self._old: set[asyncio.Task[None]] = set()
        self._address = (settings.host, settings.port)
        self._load = load
        self._make_app = make
        self._shutdown = shutdown
        self._server: uvicorn.Server | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._wanted = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        await self._now(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._server = uvicorn_server()  # before the app installs its signal handlers
        try:
            await self._now.start()
        except Exception as error:
            return await send({"type": "lifespan.startup.failed", "message": str(error)})
        self._on_hangup(_has_terminal())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        for task in self._old:
            task.cancel()
        await asyncio.gather(self._now.stop(), *self._old, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})

    def _on_hangup(self, had_terminal: bool) -> None:
        if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup sets it
            return

        def hang_up() -> None:
            if had_terminal and not _has_terminal():
                signal.raise_signal(signal.SIGTERM)
            else:
                self._renew_soon()

        with suppress(NotImplementedError, RuntimeError, ValueError):  # another event loop, or not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)

    def _renew_soon(self) -> None:
        """Apply the current settings. If SIGHUP comes in the meantime, do it once more."""
        self._wanted = True
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                settings, app = await asyncio.to_thread(self._make)
                generation = _Generation(app)
                await generation.start()
            except ConfigurationError as error:
                logger.error("%s\n%s", _KEPT, error)
            except (Exception, SystemExit) as error:
                logger.error("%s\nThe app can't start: %s", _KEPT, error or repr(error))
            else:
                self._replace(settings, generation)

    def _make(self) -> tuple["Settings", ASGIApp]:
        settings = self._load()
        return settings, self._make_app(settings)

    def _replace(self, settings: "Settings", generation: "_Generation") -> None:
        old, self._now = self._now, generation
        task = asyncio.create_task(_end(old))
        self._old.add(task)
        task.add_done_callback(self._old.discard)
        self._shutdown.end_endless()
        self._shutdown.set_grace(settings.shutdown_timeout)
        configure_logging(settings.log_level, settings.log_format)
        if self._server is not None:
            self._server.config.timeout_graceful_shutdown = server_grace(settings)
            limit_clients(self._server, settings)
        host, port = self._address
        warn_at_start(settings, host)
        if (settings.host, settings.port) != self._address:
            logger.warning(
                "A new HOST or PORT takes effect at the next start; until then it listens on %s.", local_url(host, port)
            )
        logger.info("The new configuration is in use.")


class _Generation:
    """One app from the start of its lifespan to the end, and the requests in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._over = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running += 1
        self._empty.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
            if not self._running:
                self._empty.set()

    async def start(self) -> None:
        """Start the app. Raises the exception that prevents the start."""
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(started))
        await started

    async def empty(self) -> None:
        """Wait until the app has no more requests."""
        await self._empty.wait()

    async def stop(self) -> None:
        """Let the app close its resources."""
        self._over.set()
        if self._life is not None:
            await self._life

    async def _live(self, started: asyncio.Future[None]) -> None:
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await self._over.wait()
                return {"type": "lifespan.shutdown"}
            asked = True
            return {"type": "lifespan.startup"}

        async def send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and not started.done():
                started.set_result(None)
            elif message["type"] == "lifespan.startup.failed" and not started.done():
                started.set_exception(RuntimeError(message.get("message") or "its lifespan has failed"))

        try:
            await self._app({"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}, receive, send)
        except Exception as error:
            if started.done():  # the reason has been logged
                return
            started.set_exception(error)


async def _end(generation: _Generation) -> None:
    """Wait for the last answer of a replaced app and release the app; when the process ends, don't wait."""
    try:
        await generation.empty()
    finally:
        await generation.stop()
    del generation
    gc.unfreeze()  # it was hidden from the garbage collector at the start
    gc.collect()
    gc.freeze()


def _has_terminal() -> bool:
    """Whether the process has a terminal that can send it SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except (OSError, AttributeError):
        return False
    return True
