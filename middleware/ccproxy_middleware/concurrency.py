"""How many requests are served at once."""

from starlette.types import ASGIApp, Receive, Scope, Send

from .toolkit.asgi import route_path
from .toolkit.errors import ApiError, read_request, send_error


class ConcurrencyLimitMiddleware:
    """Answer 529 at once, with ``retry-after``, when ``limit`` requests are being served; 0 is no limit.

    A request takes its place once it is whole, so that a slow upload keeps nobody out. It waits for nothing: clients of
    the Messages API know how to come again. Raises ValueError for a limit below 0.

    Reads: the body of ``POST`` requests only, since they are what costs; all others pass untouched. A body that is too
    large or can't be decoded is refused.
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
            return await self._refuse(scope, send)
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        if self._running >= self._limit:  # others were whole before
            return await self._refuse(scope, send)
        self._running += 1
        try:
            await self.app(scope, body, send)
        finally:
            self._running -= 1

    async def _refuse(self, scope: Scope, send: Send) -> None:
        message = f"{route_path(scope)}: this proxy is serving {self._limit} requests, which is its limit"
        retry = [("retry-after", str(self.retry_after))]
        await send_error(scope, send, ApiError(529, "overloaded_error", message, headers=retry))
