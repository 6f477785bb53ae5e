"""The HTTP client towards the provider: httpx's, with aiohttp or httpx itself doing the network work."""

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

_parse = lru_cache(maxsize=64)(httpx.URL)  # nearly all requests have the same few URLs


def make_client(transport: Literal["aiohttp", "httpx"] = "aiohttp", *, timeout: float = 90.0) -> httpx.AsyncClient:
    """A client fit for an LLM proxy: no cap on connections, all kept alive, no redirects, no cookies.

    ``timeout`` is the limit in seconds between two reads, and for a connect where it is less than ten.
    ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` are honoured, but never for loopback. Nothing is opened
    before the first request; close the client in the event loop that has used it.
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
    """A provider's answer whose headers are there.

    headers: as they came, names in lower case. is_stream: it is a stream of events, of which nobody holds more than
    one. chunks: its body as it comes, out of its content-encoding if ``decoded``, which is only so for what nobody has
    asked for. held: what the endpoint has read of it ahead. whole: that is all of it. shielded: its close goes on when
    the closing task is cancelled.
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
        """All of the body, if it has come by now, and nobody has read any of it; None where one has to wait."""
        if self.held or self.decoded or not isinstance(self._stream, AiohttpStream):
            return None
        return self._stream.take_whole()

    async def aclose(self) -> None:
        """Give the connection back, or break it off if the body was not read to its end."""
        if self.shielded:  # httpcore forgets connections whose close is cancelled, as when the client leaves
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
    """Send a request by this client and return as soon as the answer's headers are there.

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
    """httpx's client over aiohttp, for which :func:`ask` has a way past httpx.

    What httpx does around a request serves what is off here, authentication, redirects, cookies and hooks, and takes
    a fifth of a small request's time.
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
    """A header's value, which aiohttp writes as UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
