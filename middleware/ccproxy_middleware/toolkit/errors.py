"""Errors in the formats of both protocols."""

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from starlette.types import Receive, Scope, Send

from .asgi import BodyTooLarge, BufferedBody, ClientDisconnected, Headers, get_header, route_path, without_headers
from .body_memory import LargerThanMemory, MemoryFull
from .encodings import ACCEPTED, BrokenEncoding, ExpandsTooMuch, UnsupportedEncoding
from .json import dumps
from .sse import sse_event

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The largest request that the Messages API takes."""

BREAK_OFF = "ccproxy.break_off"
"""An ASGI extension: a function by which a server closes the connection without the end of the answer."""

FailureReason = Literal[
    "connect", "timeout", "rate_limit", "overloaded", "quota", "refused_key", "model_gone", "context_overflow", "server"
]
"""Why a provider has not answered, where another one may: what the client asked for is not at fault."""

_PRINTABLE = re.compile(r"[\x20-\x7e]+")


class ApiError(Exception):
    """A failure to be reported to the client: an HTTP status, an Anthropic error type and a message.

    ``headers`` are sent with it (names in lower case). ``details`` becomes ``error.details``, from which the SDKs read
    an ``error_code``. ``type`` is one of the types of https://docs.claude.com/en/api/errors. ``reason`` is that of a
    provider's failure, whatever status the client gets; None: the request itself is refused.
    """

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        details: Mapping[str, Any] | None = None,
        reason: FailureReason | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.headers = tuple(headers)
        self.details = details
        self.reason: FailureReason | None = reason

    def without_frames(self) -> Self:
        """This error without its traceback, so that it can be kept: the frames hold the request, and the object that
        keeps the error.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self

    def body(self, request_id: str) -> dict[str, Any]:
        """The Anthropic error object."""
        return {**self.event(), "request_id": request_id}

    def event(self) -> dict[str, Any]:
        """The ``data`` of an ``error`` event. The request's id has already been sent in the answer's headers."""
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.details is not None:
            error["details"] = dict(self.details)
        return {"type": "error", "error": error}

    def openai_body(self) -> dict[str, Any]:
        """The same failure as an OpenAI error object."""
        return {"error": {"message": self.message, "type": self.type, "param": None, "code": self.status}}


class StreamAborted(Exception):
    """Raised through the layers to abort a response whose start has already been sent.

    A server handles it by closing the connection without the end of the body, so that no client can take the part that
    it received for a complete answer. The reason has been sent before as an ``error`` event and logged where it
    occurred. ``error`` is the failure, if it is known: an outer layer whose own answer has not begun reports it.
    """

    def __init__(self, reason: str = "", error: ApiError | None = None) -> None:
        super().__init__(reason)
        self.error = error


_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    """Anthropic's error type for an HTTP status, for answers that don't contain one."""
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def invalid_request(message: str) -> ApiError:
    """A 400 in Anthropic's form, for input that can't be converted."""
    return ApiError(400, "invalid_request_error", message)


def nested_too_deeply() -> ApiError:
    """The 400 for a body that was read but can't be written again."""
    return invalid_request("The request can't be passed on: it is nested too deeply")


def body_too_large(message: str = "Request exceeds the maximum size of 32 MB") -> ApiError:
    """The 413 for a body over MAX_BODY_BYTES, or over another limit that the message names."""
    return ApiError(413, "request_too_large", message)


def memory_full() -> ApiError:
    """The 529 for a body for which the bodies of other requests leave too little memory."""
    message = "the requests in progress use all the memory that this proxy allows for bodies: please try again"
    return ApiError(529, "overloaded_error", message, headers=[("retry-after", "1")])


def header_value(name: bytes, value: str) -> Headers:
    """A header as a list of one, or an empty list if an external value can't be sent in a header."""
    return [(name, value.encode())] if _PRINTABLE.fullmatch(value) and len(value) <= 1024 else []


def new_request_id() -> str:
    """An id for one exchange: ``req_`` and 24 letters and digits."""
    return f"req_{random.getrandbits(96):024x}"


def request_id(scope: Scope) -> str:
    """The id of this exchange: the one that an outer layer has assigned, or a new one."""
    known = scope.get("ccproxy.request_id")
    return known if isinstance(known, str) else new_request_id()


def speaks_openai(scope: Scope) -> bool:
    """Whether a request's path belongs to the OpenAI API, whose clients expect OpenAI's error objects."""
    return route_path(scope).endswith(("/chat/completions", "/completions", "/embeddings", "/responses"))


async def send_error(scope: Scope, send: Send, error: ApiError) -> None:
    """Answer a request with an error in the dialect of its path.

    The error object is attached to the message as ``ccproxy.error``. An outer converter uses it to distinguish a
    refusal of our own from one of the provider's, which would mean something else to the client.
    """
    error.without_frames()
    id_ = request_id(scope)
    body = dumps(error.openai_body() if speaks_openai(scope) else error.body(id_))
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"request-id", id_.encode()),
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in error.headers),
    ]
    start = {"type": "http.response.start", "status": error.status, "headers": headers, "ccproxy.error": error}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def error_event(scope: Scope, error: ApiError, *, cut: bool) -> bytes:
    """The last event of an aborted stream, in its path's dialect. ``cut``: it may have ended within an event."""
    start = b"\n\n" if cut else b""
    if speaks_openai(scope):
        return start + b"data: " + dumps(error.openai_body()) + b"\n\n"
    return start + sse_event("error", error.event())


async def read_request(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, BufferedBody] | None:
    """The request with its whole body, or None where nothing is left to do: it was refused, or the client has
    disconnected.

    The body is decoded, and the returned scope has no ``content-encoding``.
    """
    if isinstance(receive, BufferedBody) and receive.is_whole:  # an outer layer has read it
        return scope, receive
    try:
        body = await BufferedBody.read(scope, receive, MAX_BODY_BYTES)
    except BodyTooLarge:
        await send_error(scope, send, body_too_large())
    except (ExpandsTooMuch, LargerThanMemory) as exc:
        await send_error(scope, send, body_too_large(str(exc)))
    except MemoryFull:
        await send_error(scope, send, memory_full())
    except UnsupportedEncoding as exc:
        accepted = [("accept-encoding", ACCEPTED)]
        await send_error(scope, send, ApiError(415, "invalid_request_error", str(exc), headers=accepted))
    except BrokenEncoding as exc:
        await send_error(scope, send, invalid_request(str(exc)))
    except ClientDisconnected:
        pass
    else:
        if body is not receive and get_header(scope["headers"], b"content-encoding") is not None:
            plain = without_headers(scope["headers"], b"content-encoding", b"content-length")
            scope = {**scope, "headers": plain}
        return scope, body
    return None
