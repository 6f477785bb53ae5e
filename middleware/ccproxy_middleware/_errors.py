"""Errors as a client of either protocol expects them."""

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from ._asgi import BodyTooLarge, BufferedBody, ClientDisconnected, Headers, route_path
from ._json import dumps

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The largest request that the Messages API takes."""

_PRINTABLE = re.compile(r"[\x20-\x7e]+")


class ApiError(Exception):
    """A failure that the client is to see: an HTTP status, an Anthropic error type and a message.

    ``headers`` are sent with it (names in lower case). ``details`` becomes ``error.details``, which the SDKs read
    an ``error_code`` from. ``type`` is one of the types of https://docs.claude.com/en/api/errors.
    """

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.headers = tuple(headers)
        self.details = details

    def body(self, request_id: str) -> dict[str, Any]:
        """The Anthropic error object."""
        return {**self.event(), "request_id": request_id}

    def event(self) -> dict[str, Any]:
        """The ``data`` of an ``error`` event. The answer's headers have told the request's id before."""
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.details is not None:
            error["details"] = dict(self.details)
        return {"type": "error", "error": error}

    def openai_body(self) -> dict[str, Any]:
        """The same failure as an OpenAI error object."""
        return {"error": {"message": self.message, "type": self.type, "param": None, "code": self.status}}


class StreamAborted(Exception):
    """Raised through the layers to break off a response whose start is already on the wire.

    A server answers it by closing the connection without the end of the body, so that no client can take what it
    got for a complete answer. The reason has been sent before as an ``error`` event and logged where it arose.
    """


def invalid_request(message: str) -> ApiError:
    """A 400 in Anthropic's form, for input that can't be converted."""
    return ApiError(400, "invalid_request_error", message)


def body_too_large() -> ApiError:
    """The 413 for a body over MAX_BODY_BYTES."""
    return ApiError(413, "request_too_large", "Request exceeds the maximum size of 32 MB")


def header_value(name: bytes, value: str) -> Headers:
    """A header as a list of one, or of none if a value from outside is not fit for a header."""
    return [(name, value.encode())] if _PRINTABLE.fullmatch(value) and len(value) <= 1024 else []


def new_request_id() -> str:
    """An id for one exchange: ``req_`` and 24 letters and digits."""
    return "req_" + secrets.token_hex(12)


def request_id(scope: Scope) -> str:
    """The id of this exchange: the one that an outer layer has given it, or a new one."""
    known = scope.get("ccproxy.request_id")
    return known if isinstance(known, str) else new_request_id()


def speaks_openai(scope: Scope) -> bool:
    """Whether a request's path belongs to the OpenAI API, whose clients expect OpenAI's error objects."""
    return route_path(scope).endswith(("/chat/completions", "/completions", "/embeddings", "/responses"))


async def send_error(scope: Scope, send: Send, error: ApiError) -> None:
    """Answer a request with an error in the dialect of its path.

    The error itself rides on the message as ``ccproxy.error``: so an outer converter knows a refusal of our own
    from one of the provider's, which would mean something else to the client.
    """
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


async def read_body(scope: Scope, receive: Receive, send: Send) -> BufferedBody | None:
    """The request's whole body, or None where nothing is left to do: it was too large, or the client has gone."""
    try:
        return await BufferedBody.read(scope, receive, MAX_BODY_BYTES)
    except BodyTooLarge:
        await send_error(scope, send, body_too_large())
    except ClientDisconnected:
        pass
    return None
