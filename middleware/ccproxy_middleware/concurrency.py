"""How many requests are served at once."""

from starlette.types import ASGIApp, Receive, Scope, Send

from ._asgi import route_path
from ._errors import ApiError, send_error


class ConcurrencyLimitMiddleware:
    """Answer 529 at once, with ``retry-after``, when ``limit`` requests are being served; 0 is no limit.

    A request waits for nothing: clients of the Messages API know how to come again. Raises ValueError for a limit
    below 0.

    Reads: ``POST`` requests only, since they are what costs; all others pass untouched.
    Writes: a refusal is a 529 ``overloaded_error`` in the dialect of the path.
    Needs: nothing. Inside AuthMiddleware, strangers take no place.
    Alone: works in front of any ASGI app; each worker process counts its own.
    """

    retry_after = 1  # seconds

    def __init__(self, app: ASGIApp, *, limit: int = 0) -> None:
        if limit < 0:
            raise ValueError("limit must be at least 0")
        self.app = app
        self._limit = limit
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._limit or scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        if self._running >= self._limit:
            message = f"{route_path(scope)}: this proxy is serving {self._limit} requests, the most it may"
            retry = [("retry-after", str(self.retry_after))]
            return await send_error(scope, send, ApiError(529, "overloaded_error", message, headers=retry))
        self._running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._running -= 1
