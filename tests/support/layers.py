"""Every layer by its name, and inner apps that hold requests until the test lets them go."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
    SafeguardsMiddleware,
)
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import Inner

COMPLETION = b'{"model":"real","choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}]}'
LAYERS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "auth": lambda app: AuthMiddleware(app, api_keys=["k"]),
    "headers": lambda app: CustomHeadersMiddleware(app, headers={"X-Team": "a"}),
    "models": lambda app: ModelMappingMiddleware(app, big="B", small="S"),
    "safeguards": lambda app: SafeguardsMiddleware(app, model="J"),
    "boost": lambda app: BoostMiddleware(app, planner=Inner(), model="P"),
    "conversion": FormatConversionMiddleware,
}


async def complete(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": COMPLETION})


class Held:
    """A provider that answers when the test lets it, or fails as the test wants."""

    def __init__(self, end: BaseException | None = None) -> None:
        self._end = end
        self.running = 0
        self.go = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.running += 1
        await self.go.wait()
        if self._end is not None:
            raise self._end
        await complete(send)


@asynccontextmanager
async def full(inner: Held, count: int, ask: Callable[[], Awaitable[Any]]) -> AsyncIterator[None]:
    """Have ``count`` requests under way, each made by ``ask``, which end when the block does."""

    async def one() -> None:
        with suppress(RuntimeError, StreamAborted):
            await ask()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(one)
            while inner.running < count:
                await anyio.lowlevel.checkpoint()
            yield
            inner.go.set()
