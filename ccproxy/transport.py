"""The HTTP client towards the provider: httpx's face, with aiohttp doing the network work.

httpx's own transport costs twice the CPU per small request and five times per streamed chunk. It stays as the
alternative; every failure is the same httpx exception with both.
"""

import asyncio
import io
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import SimpleNamespace
from typing import Any, Literal

import aiohttp
import httpx
import yarl

CONNECT_LIMIT = 10.0
KEEPALIVE = 60.0  # seconds: longer than an agent's tool calls usually take, shorter than load balancers wait
MAX_HEADER = 64 * 1024

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OWN_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")  # aiohttp would add its own


def make_client(transport: Literal["aiohttp", "httpx"] = "aiohttp", *, timeout: float = 90.0) -> httpx.AsyncClient:
    """A client fit for an LLM proxy: no cap on connections, all kept alive, no redirects, no cookies.

    ``timeout`` is the limit in seconds between two reads, and for a connect where it is less than ten.
    ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` are honoured, but never for loopback. Nothing is opened
    before the first request; close the client in the event loop that has used it.
    """
    timeouts = httpx.Timeout(timeout, connect=min(CONNECT_LIMIT, timeout), pool=None)
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    if transport == "aiohttp":
        return _Client(transport=AiohttpTransport(), timeout=timeouts, cookies=cookies, trust_env=False)
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE),
        mounts={f"all://{host}" if ":" not in host else f"all://[{host}]": None for host in _LOOPBACK},
        timeout=timeouts,
        cookies=cookies,
    )


class _Client(httpx.AsyncClient):
    """Hands a streamed request straight to its transport: what httpx does around it serves what is off here.

    That is authentication, redirects, cookies and hooks, which take a tenth of a small request's time.
    """

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        if not stream or self.is_closed:
            return await super().send(request, stream=stream, **options)
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx requests over one aiohttp session, which is opened in the event loop of the first request.

    The request's ``timeout`` and ``trace`` extensions are honoured: ``trace`` hears of a new connection and
    of every piece of the body that was sent, under httpcore's names of these events.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, whose body must be in memory; returns as soon as the headers are there."""
        session = self._session
        if session is None:
            session = self._session = _open_session()
        timeout = request.extensions.get("timeout", {})
        with _as_httpx(request):
            proxy = _proxy_for(request.url.scheme, request.url.host, request.url.port)
            response = await session.request(
                request.method,
                yarl.URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=io.BytesIO(request.content) if request.content else None,  # sent in pieces, unlike bytes
                allow_redirects=False,
                skip_auto_headers=_OWN_HEADERS,
                timeout=aiohttp.ClientTimeout(connect=timeout.get("connect"), sock_read=timeout.get("read")),
                proxy=str(proxy.url) if proxy else None,
                proxy_headers=_proxy_headers(proxy),
                ssl=self._ssl_context if "https" in (request.url.scheme, proxy and proxy.url.scheme) else True,
                trace_request_ctx=request.extensions.get("trace"),
            )
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Stream(request, response),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (response.reason or "").encode()},
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        """httpx's, with its certificates: made for the first address that needs it, since it takes a while."""
        return httpx.create_ssl_context()


class _Stream(httpx.AsyncByteStream):
    """A response's body, in the pieces that have arrived."""

    def __init__(self, request: httpx.Request, response: aiohttp.ClientResponse) -> None:
        self._request = request
        self._response = response
        protocol = response.connection.protocol if response.connection is not None else None
        self._lost = protocol.closed if protocol is not None else None  # a protocol can be falsy
        if self._lost is not None:
            self._lost.remove_done_callback(_retrieve)  # at most once for a connection
            self._lost.add_done_callback(_retrieve)
            self._lost.add_done_callback(self._end)
        elif protocol is not None:  # lost already
            self._end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _as_httpx(self._request):
            try:
                async for chunk in content.iter_any():
                    yield chunk
            except aiohttp.ClientError:
                if rest := content._read_nowait(-1):  # came in the same read as the failure, which goes before it
                    yield rest
                raise

    async def aclose(self) -> None:
        if self._lost is not None:
            self._lost.remove_done_callback(self._end)
        self._response.close()  # no effect on a connection whose response was read to its end

    def _end(self, lost: asyncio.Future[None] | None = None) -> None:
        """Wake the reader: after a chunk that it can't parse, aiohttp would let it wait for ever."""
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the body can't be parsed"))


def _retrieve(lost: asyncio.Future[None]) -> None:
    """Look at how a connection ended, or asyncio logs an exception that nobody has looked at."""
    if not lost.cancelled():
        lost.exception()


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        trace_configs=[_trace_config()],
    )


def _trace_config() -> aiohttp.TraceConfig:
    """Tell a request's ``trace`` extension what aiohttp does."""
    config = aiohttp.TraceConfig()

    def forward(event: str) -> Any:
        async def told(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
            if context.trace_request_ctx is not None:
                await context.trace_request_ctx(event, {})

        return told

    config.on_connection_create_start.append(forward("connection.connect_tcp.started"))
    config.on_connection_create_end.append(forward("connection.connect_tcp.complete"))
    config.on_request_chunk_sent.append(forward("http11.send_request_body.complete"))
    return config


@lru_cache(maxsize=64)
def _proxy_for(scheme: str, host: str, port: int | None) -> httpx.Proxy | None:
    """The proxy that the environment names for this origin. Raises ProxyError for one that is not HTTP."""
    proxies = urllib.request.getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or host in _LOOPBACK or urllib.request.proxy_bypass(f"{host}:{port}" if port else host):
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


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    """The map from aiohttp's exceptions to httpx's, in the order in which they are looked for."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise httpx.ConnectTimeout("the connect took too long", request=request) from exc
    except TimeoutError as exc:  # aiohttp's SocketTimeoutError is one
        raise httpx.ReadTimeout("nothing came in time", request=request) from exc
    except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as exc:
        raise httpx.ProxyError("the proxy refuses or can't be reached", request=request) from exc
    except aiohttp.ClientConnectorError as exc:  # refused, DNS, TLS
        raise httpx.ConnectError(str(exc), request=request) from exc
    except aiohttp.ServerDisconnectedError as exc:
        raise httpx.RemoteProtocolError("the connection was closed before an answer came", request=request) from exc
    except aiohttp.ClientConnectionError as exc:
        raise httpx.ReadError(str(exc) or "the connection was lost", request=request) from exc
    except aiohttp.ClientResponseError as exc:  # its text would hold the URL and bytes of the answer
        raise httpx.RemoteProtocolError(exc.message.partition("\n")[0], request=request) from exc
    except aiohttp.ClientPayloadError as exc:
        raise httpx.RemoteProtocolError(str(exc).partition("\n")[0], request=request) from exc
    except aiohttp.InvalidURL as exc:
        raise httpx.UnsupportedProtocol("aiohttp can't use this URL", request=request) from exc
