"""The layer: whose answers get verdicts, and who gives them."""

from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission
from ..toolkit.asgi import BufferedBody, route_path, without_headers
from ..toolkit.errors import read_request
from ..toolkit.leaving import Leaving
from .answer import SafeguardedAnswer, asks_for_verdicts
from .judge import OPENAI_PATHS, Judge


class SafeguardsMiddleware:
    """Tell clients that ask for it, as Claude Code does in auto mode, which tool calls of an answer are dangerous.

    model: the inner app's model that judges, asked by this very name for a severity from 0 to 100; above 50 is flagged.
    timeout: seconds that the end of an answer may wait for it. What is not clear by then is told as unavailable.

    Raises ValueError for a model without a name, and a timeout that is not above 0.

    Reads: ``POST /v1/messages`` with ``safeguards`` of the type ``dangerous_tool_use``; everything else passes
    untouched. ``ccproxy.safeguards`` in the scope, by which an outer FormatConversionMiddleware passes the matter on to
    a layer that stands inside of it.
    Writes: ``safeguard_results`` in ``message_delta`` or at the top of the message, which wait for it while the text
    before them goes out; ``safeguards`` is taken out of the request. To the inner app a request of its own for each
    call, all at once, in the protocol of the path: Messages, or inside of FormatConversionMiddleware the API by which
    it has asked for the answer, Chat Completions or Responses.
    Needs: asyncio, and an inner app that has the model, in that protocol.
    Alone: works in front of an Anthropic app. Without it, FormatConversionMiddleware tells that nobody judges.
    """

    def __init__(self, app: ASGIApp, *, model: str, timeout: float = 20.0) -> None:
        if not model:
            raise ValueError("the model that judges needs a name")
        if not timeout > 0:
            raise ValueError("timeout must be above 0")
        self.app = app
        self._model = model
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
                del data  # the body lets go of it when it is replayed
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
        answer.judge = Judge(self.app, scope, leaving, model=self._model, timeout=self._timeout)
        await self.app(scope, inner, send)
