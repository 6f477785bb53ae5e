"""Shutdown: answers in progress get a grace period, then an error that makes the client try elsewhere."""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy_middleware.toolkit.asgi import get_header
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted, error_event, send_error

if TYPE_CHECKING:
    import uvicorn

LAST_WORDS_SECONDS = 5
"""How long the server should wait beyond the grace period, for the errors to reach the clients."""

LINGER_SECONDS = 0.3
"""How long a newly connected client has for its request: uvicorn disconnects clients that have sent nothing yet."""


def uvicorn_server() -> "uvicorn.Server | None":
    """The server that controls this process and its signals, if it is uvicorn. Call this in its event loop."""
    if threading.current_thread() is not threading.main_thread():
        return None
    import uvicorn  # imported here, since a host may serve the app with another server, and the import is slow

    server: object = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None


class Shutdown:
    """Ends the answers that are still in progress ``grace`` seconds after :meth:`begin`.

    A host that knows when it ends calls ``begin``. Under uvicorn, :meth:`on_signals` arranges that.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._timer: asyncio.TimerHandle | None = None
        self._told = False
        self._over = False
        self._running: set[asyncio.Timeout] = set()
        self._endless: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """Start the grace period. Call this in the event loop. Further calls change nothing."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._grace, self._end)
            self.end_endless()

    def add(self, limit: asyncio.Timeout) -> None:
        """Register an answer's timeout, already entered, to expire when the grace period is over."""
        self._running.add(limit)
        if self._over:
            _expire(limit)

    def discard(self, limit: asyncio.Timeout) -> None:
        """Unregister an answer that has ended."""
        self._running.discard(limit)
        self._endless.discard(limit)

    def does_not_end(self, limit: asyncio.Timeout) -> None:
        """Mark an answer that would use up every grace period, such as the event stream of an open page."""
        self._endless.add(limit)
        if self._timer is not None:
            _expire(limit)

    def end_endless(self) -> None:
        """End the answers that never end by themselves, so that their clients reconnect to the new app."""
        for limit in tuple(self._endless):
            _expire(limit)

    def set_grace(self, grace: float) -> None:
        """Change the grace period, in seconds, unless the shutdown has begun."""
        self._grace = grace

    def on_signals(self) -> None:
        """Begin at SIGTERM or SIGINT, if uvicorn controls this process and its signals; otherwise change nothing.

        After an orderly shutdown, uvicorn raises the signal again and dies of it. Stopped by ``should_exit`` it returns
        instead, and the exit code is 0. A second SIGINT still ends it at once.
        """
        server = uvicorn_server()
        if server is None:
            return
        handler = self._handler(server, asyncio.get_running_loop())
        for number in (signal.SIGTERM, signal.SIGINT):
            if getattr(signal.getsignal(number), "__self__", None) is server:
                signal.signal(number, handler)

    def _handler(self, server: "uvicorn.Server", loop: asyncio.AbstractEventLoop) -> Callable[..., None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if self._told and number == signal.SIGINT:
                server.should_exit = server.force_exit = True
            self._told = True
            loop.call_soon_threadsafe(stop)

        def stop() -> None:
            self.begin()
            for listener in getattr(server, "servers", ()):
                listener.close()
            loop.call_later(LINGER_SECONDS, exit_)

        def exit_() -> None:
            server.should_exit = True

        return handle

    def _end(self) -> None:
        self._over = True
        for limit in tuple(self._running):
            _expire(limit)


def _expire(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(0)


class ShutdownMiddleware:
    """End every answer in a way that the client understands if the process ends first.

    If nothing is sent yet, the answer is a 529, which clients take for "try again". An event stream gets an ``error``
    event and no regular end. This middleware is outside all layers, so it interrupts whatever they wait for.
    """

    def __init__(self, app: ASGIApp, *, shutdown: Shutdown) -> None:
        self.app = app
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = is_stream = complete = cut = False

        async def send_watched(message: Message) -> None:
            nonlocal started, is_stream, complete, cut
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": list(message.get("headers", ()))}
                is_stream = (get_header(message["headers"], b"content-type") or "").startswith("text/event-stream")
                if is_stream and scope["method"] == "GET":
                    self._shutdown.does_not_end(limit)
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
                if message.get("body"):
                    cut = not message["body"].endswith(b"\n\n")
            await send(message)

        limit = asyncio.Timeout(None)
        try:
            async with limit:
                self._shutdown.add(limit)
                await self.app(scope, receive, send_watched)
            return
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            self._shutdown.discard(limit)
        if complete:
            return
        retry = [("retry-after", "1")]
        error = ApiError(529, "overloaded_error", "this proxy is shutting down; please try again", headers=retry)
        with anyio.move_on_after(LAST_WORDS_SECONDS - 1):  # a client that does not read receives nothing
            if not started:
                return await send_error(scope, send, error)
            if is_stream:
                event = error_event(scope, error, cut=cut)
                await send({"type": "http.response.body", "body": event, "more_body": True})
        raise StreamAborted(error.message, error)
