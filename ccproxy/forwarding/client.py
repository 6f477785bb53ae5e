"""The HTTP client for providers: httpx's client, with aiohttp or httpx itself as its transport."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal

import httpx

from ccproxy_middleware.toolkit.asgi import Headers, get_header

from .decoding import decoded
from .transport import KEEPALIVE, LOOPBACK, AiohttpStream, AiohttpTransport

CONNECT_LIMIT = 10.0

_parse = lru_cache(maxsize=64)(httpx.URL)  # nearly all requests use the same few URLs


def make_client(transport: Literal["aiohttp", "httpx"] = "aiohttp", *, timeout: float = 90.0) -> httpx.AsyncClient:
    """A client suited to an LLM proxy: unlimited connections, all kept alive, no redirects, no cookies.

    ``timeout`` is the limit in seconds between two reads. It also limits a connect, which gets at most ten seconds.
    ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` are honoured, except for loopback addresses. Nothing is opened
    before
    the first request. Close the client in the event loop that has used it.
    """
    timeouts = httpx.Timeout(timeout, connect=min(CONNECT_LIMIT, timeout), pool=None)
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    if transport == "aiohttp":
        return _Client(AiohttpTransport(), timeout=timeouts, cookies=cookies, trust_env=False)
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE),
        mounts={f"all://{host}" if ":" not in host else f"all://[{host}]": None for host in LOOPBACK},
        timeout=timeouts,
        cookies=cookies,
    )


class Answer:
    """A provider's answer whose headers have arrived.

    headers: as received, with names in lower case. is_stream: it is an event stream; only one event at a time is held
    in
    memory. chunks: the body as it arrives. decoded: its content-encoding has been removed, which happens only if nobody
    has requested that encoding. held: what the endpoint has read ahead. whole: ``held`` is the complete body. shielded:
    closing continues even if the closing task is cancelled.
    """

    __slots__ = ("_stream", "chunks", "decoded", "headers", "held", "is_stream", "shielded", "status", "whole")

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]], stream: httpx.AsyncByteStream) -> None:
        self.status = status
        self.headers = [(name.lower(), value) for name, value in headers]
        self.is_stream = (get_header(self.headers, b"content-type") or "").lower().startswith("text/event-stream")
        body = aiter(stream)
        plain = decoded(self.headers, body)
        self.decoded = plain is not None
        self.chunks = plain or body
        self.held = b""
        self.whole = False
        self.shielded = False
        self._stream = stream

    def take_whole(self) -> bytes | None:
        """The complete body, if it has already arrived and nothing has been read of it; None if one would have to
        wait.
        """
        if self.held or self.decoded or not isinstance(self._stream, AiohttpStream):
            return None
        return self._stream.take_whole()

    async def aclose(self) -> None:
        """Return the connection to the pool, or close it if the body was not read to its end."""
        if self.shielded:  # httpcore leaks connections whose close is cancelled, as by a disconnect
            await asyncio.shield(self._close())
        else:
            await self._close()

    async def _close(self) -> None:
        if isinstance(self.chunks, AsyncGenerator):
            await self.chunks.aclose()
        await self._stream.aclose()


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Headers,
    body: bytes,
    extensions: dict[str, Any],
) -> Answer:
    """Send a request with this client and return as soon as the answer's headers have arrived.

    ``extensions`` are those of httpx. Raises httpx.RequestError.
    """
    if isinstance(client, _Client):
        return await client.ask(method, url, headers, body, extensions)
    request = httpx.Request(method, _parse(url), headers=headers, content=body, extensions=extensions)
    response = await client.send(request, stream=True, follow_redirects=False)
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError(f"{type(client).__name__} answers with a stream that is not async")
    answer = Answer(response.status_code, response.headers.raw, response.stream)
    answer.shielded = True
    return answer


class _Client(httpx.AsyncClient):
    """httpx's client over aiohttp, with a shortcut for :func:`ask` that bypasses httpx.

    httpx's own processing serves features that are off here: authentication, redirects, cookies and hooks. It takes a
    fifth of a small request's time.
    """

    def __init__(self, transport: AiohttpTransport, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self._aiohttp = transport

    async def ask(self, method: str, url: str, headers: Headers, body: bytes, extensions: dict[str, Any]) -> Answer:
        if self.is_closed:
            raise RuntimeError("the client has been closed")
        texts = [(name.decode("ascii"), _text(value)) for name, value in headers]
        response, stream = await self._aiohttp.open(method, url, texts, body, extensions)
        return Answer(response.status, response.raw_headers, stream)


def _text(value: bytes) -> str:
    """A header's value as text, which aiohttp encodes as UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
