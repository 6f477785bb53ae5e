"""How much memory the bodies of requests may take."""

from starlette.types import ASGIApp, Receive, Scope, Send

from .toolkit.body_memory import BodyMemory, BodyShare


class BodyMemoryMiddleware:
    """Have the layers inside refuse bodies while those of all requests under way take ``limit`` bytes; 0 is no limit.

    Counted is a body that a layer of ours reads, decompressed, from its first byte until its request is over: twice, as
    it is sent on in another form; and what it takes parsed for as long as it is kept so. Raises ValueError for a limit
    below 0.

    Reads: nothing.
    Writes: ``ccproxy.body_memory`` in the scope. The layer that reads a body answers with a 529 ``overloaded_error``
    and ``retry-after`` when there is no room, with a 413 ``request_too_large`` if the body is over the limit alone.
    Needs: to stand outside of the layers that read bodies, and these on the same event loop.
    Alone: does nothing; each worker process counts its own.
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
