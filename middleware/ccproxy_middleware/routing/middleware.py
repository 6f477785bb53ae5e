"""The layer that chooses an upstream."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission
from ..toolkit.asgi import BufferedBody, get_header, route_path
from ..toolkit.asker import read_asker
from ..toolkit.errors import read_request
from ..toolkit.record import get_record
from ..toolkit.store import MemoryStore, Store
from .facts import RequestFacts
from .failover import (
    DEFAULT,
    Candidate,
    Choice,
    ClientAnswer,
    Cooldowns,
    KeyPools,
    Pace,
    Question,
    RoutedExchange,
    Trail,
    Upstreams,
    Windows,
    chosen_by_client,
    parse_candidate,
)
from .pace_queue import priority_of
from .rules import Route, first_match, named

_ASKING = ("/messages", "/chat/completions", "/responses")
_COUNTING = ("/messages/count_tokens", "/responses/input_tokens", "/tokenize", "/apply-template")
_SESSION = b"x-claude-code-session-id"


class RoutingMiddleware:
    """Send each request to the upstream of its model, and to the next candidate where that one fails."""

    first_event_grace = 10.5  # seconds of silence until a stream is begun: a converter inside has begun it by then
    ping_interval = 10.0  # seconds until the next ping

    def __init__(
        self,
        app: ASGIApp,
        *,
        targets: Mapping[str, ASGIApp] = {},
        routes: Sequence[Route] = (),
        keys: Mapping[str, Sequence[str]] = {},
        paces: Mapping[str, Pace] = {},
        windows: Windows | None = None,
        queue_timeout: float = 60.0,
        store: Store | None = None,
    ) -> None:
        self.app = app
        self._admission = Admission(app)
        self._routes = named(routes)
        self._windows = windows
        store = MemoryStore() if store is None else store
        self._shared = Upstreams(
            targets={DEFAULT: app, **{name.lower(): target for name, target in targets.items()}},
            paces={name.lower(): pace for name, pace in paces.items()},
            keys=KeyPools(keys, store),
            cooldowns=Cooldowns(store),
            queue_timeout=queue_timeout,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        path = route_path(scope)
        if not path.endswith(_ASKING) and not path.endswith(_COUNTING):
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
            data = None
        model = data.get("model") if isinstance(data, dict) else None
        if not isinstance(model, str):  # what is wrong with it says whoever reads it
            return await self.app(scope, body, send)
        counts = path.endswith(_COUNTING)
        streams = data.get("stream") is True and not counts
        rule, candidates = self._candidates(scope, data, model)
        del data  # the body lets go of it when it is replayed
        await self._exchange(scope, body, send, model, rule, candidates, counts=counts, streams=streams)

    async def _exchange(
        self,
        scope: Scope,
        body: BufferedBody,
        send: Send,
        model: str,
        rule: str,
        candidates: Sequence[Candidate],
        *,
        counts: bool,
        streams: bool,
    ) -> None:
        shared = self._shared
        record = get_record(scope)
        question = Question(
            scope,
            body,
            model,
            counts=counts,
            priority=priority_of(read_asker(scope["headers"]) if record is None else record.asker),
            session=get_header(scope["headers"], _SESSION),
            record=record,
        )
        choice = Choice(candidates, lambda name: shared.keys.order(name, scope), shared.cooldowns, self._windows)
        requested = (scope.get("ccproxy.model") or {}).get("requested") or model
        client = ClientAnswer(
            scope,
            send,
            streams=streams,
            model=requested,
            grace=self.first_event_grace,
            interval=self.ping_interval,
        )
        await RoutedExchange(shared, question, choice, Trail(rule, record), client).run()

    def _candidates(self, scope: Scope, data: Any, model: str) -> tuple[str, list[Candidate]]:
        """The name of the rule, and the candidates."""
        upstreams = self._shared.targets
        known = scope.get("ccproxy.model") or {}
        fixed = bool(known.get("fixed"))  # a layer of ours has chosen
        chosen = None if fixed else chosen_by_client(str(known.get("requested") or model), upstreams)
        if chosen is not None:
            return "client", [chosen]
        route = first_match(self._routes, RequestFacts(data, scope)) if self._routes and not fixed else None
        if route is not None:
            return route.name, [parse_candidate(text, upstreams) for text in route.models]
        texts = scope.get("ccproxy.candidates") or (model,)
        return "tier", [parse_candidate(text, upstreams) for text in texts]
