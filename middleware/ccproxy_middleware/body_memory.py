"""A limit on the memory that request bodies may take."""

from starlette.types import ASGIApp, Receive, Scope, Send

from .toolkit.body_memory import BodyMemory, BodyShare


class BodyMemoryMiddleware:
    """Limit the memory that the bodies of all requests in progress may take to ``limit`` bytes; 0 means no limit.

    A body counts if one of our layers reads it: its decompressed size, from its first byte until its request is over.
    It counts twice, because it is also sent on in another form. Its parsed form counts for as long as it is kept.
    Raises ValueError for a limit below 0.

    Reads: nothing.
    Writes: ``ccproxy.body_memory`` in the scope. Where there is no room, the layer that reads the body answers with a
    529 ``overloaded_error`` and ``retry-after``; where the body alone is over the limit, with a 413
    ``request_too_large``.
    Needs: a place outside the layers that read bodies, on the same event loop as these.
    Alone: does nothing. Each worker process has its own count.
    """

    def __init__(self, app: ASGIApp, *, limit: int = 0) -> None:
        if limit < 0:
            raise ValueError("limit must be at least 0")
        self.app = app
        self._memory = BodyMemory(limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._memory.limit:
            return await self.app(scope, receive, send)
        with BodyShare(self._memory) as share:
            await self.app({**scope, "ccproxy.body_memory": share}, receive, send)
