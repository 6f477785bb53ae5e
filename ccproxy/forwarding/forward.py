"""The innermost endpoint: sends a request to the provider and passes the answer on, chunk by chunk."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import httpx
from starlette.types import Receive, Scope, Send

from ccproxy_middleware.toolkit.asgi import BufferedBody, Headers, TooDeep, get_header, route_path
from ccproxy_middleware.toolkit.errors import (
    ApiError,
    StreamAborted,
    error_event,
    nested_too_deeply,
    read_request,
    request_id,
    send_error,
)
from ccproxy_middleware.toolkit.record import Record, get_record

from .attempts import Attempt
from .client import CONNECT_LIMIT, Answer, ask, make_client
from .idle import EventContent, IdleLimit, not_blank
from .retries import backoff, retry_delay
from .transport import RequestNotRead
from .upstream import Redactor, Upstream, redact, response_headers
from .wording import failure_reason

log = logging.getLogger("ccproxy.forward")

MAX_HELD = 64 * 1024  # of an error's body, which is looked into before it is passed on
MAX_ANSWER = 64 * 1024 * 1024

_MAX_ID = 100  # characters of the provider's id for a request

_REQUEST_IDS = (b"x-request-id", b"request-id", b"apim-request-id", b"cf-ray")


@dataclass(frozen=True, slots=True)
class _Opened:
    """An event loop's client, and the object that keeps it open."""

    client: httpx.AsyncClient
    holder: AsyncGenerator[httpx.AsyncClient, None]


class _TooLarge(ApiError):
    """The provider's answer is over the limit."""


class Forward:
    """An ASGI endpoint in front of a provider: its path below ``/v1`` is appended to ``base_url``.

    api_key: sent as a bearer token, or as ``api-key`` in the Azure form, which ``api_version`` enables. Several keys
        are a pool: ``ccproxy.key`` in the scope is the index of the one to send, the first without it.
    client: an ``httpx.AsyncClient``, which its creator closes. Without it one is opened by :meth:`lifespan`, or at the
        first request, for each event loop; ``transport`` determines its kind.
    timeout: seconds without a byte from the provider; the connect gets at most ten. It never limits a stream that is
        still sending.
    stream_idle_timeout: seconds for which an answer may consist of keep-alive data without content, such as comments in
        a stream or whitespace before JSON.
    max_answer: the maximum size in bytes of an answer that is not an event stream and must be held until it is
        complete.
    max_retries: further attempts after a failed connect or a temporary error status, before the answer starts.

    Reads ``ccproxy.custom_headers`` from the scope: headers that override its own; ``ccproxy.max_retries``, which takes
    precedence over its own, since a request that another provider takes over is not repeated here. Of the client's
    headers only ``content-type``, ``accept``, ``anthropic-version`` and ``anthropic-beta`` are sent on. A failure
    before the answer has started gives a 502 or 504 in the dialect of the path; after it an ``error`` event in an event
    stream, and StreamAborted. Raises ValueError for a base URL or key that can't be used.
    """

    _upstream_class: type[Upstream] = Upstream  # what may pass, and to which address

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | Sequence[str] | None = None,
        api_version: str | None = None,
        client: httpx.AsyncClient | None = None,
        transport: Literal["aiohttp", "httpx"] = "aiohttp",
        timeout: float = 90.0,
        stream_idle_timeout: float = 600.0,
        max_answer: int = MAX_ANSWER,
        max_retries: int = 2,
    ) -> None:
        self._upstream = self._upstream_class(base_url, api_key, api_version)
        self._injected = client
        self._transport: Literal["aiohttp", "httpx"] = transport
        self._opened: dict[asyncio.AbstractEventLoop, _Opened] = {}
        self._timeout = timeout
        self._connect_limit = min(CONNECT_LIMIT, timeout)
        self._timeouts = httpx.Timeout(None, connect=self._connect_limit).as_dict()
        self._stream_idle_timeout = stream_idle_timeout
        self._max_answer = max_answer
        self._max_retries = max_retries

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._upstream.base_url!r})"

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Open the client for the running event loop, and close it at the end."""
        await self._client()
        try:
            yield
        finally:
            opened = self._opened.pop(asyncio.get_running_loop(), None)
            if opened is not None:
                await opened.holder.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"Forward serves http, not {scope['type']}")
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        failure: Exception | None = None
        leaving = asyncio.Timeout(None)  # expires when the client disconnects

        async def watch() -> None:
            nonlocal failure
            try:
                await _disconnected(body)
            except Exception as exc:
                failure = exc
            leaving.reschedule(asyncio.get_running_loop().time())

        try:
            async with leaving:
                watcher = asyncio.create_task(watch())
                try:
                    await self._exchange(scope, body, send)
                finally:
                    watcher.cancel()
        except TimeoutError:
            if not leaving.expired():
                raise
        if failure is not None:
            raise failure

    async def _exchange(self, scope: Scope, body: BufferedBody, send: Send) -> None:
        custom: Headers = scope.get("ccproxy.custom_headers", [])
        secrets = self._upstream.secrets(custom)
        record = get_record(scope)
        headers = self._upstream.request_headers(scope["headers"], custom)
        headers += self._upstream.credential(scope.get("ccproxy.key", 0), custom)
        tries = scope.get("ccproxy.max_retries", self._max_retries)
        try:
            answer = await self._ask(scope["method"], self._url(scope, body), headers, body.body, record, tries)
        except TooDeep:
            return await send_error(scope, send, nested_too_deeply())
        except ApiError as error:
            _tell(scope, error, secrets)
            return await send_error(scope, send, error)
        if record is not None:
            record.upstream_status = answer.status
            record.upstream_request_id = _upstream_request_id(answer, secrets)
        async with aclosing(answer):
            await self._relay(scope, send, answer, secrets)

    def _url(self, scope: Scope, body: BufferedBody) -> str:
        model = None
        if self._upstream.needs_model and body.body:
            try:
                model = body.data["model"]
            except (ValueError, TypeError, KeyError):  # the provider states the reason in it
                model = None
        return self._upstream.url(route_path(scope), scope["query_string"], model)

    async def _ask(
        self, method: str, url: str, headers: Headers, body: bytes, record: Record | None, max_retries: int
    ) -> Answer:
        """The provider's answer, after retries where they are due. Raises ApiError if there is none."""
        client = await self._client()
        attempt = 0
        stale = False  # a kept connection was met that had been closed, which costs no attempt
        while True:
            progress = Attempt(self._timeout, record)
            try:
                answer = await self._try(client, progress, method, url, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as exc:
                if attempt >= max_retries:
                    message = f"could not connect to the provider {self._upstream.host}: {failure_reason(exc)}"
                    raise ApiError(502, "api_error", message, reason="connect") from exc
                delay = backoff(attempt)
            except (TimeoutError, httpx.TimeoutException) as exc:
                # Not repeated: the provider may be at work, which costs money.
                raise self._timed_out("before it answered") from exc
            except httpx.RequestError as exc:
                if not stale and (progress.unsent or isinstance(exc, RequestNotRead)):
                    stale = True
                    continue
                raise _broken(exc) from exc
            else:
                if answer.status < 400 or attempt >= max_retries:
                    return answer
                wait = retry_delay(answer.status, httpx.Headers(answer.headers), answer.held, attempt)
                if wait is None:
                    return answer
                await answer.aclose()
                delay = wait
            attempt += 1
            if record is not None:
                record.retries += 1
            log.info("try %d at the provider failed, the next one follows in %.1f s", attempt, delay)
            await asyncio.sleep(delay)

    async def _try(
        self,
        client: httpx.AsyncClient,
        progress: Attempt,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
    ) -> Answer:
        """One attempt. The bodies of errors are read here, if they are small."""
        try:
            async with asyncio.timeout(self._connect_limit + self._timeout) as progress.deadline:
                answer = await ask(client, method, url, headers, body, {"timeout": self._timeouts, "trace": progress})
        except TimeoutError:  # a busy event loop may find this limit and the connect's own passed at once
            if progress.connecting and not progress.connected:
                raise httpx.ConnectTimeout("the connect took too long") from None
            raise
        finally:
            progress.deadline = None
        try:
            if answer.status >= 400:
                await self._hold(answer)
            elif answer.status >= 300:
                raise _redirected(answer)
            if method != "HEAD" and not answer.is_stream:
                length = get_header(answer.headers, b"content-length")
                if length and length.isdecimal():
                    self._check_size(int(length[:20]))
        except BaseException:
            await answer.aclose()
            raise
        return answer

    def _check_size(self, size: int) -> None:
        if size > self._max_answer:
            message = f"the provider's answer is over the limit of {self._max_answer} bytes (MAX_ANSWER)"
            raise _TooLarge(502, "api_error", message)

    async def _hold(self, answer: Answer) -> None:
        limit = IdleLimit(self._timeout, self._stream_idle_timeout, not_blank)
        try:
            async with limit:
                while len(answer.held) < MAX_HELD:
                    chunk = await limit.read(answer.chunks)
                    if chunk is None:
                        answer.whole = True
                        return
                    answer.held += chunk
        except (httpx.RequestError, TimeoutError) as exc:
            raise self._read_failure(exc, limit) from exc

    def _read_failure(self, exc: Exception, limit: IdleLimit) -> ApiError:
        """The error for a failed read of a body. Re-raises a failure that has another cause."""
        if limit.expired == self._stream_idle_timeout:
            message = f"the provider timed out in its answer: nothing with content came for {limit.expired:g} seconds"
            return ApiError(504, "timeout_error", message, reason="timeout")
        if isinstance(exc, httpx.TimeoutException) or limit.expired is not None:
            return self._timed_out("in its answer")
        if isinstance(exc, httpx.RequestError):
            return _broken(exc)
        raise exc

    async def _relay(self, scope: Scope, send: Send, answer: Answer, secrets: list[bytes]) -> None:
        """Send the answer on. Raises StreamAborted if the provider breaks it off."""
        failed = answer.status >= 400
        is_stream = answer.is_stream
        drop: list[bytes] = []
        if answer.decoded:
            drop.append(b"content-encoding")
        if is_stream or failed or answer.decoded:
            drop.append(b"content-length")
        headers = response_headers(answer.headers, secrets, *drop)
        redactor = Redactor(secrets, text=not failed, events=is_stream)
        held = redact(answer.held, secrets) if answer.whole else redactor.feed(answer.held)
        if answer.whole and scope["method"] != "HEAD":
            headers.append((b"content-length", str(len(held)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if held:
            await send({"type": "http.response.body", "body": held, "more_body": True})
        small = not answer.whole and self._max_answer >= MAX_HELD
        if small and (body := answer.take_whole()) is not None:
            passed = redactor.feed(body) + await redactor.finish()
            return await send({"type": "http.response.body", "body": passed, "more_body": False})
        if not answer.whole:
            limit = IdleLimit(self._timeout, self._stream_idle_timeout, EventContent() if is_stream else not_blank)
            size = len(answer.held)
            try:
                async with limit:
                    while (chunk := await limit.read(answer.chunks)) is not None:
                        if not is_stream:
                            size += len(chunk)
                            self._check_size(size)
                        if passed := await redactor.take(chunk):
                            await send({"type": "http.response.body", "body": passed, "more_body": True})
            except (httpx.RequestError, TimeoutError, _TooLarge) as exc:
                error = exc if isinstance(exc, _TooLarge) else self._read_failure(exc, limit)
                _tell(scope, error, secrets)
                if is_stream:
                    event = await redactor.finish() + error_event(scope, error, cut=True)
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                raise StreamAborted(error.message, error) from exc
        await send({"type": "http.response.body", "body": await redactor.finish(), "more_body": False})

    async def _client(self) -> httpx.AsyncClient:
        if self._injected is not None:
            return self._injected
        loop = asyncio.get_running_loop()
        opened = self._opened.get(loop)
        if opened is None:
            for closed in [other for other in self._opened if other.is_closed()]:
                del self._opened[closed]
            holder = _hold_open(make_client(self._transport, timeout=self._timeout))
            opened = self._opened[loop] = _Opened(await anext(holder), holder)
        return opened.client

    def _timed_out(self, when: str) -> ApiError:
        message = f"the provider timed out {when}: nothing came for {self._timeout:g} seconds"
        return ApiError(504, "timeout_error", message, reason="timeout")


async def _hold_open(client: httpx.AsyncClient) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Keep a client until the event loop shuts its generators down, as ``asyncio.run`` does at its end."""
    try:
        async with client:
            yield client
    finally:
        for _ in range(10):  # rounds of the loop, in which a transport lets go of its socket after its close
            await asyncio.sleep(0)


async def _disconnected(body: BufferedBody) -> None:
    """Return when the client has disconnected. The first message is the request, which is complete already."""
    await body()
    while True:
        message = await body()
        if message["type"] == "http.disconnect":
            return
        await asyncio.sleep(0)  # a foreign receive may return other messages without end


def _upstream_request_id(answer: Answer, secrets: list[bytes]) -> str | None:
    known = dict(answer.headers)
    for name in _REQUEST_IDS:
        if name in known:
            return redact(known[name], secrets).decode("latin-1")[:_MAX_ID]
    return None


def _tell(scope: Scope, error: ApiError, secrets: list[bytes]) -> None:
    """Log a failure, rid of secrets: its message may quote the provider."""
    error.message = redact(error.message.encode(errors="replace"), secrets).decode()
    log.warning("%s: %s", request_id(scope), error.message)


def _broken(exc: Exception) -> ApiError:
    reason = failure_reason(exc) if isinstance(exc, httpx.RequestError) else str(exc) or "the connection was lost"
    return ApiError(502, "api_error", f"the provider's answer broke off or was not HTTP: {reason}", reason="server")


def _redirected(answer: Answer) -> ApiError:
    target = (get_header(answer.headers, b"location") or "").partition("?")[0] or "nowhere"
    message = f"the provider redirects to {target}, which is not followed: give its final address as the base URL"
    return ApiError(502, "api_error", message, reason="server")
