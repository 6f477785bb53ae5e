"""``Forward`` on a real socket, over the transport of a test's choice."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from ccproxy.forwarding.client import make_client
from ccproxy.forwarding.forward import Forward
from ccproxy_middleware.toolkit.asgi import Headers
from ccproxy_middleware.toolkit.errors import StreamAborted

from .servers import serve

TransportName = Literal["aiohttp", "httpx"]
TRANSPORTS: tuple[TransportName, ...] = ("aiohttp", "httpx")
COMPLETION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
STREAMED = {**COMPLETION, "stream": True}


class Forwarding:
    """A running Forward. ``aborted``: the StreamAborted that came out of it; ``errors``: the server's log."""

    def __init__(self, forward: Forward, custom_headers: Headers) -> None:
        self.url = ""
        self.aborted: list[StreamAborted] = []
        self.errors: list[str] = []
        self.finished = 0
        self._forward = forward
        self._custom_headers = custom_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._forward({**scope, "ccproxy.custom_headers": self._custom_headers}, receive, send)
        except StreamAborted as exc:
            self.aborted.append(exc)
        finally:
            self.finished += 1


@contextmanager
def forwarding(
    base_url: str, transport: TransportName, *, custom_headers: Headers | None = None, **options: Any
) -> Iterator[Forwarding]:
    """Serve ``Forward(base_url, **options)`` with a client of this transport."""
    client = make_client(transport)
    endpoint = Forwarding(Forward(base_url, client=client, **options), custom_headers or [])

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    with serve(Starlette(routes=[Mount("/", app=endpoint)], lifespan=lifespan), lifespan="on") as server:
        endpoint.url = server.url
        endpoint.errors = server.errors
        yield endpoint
