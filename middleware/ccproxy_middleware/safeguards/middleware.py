"""The layer: which answers get verdicts, and which model gives them."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission
from ..toolkit.answers import Leaving
from ..toolkit.asgi import BufferedBody, route_path, with_path, without_headers
from ..toolkit.errors import read_request
from .answer import SafeguardedAnswer, asks_for_verdicts
from .judge import OPENAI_PATHS, Judge


class SafeguardsMiddleware:
    """Add verdicts on which tool calls are dangerous, for clients that request them, as Claude Code does in auto mode.

    model: the inner app's model that judges. It is requested by exactly this name and returns a severity from 0 to 100;
        above 50 is flagged. Of several, which require an inner RoutingMiddleware or ``judge``, the others are
        fallbacks.
    judge: an app that answers ``POST /v1/messages``, used instead of the inner one.
    timeout: seconds for which the end of an answer may wait for verdicts. A verdict that is missing by then is reported
        as unavailable.

    Raises ValueError for a model without a name, and a timeout that is not above 0.

    Reads: ``POST /v1/messages`` with ``safeguards`` of the type ``dangerous_tool_use``; everything else passes
    untouched. ``ccproxy.safeguards`` in the scope, with which an outer FormatConversionMiddleware delegates the request
    to an inner layer of this class.
    Writes: ``safeguard_results`` in ``message_delta`` or at the top level of the message, which wait for the verdicts
    while the text before them is sent; ``safeguards`` is removed from the request. To the inner app, one request for
    each call, all concurrently, in the protocol of the path: Messages, or inside FormatConversionMiddleware the API of
    the converted request, Chat Completions or Responses.
    Needs: asyncio, and an inner app that has the model, in that protocol.
    Alone: works in front of an Anthropic app. Without it, FormatConversionMiddleware reports verdicts as unsupported.
    """

    def __init__(
        self, app: ASGIApp, *, model: str | Sequence[str], timeout: float = 20.0, judge: ASGIApp | None = None
    ) -> None:
        models = (model,) if isinstance(model, str) else tuple(model)
        if not models or not all(models):
            raise ValueError("the model that judges needs a name")
        if not timeout > 0:
            raise ValueError("timeout must be above 0")
        self.app = app
        self._models = models
        self._judge = judge
        self._timeout = timeout
        self._admission = Admission(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        path = route_path(scope)
        answer: SafeguardedAnswer | None = scope.get("ccproxy.safeguards")
        if path != "/v1/messages" and (answer is None or not path.endswith(OPENAI_PATHS)):
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        if answer is None:
            try:
                data = await body.work(lambda: body.data)
            except ValueError:
                return await self.app(scope, body, send)
            if not asks_for_verdicts(data):
                del data  # the body releases it when it is replayed
                return await self.app(scope, body, send)
            answer = SafeguardedAnswer(send, body)
            send = answer.send
            leaving = Leaving(body)
            rest = {name: value for name, value in data.items() if name != "safeguards"}
            inner = BufferedBody(leaving, data=rest, size=body.size)
            headers = without_headers(scope["headers"], b"accept-encoding", b"content-length", b"transfer-encoding")
            scope = {**scope, "headers": [*headers, (b"accept-encoding", b"identity")]}
            body.let_go()
            del data, rest
        else:
            leaving = Leaving(body)
            inner = BufferedBody(leaving, body.body, size=body.size)
        body.skip()
        asked = scope if self._judge is None else with_path(scope, "/v1/messages")
        answer.judge = Judge(self._judge or self.app, asked, leaving, models=self._models, timeout=self._timeout)
        await self.app(scope, inner, send)
