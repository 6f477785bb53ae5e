"""Layers that are not ours, to be put between ours."""

from collections.abc import Callable

from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint  # noqa: TID251 - others use it
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integration.need import need

LIMIT = 20_000  # bytes of a request's body
ORIGIN = "https://example.org"


class PassThrough:
    """Wraps ``receive`` and ``send`` and changes nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_on() -> Message:
            return await receive()

        async def send_on(message: Message) -> None:
            await send(message)

        await self.app(dict(scope), receive_on, send_on)


class Redact:
    """Rewrites the request's body, whichever API it belongs to."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        body = body.replace(b"secret", b"[redacted]")
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        given = False

        async def edited() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app({**scope, "headers": headers}, edited, send)


class ByBase(BaseHTTPMiddleware):
    """What most frameworks' users write."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def correlation_id() -> Middleware:
    """asgi-correlation-id, which gives every exchange an id of its own."""
    return Middleware(need("asgi_correlation_id").CorrelationIdMiddleware)


FOREIGN: dict[str, Callable[[], Middleware]] = {
    "pass-through": lambda: Middleware(PassThrough),
    "gzip": lambda: Middleware(GZipMiddleware, minimum_size=1),
    "gzip-streams-too": lambda: Middleware(GZipMiddleware, minimum_size=1, exclude_content_types=()),
    "trusted-host": lambda: Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"]),
    "body-limit": lambda: Middleware(RequestBodyLimitMiddleware, max_body_size=LIMIT),
    "cors": lambda: Middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_methods=["*"], allow_headers=["*"]),
    "base-http": lambda: Middleware(ByBase),
    "correlation-id": correlation_id,
}
