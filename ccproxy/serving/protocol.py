"""uvicorn's HTTP protocol with limits on time and size. It rejects requests that can be parsed in two ways.

uvicorn and httptools limit neither the headers' size nor the time for them, and keep a silent connection open. With an
``Upgrade`` header they parse the body as the next request. They also add trailers to the headers.
"""

import asyncio
import logging
import re
import weakref
from collections import Counter
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ccproxy_middleware.toolkit.errors import BREAK_OFF, ApiError, invalid_request, new_request_id
from ccproxy_middleware.toolkit.json import dumps

from .limits import Limits, address_of

logger = logging.getLogger("ccproxy")

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")
_FRAMING = (b"content-length", b"transfer-encoding")
_DRAINED = (
    1024 * 1024
)  # bytes that are read and dropped, so that a client which is still sending can read why it was refused


class _Refused(Exception):
    """Raised into httptools, which stops at once."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. :func:`limited_protocol` makes the class for a server."""

    limits: ClassVar[Limits] = Limits()
    addresses: ClassVar[Counter[str]] = Counter()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._address: str | None = None
        self._first = True  # no request has come yet
        self._in_head = self._in_body = False
        self._since = 0.0  # when the connection, the request or the pause after an answer began
        self._heard = 0.0
        self._resumes = False  # the parser still frames a request whose headers are known
        self._received = 0  # bytes of the body's content
        self._feeding = 0  # bytes of this read
        self._overhead = 0  # bytes read since the last read that completed a head or brought content
        self._unsent = 0  # bytes waiting to be sent when the proxy began to watch the client, at _unsent_since
        self._unsent_since = 0.0
        self._refusal: ApiError | None = None  # input from the client is no longer read
        self._ended = False
        self._drained = 0

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self._heard = self.loop.time()
        self._look_again(self.limits.shortest)
        if self.limits.per_address and self.client is not None:
            self._address = address_of(self.client[0])
            self.addresses[self._address] += 1
            if self.addresses[self._address] > self.limits.per_address:
                self._refuse(ApiError(429, "rate_limit_error", "too many connections from this address"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._address is not None:
            self.addresses[self._address] -= 1
            if not self.addresses[self._address]:
                del self.addresses[self._address]
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            self._drained += len(data)
            if self._ended and self._drained > _DRAINED:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._heard = self.loop.time()
        self._feeding = len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if self._refusal is None:
                self._refuse(invalid_request("the request is not HTTP/1.1"))
            return
        self._overhead += self._feeding
        if self._in_head or self._in_body:
            limits = self.limits
            if self._overhead > limits.head_bytes or len(self.headers) > limits.headers:
                self._refuse(self._too_large())

    def _feed(self, data: bytes) -> None:
        """Parse the data. httptools reads no body after ``Upgrade``, so another parser, which ignores it, reads the
        body.
        """
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]
            framing = [b"%s: %s\r\n" % header for header in self.scope["headers"] if header[0] in _FRAMING]
            self.parser = httptools.HttpRequestParser(self)
            self._resumes = True
            self.parser.feed_data(b"".join((b"POST / HTTP/1.1\r\n", *framing, b"\r\n")))

    def _should_upgrade(self) -> bool:
        return False

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._resumes:
            return
        super().on_message_begin()
        self._in_head = True
        self._since = self._heard
        self._received = 0
        self._overhead = -self._feeding

    def on_headers_complete(self) -> None:
        if self._resumes:
            self._resumes = False
            return
        self._check_head()
        if len(self.pipeline) >= self.limits.waiting_requests:
            self._stop(ApiError(429, "rate_limit_error", "too many requests before their answers"))
        super().on_headers_complete()
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        extensions[BREAK_OFF] = partial(_break_off, weakref.ref(self.cycle))
        self._first = self._in_head = False
        self._in_body = True
        self._overhead = -self._feeding
        self.headers = []  # trailers go here; the scope has the headers

    def _check_head(self) -> None:
        limits, host = self.limits, None
        for name, value in self.headers:
            if name == b"host":
                if host is not None or not _HOST.fullmatch(value):
                    self._stop(invalid_request("there must be exactly one valid host header"))
                host = value
        in_one_read = self._overhead == -self._feeding and self._feeding <= limits.head_bytes
        if len(self.headers) > limits.headers or not (in_one_read or self._head_size() <= limits.head_bytes):
            self._stop(self._too_large())
        if host is None and self.parser.get_http_version() == "1.1":
            self._stop(invalid_request("the host header is missing"))

    def _head_size(self) -> int:
        return len(self.url) + sum(map(len, chain(*self.headers)))

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        self._overhead = -self._feeding
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():  # it has read only the headers
            return
        trailers = self.headers
        if trailers and (
            len(trailers) > self.limits.headers or sum(map(len, chain(*trailers))) > self.limits.head_bytes
        ):
            self._stop(self._too_large())
        self._in_body = False
        super().on_message_complete()

    # Ending an answer, an invalid request and the connection

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        if self._refusal is None or self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._end(self._refusal)

    def resume_writing(self) -> None:
        self._unsent = 0
        super().resume_writing()

    def _too_large(self) -> ApiError:
        limits = self.limits
        message = f"the request's headers are over {limits.head_bytes} bytes, or more than {limits.headers}"
        return ApiError(431, "invalid_request_error", message)

    def _stop(self, error: ApiError) -> None:
        self._refuse(error)
        raise _Refused

    def _refuse(self, error: ApiError) -> None:
        """Answer the current request with an error, after the answers to earlier requests."""
        self._refusal = error
        logger.info("request refused", extra={"status": error.status, "reason": error.message, "client": self.client})
        cycle = self.cycle
        if self._in_body and cycle.response_started:
            self._end(None)
        elif self._in_body and self.pipeline:
            self.pipeline.popleft()
        elif self._in_body or cycle is None or cycle.response_complete:
            self._end(error)

    def _end(self, error: ApiError | None) -> None:
        """Close the connection, but let the client read the answer first: a reset would discard it."""
        if self.transport.is_closing():
            return
        self._ended = True
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
        if error is not None:
            self.transport.write(_answer(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()
        self._look_again(self.limits.close_seconds)

    # Time

    def _look_again(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Check whether the client has used up its time. Each connection has one timer, which requests neither set nor
        cancel.
        """
        self._timer = None
        now = self.loop.time()
        if self._ended or self._takes_nothing(now):
            if not self._ended:
                logger.info("client does not read its answer", extra={"client": self.client})
            return self.transport.abort()
        left = self._deadline(now) - now
        if left > 0:
            self._look_again(min(left, self.limits.shortest))
        elif self._refusal is not None:
            self._look_again(self.limits.shortest)
        elif self._in_head or self._in_body:
            what = "headers" if self._in_head else "body"
            self._refuse(ApiError(408, "timeout_error", f"the request's {what} did not come in time"))
            if self._timer is None:
                self._look_again(self.limits.shortest)
        else:
            self.transport.close()
            self._look_again(self.limits.shortest)

    def _deadline(self, now: float) -> float:
        """The time at which the connection's current state will have lasted too long."""
        limits, cycle = self.limits, self.cycle
        answered = cycle is None or cycle.response_complete
        if self._in_head:
            return self._since + limits.head_seconds
        if self._in_body and answered:
            return self._since + limits.head_seconds
        if self._in_body:
            if self.flow.read_paused:  # the proxy itself causes this state
                self._heard = now
            slow = self._since + limits.client_seconds + self._received / limits.least_rate
            return min(slow, self._heard + limits.client_seconds)
        if not answered:
            return now + limits.shortest
        return self._since + (limits.head_seconds if self._first else limits.idle_seconds)

    def _takes_nothing(self, now: float) -> bool:
        size = self.transport.get_write_buffer_size()
        waits = (
            self.flow.write_paused or self.transport.is_closing() or self.cycle is None or self.cycle.response_complete
        )
        seconds = self.limits.client_seconds
        if not size or not waits:
            self._unsent = 0
        elif not self._unsent:
            self._unsent, self._unsent_since = size, now
        elif now - self._unsent_since >= seconds:
            if self._unsent - size < self.limits.least_rate * seconds:
                return True
            self._unsent, self._unsent_since = size, now
        return False


def limited_protocol(limits: Limits) -> type[LimitedProtocol]:
    """A protocol class with these limits, which counts its connections. Pass it as ``http`` to uvicorn's Config."""
    return type("Protocol", (LimitedProtocol,), {"limits": limits, "addresses": Counter()})


def _break_off(reference: "weakref.ref[RequestResponseCycle]") -> None:
    """Close the connection without completing the answer. uvicorn logs an error only if it did not expect this."""
    cycle = reference()
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
        cycle.transport.close()


def _answer(error: ApiError) -> bytes:
    id_ = new_request_id()
    body = dumps(error.body(id_))
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"request-id: {id_}",
        "connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body
