"""The layer: which requests are boosted."""

from collections.abc import Collection, Sequence

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission
from ..conversion.counting import estimate_tokens
from ..models import TIERS, tier_of
from ..toolkit.asgi import BufferedBody, ClientDisconnected, route_path
from ..toolkit.errors import read_request, request_id
from ..toolkit.json import check_depth
from ..toolkit.safety_checks import is_safety_check
from ..web_search import is_search_tool
from .cache import BoostCache, MemoryBoostCache
from .dialect import Dialect, Payload, dialect_of
from .loop import BoostLoop
from .planner import Planner, PlannerApi
from .plans import Plans
from .prompt import DEFAULT_TEMPLATE, Template
from .reply import Reply
from .tools import offered_tools


class BoostMiddleware:
    """Let a strong model without tools make a plan, and the inner app's model execute it with its tools.

    planner: an ASGI app that answers ``POST /chat/completions``, with streams. It is called for ``model`` with at most
        ``max_tokens`` tokens, and gets no header of the client's. Of several models, which require a RoutingMiddleware,
        the others are fallbacks.
    planner_api: ``anthropic`` for a planner that answers ``POST /v1/messages`` instead.
    tiers: the ones of ``BIG_MODEL``, ``MIDDLE_MODEL``, ``SMALL_MODEL`` to boost; none: every request.
    template: the planner's prompt, with placeholders (:mod:`.prompt`).
    max_loops: the maximum number of attempts at planning and execution before the plain request is sent.
    cache: where plans are kept; without one, 256 plans are kept in memory, each for 60 seconds.

    Raises ValueError for a tier, template or number that can't be used.

    Reads: ``POST /v1/messages``, ``*/chat/completions`` and ``*/responses`` with tools, so it may stand on either side
    of FormatConversionMiddleware; ``ccproxy.model`` in the scope, without which the tier follows from the model's name.
    Everything else passes untouched, and so does a request for an answer that follows a JSON schema, one with
    ``tool_choice`` none, or one in which Claude Code's auto mode asks whether an action is safe.
    Writes: the guidance, as an additional system message; ``x-boost-loops`` and ``x-boost-outcome`` on the answer,
    whose usage is the sum over all calls.
    Needs: asyncio, a planner, and an inner app whose model calls tools.
    Alone: works in front of an OpenAI or an Anthropic app, depending on the path of the request.
    """

    first_event_grace = 10.0  # seconds of silence until an Anthropic stream is started
    ping_interval = 10.0  # seconds without output until a ping

    def __init__(
        self,
        app: ASGIApp,
        *,
        planner: ASGIApp,
        model: str | Sequence[str],
        planner_api: PlannerApi = "chat",
        tiers: Collection[str] = (),
        template: str | None = None,
        max_loops: int = 3,
        cache: BoostCache | None = None,
        max_tokens: int = 4096,
    ) -> None:
        models = (model,) if isinstance(model, str) else tuple(model)
        if not models or not all(models):
            raise ValueError("the planner's model needs a name")
        if unknown := sorted(set(tiers).difference(TIERS)):
            raise ValueError(f"unknown tier {unknown[0]!r}; there are {', '.join(TIERS)}")
        if max_loops < 1 or max_tokens < 1:
            raise ValueError("max_loops and max_tokens must be at least 1")
        self.app = app
        self._admission = Admission(app)
        self._tiers = frozenset(tiers)
        self._template = Template(DEFAULT_TEMPLATE if template is None else template)
        self._max_loops = max_loops
        self._model = models[0]
        asked = Planner(planner, models=models, max_tokens=max_tokens, api=planner_api)
        self._plans = Plans(asked, cache or MemoryBoostCache())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dialect = dialect_of(route_path(scope)) if scope["type"] == "http" and scope["method"] == "POST" else None
        if dialect is None:
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        try:
            data = await body.work(lambda: body.data)
            await body.work(lambda: check_depth(data))
        except ValueError:
            data = None
        if not isinstance(data, dict) or not self._is_boosted(scope, data, dialect):
            del data  # the body releases it when it is replayed
            return await self.app(scope, body, send)
        try:
            await self._boost({**scope, "ccproxy.request_id": request_id(scope)}, body, data, send, dialect)
        except ClientDisconnected:
            return

    def _is_boosted(self, scope: Scope, data: Payload, dialect: Dialect) -> bool:
        messages = dialect.messages(data)
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages) or not messages:
            return False
        offered = offered_tools(data)
        if all(map(is_search_tool, offered)) or dialect.tool_choice(data) == "none" or dialect.fixes_format(data):
            return False
        if data.get("max_tokens") == 0 or is_safety_check(data, scope):  # the first fills a prompt cache
            return False
        known = scope.get("ccproxy.model") or {}
        return not self._tiers or (known.get("tier") or tier_of(str(data.get("model")))) in self._tiers

    async def _boost(self, scope: Scope, body: BufferedBody, data: Payload, send: Send, dialect: Dialect) -> None:
        known = scope.get("ccproxy.model") or {}
        reply = Reply(
            scope,
            send,
            dialect,
            model=str(known.get("requested") or data.get("model")),
            planner=self._model,
            stream=data.get("stream") is True,
            include_usage=dialect.includes_usage(data),
            estimate_input=lambda: estimate_tokens(body.body.decode(errors="replace")),
        )
        body.skip()
        loop = BoostLoop(
            self.app,
            scope,
            body,
            data,
            dialect=dialect,
            reply=reply,
            plans=self._plans,
            template=self._template,
            max_loops=self._max_loops,
        )
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:  # it would wrap what is raised inside in a group
            tasks.start_soon(reply.keep_alive, self.first_event_grace, self.ping_interval)
            try:
                await loop.run()
            except Exception as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback holds this frame
