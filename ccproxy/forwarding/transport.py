"""An httpx transport that uses aiohttp for the network.

httpx's own transport takes twice the CPU per small request and five times per streamed chunk. It remains as the
alternative. Every failure is the same httpx exception with both.
"""

import asyncio
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Any

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractStreamWriter

from .connections import KeptConnections, Trace, is_unread, tell_of_connects
from .wording import connect_failure, payload_failure, system_failure

KEEPALIVE = 60.0  # seconds: longer than an agent's tool calls usually take, shorter than load balancers wait
MAX_HEADER = 64 * 1024
_PIECE = 256 * 1024  # bytes of a body sent at once
_READ = 32 * 1024  # bytes of an answer passed on at once: other tasks run before the next piece is converted

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OWN_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")  # aiohttp would add its own


class RequestNotRead(httpx.RemoteProtocolError):
    """A kept connection was closed before the other side had received anything of the request."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx requests over one aiohttp session, which is opened in the event loop of the first request.

    The request's ``timeout`` and ``trace`` extensions are honoured. ``trace`` receives each new connection and each
    sent
    piece of the body, under httpcore's names of these events.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose body is in memory; return as soon as the headers have arrived."""
        response, stream = await self.open(
            request.method,
            str(request.url),
            request.headers.multi_items(),
            request.content,
            request.extensions,
            request,
        )
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=stream,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (response.reason or "").encode()},
        )

    async def open(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        extensions: Mapping[str, Any],
        request: httpx.Request | None = None,
    ) -> tuple[aiohttp.ClientResponse, "AiohttpStream"]:
        """Send a request. Returns the answer as soon as its headers have arrived, and its body.

        ``extensions`` are httpx's. ``request`` is what the exceptions refer to. Raises httpx.RequestError; its subclass
        RequestNotRead means that the request can safely be sent again.
        """
        timeout = extensions.get("timeout", {})
        session = self._session
        if session is None:
            session = self._session = _open_session()
        trace = extensions.get("trace")
        tell_of_connects(trace)
        with _AsHttpx(request, sending=True):
            target = _target(url)
            proxy = _proxy_for(target.scheme, target.host or "", target.explicit_port)
            response = await session.request(
                method,
                target,
                headers=headers,
                data=_Body(body, trace) if body else None,
                allow_redirects=False,
                timeout=_client_timeout(timeout.get("connect"), timeout.get("read")),
                proxy=str(proxy.url) if proxy else None,
                proxy_headers=_proxy_headers(proxy),
                ssl=self._ssl_context if "https" in (target.scheme, proxy and proxy.url.scheme) else True,
            )
        return response, AiohttpStream(request, response)

    async def aclose(self) -> None:
        session = self._session
        if session is None:
            return
        if session.connector is not None:
            await session.connector.close(abort_ssl=True)  # a provider that is gone never completes the TLS shutdown
        await session.close()

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        """httpx's SSL context with its certificates. It is slow to make, so the first address that needs it makes
        it.
        """
        return httpx.create_ssl_context()


class _Body(aiohttp.Payload):
    """A request's body, sent in pieces. aiohttp would send bytes all at once, and copies what it reads from a
    BytesIO.
    """

    def __init__(self, body: bytes, trace: Trace | None) -> None:
        super().__init__(body)
        self._size = len(body)
        self._trace = trace

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        text: str = self._value.decode(encoding, errors)
        return text

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        rest = memoryview(self._value)[:content_length]
        while rest:
            await writer.write(rest[:_PIECE])
            rest = rest[_PIECE:]
            if self._trace is not None:
                await self._trace("http11.send_request_body.complete", {})
            if rest:
                await asyncio.sleep(0)


class AiohttpStream(httpx.AsyncByteStream):
    """A response's body, in the pieces that have arrived."""

    def __init__(self, request: httpx.Request | None, response: aiohttp.ClientResponse) -> None:
        self._request = request
        self._response = response
        protocol = response.connection.protocol if response.connection is not None else None
        self._lost = protocol.closed if protocol is not None else None  # a protocol can be falsy
        if self._lost is not None:
            self._lost.remove_done_callback(_retrieve)  # at most once per connection
            self._lost.add_done_callback(_retrieve)
            self._lost.add_done_callback(self._end)
        elif protocol is not None:  # already lost
            self._end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _AsHttpx(self._request):
            try:
                async for chunk in content.iter_any():
                    while len(chunk) > _READ:
                        yield chunk[:_READ]
                        chunk = chunk[_READ:]
                        await asyncio.sleep(0)
                    yield chunk
            except aiohttp.ClientError:
                if rest := content._read_nowait(-1):  # received in the same read as the failure, before it
                    yield rest
                raise

    def take_whole(self) -> bytes | None:
        """The complete body, if it has already arrived and is no larger than one piece."""
        content = self._response.content
        if not content.is_eof() or content.exception() is not None or content.total_bytes > _READ:
            return None
        return content.read_nowait()

    async def aclose(self) -> None:
        if self._lost is not None:
            self._lost.remove_done_callback(self._end)
        self._response.close()  # no effect on a connection whose response was read to its end

    def _end(self, lost: asyncio.Future[None] | None = None) -> None:
        """Wake the reader. After a chunk that aiohttp can't parse, it would otherwise wait forever."""
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the body can't be parsed"))


def _retrieve(lost: asyncio.Future[None]) -> None:
    """Retrieve the exception with which a connection ended, or asyncio logs it as never retrieved."""
    if not lost.cancelled():
        lost.exception()


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=KeptConnections(limit=0, keepalive_timeout=KEEPALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        skip_auto_headers=_OWN_HEADERS,
    )


@lru_cache(maxsize=64)
def _proxy_for(scheme: str, host: str, port: int | None) -> httpx.Proxy | None:
    """The proxy for this origin according to the environment. Raises ProxyError for one that is not HTTP."""
    proxies = urllib.request.getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or host in LOOPBACK or urllib.request.proxy_bypass(f"{host}:{port}" if port else host):
        return None
    proxy = httpx.Proxy(url if "://" in url else f"http://{url}")
    if proxy.url.scheme not in ("http", "https"):
        raise httpx.ProxyError(f"a {proxy.url.scheme} proxy is not supported")
    return proxy


def _proxy_headers(proxy: httpx.Proxy | None) -> dict[str, str] | None:
    """The proxy's credential; aiohttp renames it to ``proxy-authorization``."""
    if proxy is None or proxy.auth is None:
        return None
    return {"authorization": "Basic " + b64encode(":".join(proxy.auth).encode()).decode()}


@lru_cache(maxsize=64)
def _target(url: str) -> yarl.URL:
    """The URL unchanged. It is cached, since nearly all requests use the same few."""
    return yarl.URL(url, encoded=True)


@lru_cache(maxsize=64)
def _client_timeout(connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect, sock_read=read)


class _AsHttpx:
    """The map from aiohttp's exceptions to httpx's."""

    __slots__ = ("_request", "_sending")

    def __init__(self, request: httpx.Request | None, *, sending: bool = False) -> None:
        self._request = request
        self._sending = sending

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception) and (mapped := self._mapped(exc)) is not None:
            raise mapped from exc

    def _mapped(self, exc: Exception) -> httpx.RequestError | None:
        """In the order of the checks: some exceptions belong to several classes."""
        match exc:
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() if self._sending and is_unread():
                return RequestNotRead("the kept connection had been closed", request=self._request)
            case aiohttp.ConnectionTimeoutError():
                return httpx.ConnectTimeout("the connect took too long", request=self._request)
            case TimeoutError():  # aiohttp's SocketTimeoutError is one
                return httpx.ReadTimeout("nothing came in time", request=self._request)
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                return httpx.ProxyError("the proxy refuses or can't be reached", request=self._request)
            case aiohttp.ClientConnectorError():  # refused, DNS, TLS
                return httpx.ConnectError(connect_failure(exc), request=self._request)
            case aiohttp.ServerDisconnectedError():
                message = "the connection was closed before an answer came"
                return httpx.RemoteProtocolError(message, request=self._request)
            case aiohttp.ClientOSError():
                return httpx.ReadError(system_failure(exc), request=self._request)
            case aiohttp.ClientConnectionError():
                return httpx.ReadError(str(exc) or "the connection was lost", request=self._request)
            case aiohttp.ClientResponseError():  # its text would contain the URL and bytes of the answer
                return httpx.RemoteProtocolError(exc.message.partition("\n")[0].rstrip(":"), request=self._request)
            case aiohttp.ClientPayloadError():
                return httpx.RemoteProtocolError(payload_failure(exc), request=self._request)
            case aiohttp.InvalidURL():
                return httpx.UnsupportedProtocol("aiohttp can't use this URL", request=self._request)
        return None
