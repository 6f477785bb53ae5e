"""Bodies in the log, to find a fault between two programs that each seem correct."""

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy_middleware.redaction import Secrets
from ccproxy_middleware.toolkit.asgi import get_header
from ccproxy_middleware.toolkit.errors import request_id

if TYPE_CHECKING:
    from ..settings import Settings

logger = logging.getLogger("ccproxy.bodies")

SHOWN = 8 * 1024
"""Characters of a body that are logged."""

_READ = 256 * 1024  # bytes that are examined; longer bodies are mostly images, which are shortened
_EDGE = 512  # bytes at a cut end that may contain half of a secret
_MASK = "***"

_BASE64 = re.compile(r"[A-Za-z0-9+/]{256,}={0,2}")
_CREDENTIALS = re.compile(
    r"""(?i)(\b(?:bearer|basic)\s+"""
    r"""|["']?(?:api[-_]?key|authorization|access[-_]?token|password|secret)["']?\s*[:=]\s*\\?["']?(?:(?:bearer|basic)\s+)?)"""
    r"""([^\s"'\\,}]{4,})|\bsk-[A-Za-z0-9_-]{12,}"""
)


class BodyLog:
    """Log the bodies of each request and its answer at DEBUG.

    ``side`` names in the log the other party: client or provider. ``secrets`` are removed wherever they occur, and so
    is
    anything that looks like a credential. Base64 is shortened. Everything after the first SHOWN characters is cut off.
    """

    def __init__(self, app: ASGIApp, *, side: str, secrets: Iterable[str]) -> None:
        self.app = app
        self._side = side
        self._secrets = Secrets([secret.encode() for secret in secrets], shortest=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not logger.isEnabledFor(logging.DEBUG):
            return await self.app(scope, receive, send)
        id_ = request_id(scope)
        request, answer = _Collected(), _Collected()

        async def receive_noted() -> Message:
            message = await receive()
            if message["type"] == "http.request" and request.add(message):
                self._log("request", request, scope["headers"], id_)
            return message

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message.get("headers", ()))}
                answer.headers = message["headers"]
            elif message["type"] == "http.response.body":
                answer.add(message)
            await send(message)

        try:
            await self.app({**scope, "ccproxy.request_id": id_}, receive_noted, send_noted)
        finally:
            self._log("answer", answer, answer.headers, id_)

    def _log(self, what: str, body: "_Collected", headers: Iterable[tuple[bytes, bytes]], id_: str) -> None:
        if not body.size:
            return
        encoding = get_header(headers, b"content-encoding") or "identity"
        text = self.shown(bytes(body.data), body.size) if encoding == "identity" else f"({encoding})"
        extra = {"request_id": id_, "side": self._side, "bytes": body.size, "body": text}
        logger.debug("%s's %s", self._side, what, extra=extra)

    def shown(self, data: bytes, size: int) -> str:
        """The loggable part of a body of ``size`` bytes that begins with ``data``."""
        is_cut = len(data) < size
        data = self._secrets.redact(data, _MASK.encode())
        if is_cut:
            data = data[: max(0, len(data) - max(_EDGE, self._secrets.open_end(data)))]
        text = data.decode(errors="replace")
        text = _CREDENTIALS.sub(lambda found: (found[1] or "") + _MASK, text)
        text = _BASE64.sub(lambda found: f"{found[0][:16]}...({len(found[0])} characters)", text)
        return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def logged(app: ASGIApp, side: str, settings: "Settings") -> ASGIApp:
    """The app; its bodies are logged if LOG_BODIES says so."""
    if not settings.log_bodies:
        return app
    return BodyLog(app, side=side, secrets=settings.secrets())


class _Collected:
    """Collects the beginning of a body as it passes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0
        self.headers: list[tuple[bytes, bytes]] = []

    def add(self, message: Message) -> bool:
        """Add a message's part. Returns whether it was the last."""
        part = message.get("body", b"")
        self.size += len(part)
        self.data += part[: max(0, _READ - len(self.data))]
        return not message.get("more_body", False)
