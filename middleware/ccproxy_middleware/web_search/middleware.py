"""The layer: which requests have the tool, and what the model sees of earlier searches."""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission
from ..toolkit.answers import Leaving
from ..toolkit.asgi import BufferedBody, route_path
from ..toolkit.errors import ApiError, read_request, request_id, send_error
from .backend import SearchBackend
from .history import without_searches
from .output import Output, StreamOutput, WholeOutput
from .searches import Searches
from .tool import SearchTool, read_tool, with_function
from .turn import Turn

_MAX_LAYERS = 100  # an app may reference itself
_PATHS = ("/v1/messages", "/v1/messages/count_tokens")


class WebSearchMiddleware:
    """Run the web searches for which Anthropic clients send the tool ``web_search_*``, in place of Anthropic's servers.

    search: an async function, or an object that can be called like one. It gets a SearchQuery, returns a list of
        SearchResult, and raises SearchError. Up to ten results of a search are used.
    timeout: seconds that a search may take. remember: seconds for which its results are kept in memory.

    The model gets a function in place of the tool. When it calls it, the search is run, and the model is called again
    with the results. The client gets one answer, with the blocks, citations and usage of Anthropic's API. A failed
    search is reported with Anthropic's error codes, and the model answers without it. ``max_uses``, by default 10, and
    both lists of domains are enforced here. Calls of the client's own tools end the answer.

    Raises ValueError for a time that is not above 0.

    Reads: ``POST /v1/messages`` and ``/v1/messages/count_tokens`` with the tool, or with blocks of earlier searches;
    everything else passes untouched.
    Writes: the function in place of the tool. Blocks of earlier searches become text if this layer made them; others
    are removed. To the inner app, one request for each round.
    Needs: asyncio, an inner app that answers Messages requests with a model that calls tools, and a search.
    Alone: works in front of an Anthropic app, or of FormatConversionMiddleware. An outer FormatConversionMiddleware
    finds it if each layer between them has its app as ``app``.
    """

    def __init__(self, app: ASGIApp, *, search: SearchBackend, timeout: float = 10.0, remember: float = 300.0) -> None:
        if not timeout > 0 or not remember > 0:
            raise ValueError("timeout and remember must be above 0")
        self.app = app
        self._admission = Admission(app)
        self._searches = Searches(search, timeout=timeout, remember=remember)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or route_path(scope) not in _PATHS:
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        await self.around(self.app, scope, receive, send)

    async def around(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a ``POST`` of one of the two paths with ``app``, as if the layer stood in front of it."""
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        data = await body.json_object()
        if data is None:
            return await app(scope, body, send)
        scope = {**scope, "ccproxy.request_id": request_id(scope)}
        try:
            tool = read_tool(data)
        except ApiError as error:
            return await send_error(scope, send, error)
        messages = data.get("messages")
        kept = without_searches(messages)
        if kept is not messages:
            data = {**data, "messages": kept}
        if tool is None or route_path(scope) != _PATHS[0] or data.get("max_tokens") == 0:
            return await self._pass(app, scope, body, data, tool, changed=kept is not messages, send=send)
        await self._answer(app, scope, body, data, tool, send)

    async def _pass(
        self,
        app: ASGIApp,
        scope: Scope,
        body: BufferedBody,
        data: dict[str, Any],
        tool: SearchTool | None,
        *,
        changed: bool,
        send: Send,
    ) -> None:
        """Let the inner app answer the request itself."""
        if tool is not None:
            data = with_function(data, tool)
        elif not changed:
            del data  # the body releases it when it is replayed
            return await app(scope, body, send)
        replaced = body.replace(data)
        del data
        await app(scope, replaced, send)

    async def _answer(
        self, app: ASGIApp, scope: Scope, body: BufferedBody, data: Mapping[str, Any], tool: SearchTool, send: Send
    ) -> None:
        body.skip()
        output: Output = StreamOutput(scope, send) if data.get("stream") is True else WholeOutput(scope, send)
        turn = Turn(app, scope, Leaving(body), data, tool, searches=self._searches, output=output, size=body.size)
        del data
        await turn.run()


def search_layer(app: ASGIApp) -> WebSearchMiddleware | None:
    """The layer of this class inside an app, if there is one."""
    inner: Any = app
    for _ in range(_MAX_LAYERS):
        if inner is None or isinstance(inner, WebSearchMiddleware):
            break
        inner = getattr(inner, "app", None)
    return inner if isinstance(inner, WebSearchMiddleware) else None
