"""The operator's own headers, set on every request to the provider."""

import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from .toolkit.asgi import Headers, without_headers

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
FRAMING_HEADERS = ("content-length", "content-encoding", "transfer-encoding", "connection")
"""Headers that tell how the body is sent, which nobody can set."""


class CustomHeadersMiddleware:
    """Set headers on the request. They replace those of the same name from the client or from the proxy itself.

    Raises ValueError, from :func:`check_header`, for a header that can't be sent.

    Reads: nothing.
    Writes: the request's headers; ``ccproxy.custom_headers`` in the scope, where the forwarding endpoint finds them,
    since it forwards very few of the client's headers; ``ccproxy.client_headers``, the headers as the client sent them,
    for an inner AuthMiddleware.
    Needs: nothing.
    Alone: works in front of any ASGI app, which sees the headers as if the client had sent them. They are never sent to
    boost's planner.
    """

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            check_header(name, value)
        self.app = app
        self._headers: Headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in headers.items()]
        self._names = tuple(name for name, _ in self._headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._headers:
            return await self.app(scope, receive, send)
        outer: Headers = scope.get("ccproxy.custom_headers", [])
        inner_scope = {
            **scope,
            "headers": [*without_headers(scope["headers"], *self._names), *self._headers],
            "ccproxy.custom_headers": [*without_headers(outer, *self._names), *self._headers],
            "ccproxy.client_headers": scope.get("ccproxy.client_headers", scope["headers"]),
        }
        await self.app(inner_scope, receive, send)

    def __repr__(self) -> str:
        names = ", ".join(name.decode() for name in self._names)
        return f"{type(self).__name__}({names})"


def check_header(name: str, value: str) -> None:
    """Raise ValueError if a header can't be set. The message contains the header's name and never its value."""
    if not HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    if name.lower() in FRAMING_HEADERS:
        raise ValueError(f"{name} belongs to the connection and can't be set")
    if any(character in value for character in "\r\n\0"):
        raise ValueError(f"the value of {name} holds a line break or a NUL")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of {name} holds characters outside latin-1") from None
