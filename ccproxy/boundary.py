"""The outermost layer of the app: an id and a record for every exchange, and a visible end for every failure."""

import asyncio
import logging
import re

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy_middleware.toolkit.asgi import get_header, route_path, with_path
from ccproxy_middleware.toolkit.errors import BREAK_OFF, ApiError, StreamAborted, new_request_id, send_error
from ccproxy_middleware.toolkit.record import observe

from .logs import log_exchange
from .settings import without_repeated_version

logger = logging.getLogger("ccproxy")

_REPEATABLE = ("/v1/v1/", "/v1//", "/v1/messages/v", "/v1/chat/completions/v")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Boundary:
    """Wraps all layers.

    Every answer gets a ``request-id``, which is the client's own ``x-request-id`` if that is valid, and every exchange
    gets a line in the log. The path of a client whose base URL ends in ``/v1`` is corrected. An answer that a layer has
    aborted stops here, so that the server closes the connection without the end of the body. An unexpected exception
    becomes a 500 without details; its traceback is logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._told = False  # of a client's wrong base URL, which is logged once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if (path := route_path(scope)).startswith(_REPEATABLE):
            scope = self._corrected(scope, path)
        given = get_header(scope["headers"], b"x-request-id")
        id_ = given if given and _REQUEST_ID.fullmatch(given) else new_request_id()
        if (task := asyncio.current_task()) is not None:
            task.set_name(id_)  # for the watchdog, and other code that inspects tasks
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", ()))
                if get_header(headers, b"request-id") is None:
                    message = {**message, "headers": [*headers, (b"request-id", id_.encode())]}
            await send(message)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await self.app(scope, receive, send)
            except StreamAborted as abort:
                if started:
                    raise
                await send_error(scope, send, abort.error or ApiError(502, "api_error", "the answer broke off"))
            except HTTPException as exc:  # a layer of the host has raised it from its ``receive``
                if started:
                    raise
                await send_error(scope, send, raised_error(exc))
            except Exception:
                logger.exception("a bug in the proxy (%s)", id_)
                if started:
                    raise StreamAborted from None
                await send_error(scope, send, ApiError(500, "api_error", "Internal proxy error"))

        try:
            await observe(answer, {**scope, "ccproxy.request_id": id_}, receive, send_with_id, log_exchange)
        except StreamAborted:
            logger.debug("answer broken off (%s)", id_)
            if (break_off := (scope.get("extensions") or {}).get(BREAK_OFF)) is not None:
                break_off()

    def _corrected(self, scope: Scope, path: str) -> Scope:
        """The corrected request of a client whose base URL ends in ``/v1``, to which the client adds another
        ``/v1``.
        """
        fitting = without_repeated_version(path)
        if fitting == path:
            return scope
        if not self._told:
            self._told = True
            logger.warning("a client's ANTHROPIC_BASE_URL ends in /v1, which the client adds itself: remove it there")
        return with_path(scope, fitting)


def raised_error(exc: HTTPException) -> ApiError:
    """The error for a refusal that a foreign layer raises as an exception, such as starlette's 413 for a large body."""
    type_ = "request_too_large" if exc.status_code == 413 else "invalid_request_error"
    return ApiError(exc.status_code, type_ if exc.status_code < 500 else "api_error", exc.detail)
