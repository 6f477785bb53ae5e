"""A limit on the number of concurrent requests."""

from starlette.types import ASGIApp, Receive, Scope, Send

from .toolkit.asgi import route_path
from .toolkit.errors import ApiError, read_request, send_error


class ConcurrencyLimitMiddleware:
    """Answer with a 529 at once, with ``retry-after``, while ``limit`` requests are in progress; 0 means no limit.

    A request counts once its body is complete, so a slow upload takes no place. Requests are not queued: clients of the
    Messages API retry. Raises ValueError for a limit below 0.

    Reads: the body of ``POST`` requests only, since these are the expensive ones; all others pass untouched. A body
    that is too large or can't be decoded is refused.
    Writes: a refusal is a 529 ``overloaded_error`` in the dialect of the path.
    Needs: nothing. Inside AuthMiddleware, requests without a valid key take no place.
    Alone: works in front of any ASGI app. Each worker process has its own limit.
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
        if self._running >= self._limit:  # others became complete before this one
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
