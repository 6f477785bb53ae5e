"""The layer that chooses an upstream."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth import Admission
from ..toolkit.asgi import route_path
from ..toolkit.errors import StreamAborted, read_request
from .candidates import DEFAULT, parse_candidate

_MODEL_PATHS = ("/messages", "/messages/count_tokens", "/chat/completions", "/responses")
_FAILS_OVER = frozenset((401, 402, 403, 404, 408, 429))


class RoutingMiddleware:
    """Ask the first of a request's candidates that answers. ``app`` is the upstream ``default``."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        targets: Mapping[str, ASGIApp] = {},
        routes: Sequence[Any] = (),
        keys: Mapping[str, Sequence[str]] = {},
        paces: Mapping[str, Any] = {},
        windows: Callable[[str, str], int | None] | None = None,
        queue_timeout: float = 60.0,
        store: Any = None,
    ) -> None:
        self.app = app
        self._targets = {DEFAULT: app, **{name.lower(): target for name, target in targets.items()}}
        self._admission = Admission(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not route_path(scope).endswith(_MODEL_PATHS):
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        try:
            data = await body.work(lambda: body.data)
        except ValueError:
            return await self.app(scope, body, send)
        name = data.get("model") if isinstance(data, dict) else None
        if not isinstance(name, str):
            return await self.app(scope, body, send)
        del data
        texts = scope.get("ccproxy.candidates") or (name,)
        for number, text in enumerate(texts, 1):
            candidate = parse_candidate(text, self._targets)
            answer = _Answer(send, holds=number < len(texts))
            inner = {**scope, "ccproxy.key": 0}
            if number < len(texts):
                inner["ccproxy.max_retries"] = 0
            try:
                await self._targets[candidate.upstream](
                    inner, body.with_fields({"model": candidate.model}), answer.send
                )
            except StreamAborted:
                if answer.passes or number == len(texts):
                    raise
            if answer.passes:
                return


class _Answer:
    def __init__(self, send: Send, *, holds: bool) -> None:
        self._send = send
        self._holds = holds
        self.passes = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            self.passes = not self._holds or not (status in _FAILS_OVER or status >= 500)
        if self.passes:
            await self._send(message)
