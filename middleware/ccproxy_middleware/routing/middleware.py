"""The layer that chooses an upstream."""

from collections.abc import Mapping, Sequence
from functools import partial
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
    CandidateWindows,
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
    remembered,
)
from .model_lists import ModelLists
from .pace_queue import priority_of
from .rules import Route, first_match, named

_ASKING = ("/messages", "/chat/completions", "/responses")
_COUNTING = ("/messages/count_tokens", "/responses/input_tokens", "/tokenize", "/apply-template")
_SESSION = b"x-claude-code-session-id"


class RoutingMiddleware:
    """Send each request to the upstream of its model, and to the next candidate where that one fails.

    ``app`` is the upstream ``default``; it also gets all that is no request for an answer. targets: further ones by
        name. Each is an ASGI app of any kind that answers in the form in which it is asked.
    routes: the rules, of which the first that fits tells the candidates.
    keys: an id for each key of an upstream's pool, or ``client`` alone where the credential is the client's own.
    paces: of the upstreams that are not asked as often as one likes; queue_timeout: seconds for which a request waits.
    windows: the tokens that a model takes, by upstream and model; what it doesn't know, the upstreams' own lists of
        models tell when a request was too long for a candidate.
    store: where cool-downs and the keys of sessions are kept; its own without one.

    The first candidate that answers is the one: until its first content goes to the client, the next can take over. A
    failure of a provider does that: no connection, a time-out, 408, 429, 5xx, a refused or spent key (401, 402, 403),
    a model that is gone (404), and a prompt that is too long, if another candidate has a larger window. A request that
    is refused for itself is not repeated. What has failed is left alone for a while: an upstream after a failed
    connect, a time-out and 5xx, a key after 401, 402 and 403, a key with its model after 429, a model after 404; for
    ``retry-after``, or else five seconds, doubled up to five minutes. Where all fail, the client gets the error that
    helps it most. Raises ValueError for two rules of one name.

    Reads: ``ccproxy.candidates`` in the scope, the models that may answer, each ``NAME:model`` or, for the default
    upstream, ``model``, without which it is the body's; ``ccproxy.model``, with the name that the client ``requested``:
    ``NAME:model`` or ``claude/NAME:model`` goes before rules and candidates. ``x-claude-code-session-id``, by which a
    session stays on one key. ``ccproxy.error`` and ``ccproxy.reason`` of the answers, where our own layers tell why
    they fail; of foreign targets only the status and the body tell.
    Writes: ``model``; ``ccproxy.route``, ``ccproxy.key``, the index of a key in its pool, and ``ccproxy.max_retries``,
    0 where another candidate takes over; ``x-cc-boost-route`` in the answer, what ``ccproxy.record`` tells of the
    route. ``GET /v1/models`` lists the models of all upstreams, those of others as ``claude/NAME:model``.
    Needs: asyncio.
    Alone: works in front of any ASGI apps that speak Anthropic's or OpenAI's API.
    """

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
        store = MemoryStore() if store is None else store
        names = frozenset((DEFAULT, *map(str.lower, targets)))

        self._parsed = remembered(lambda texts: tuple(parse_candidate(text, names) for text in texts))
        by_name = {DEFAULT: app, **{name.lower(): target for name, target in targets.items()}}
        self._lists = ModelLists(by_name)
        self._shared = Upstreams(
            targets=by_name,
            paces={name.lower(): pace for name, pace in paces.items()},
            keys=KeyPools(keys, store),
            cooldowns=Cooldowns(store),
            windows=CandidateWindows(windows, self._lists.window),
            queue_timeout=queue_timeout,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["method"] != "POST":
            if not self._lists.answers(scope):
                return await self.app(scope, receive, send)
            if not await self._admission.refuses(scope, send):
                await self._lists.answer(scope, receive, send)
            return
        path = route_path(scope)
        if not path.endswith(_ASKING) and not path.endswith(_COUNTING):
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        data = await body.json_object()
        if data is None or not isinstance(model := data.get("model"), str):
            return await self.app(scope, body, send)
        counts = path.endswith(_COUNTING)
        streams = data.get("stream") is True and not counts
        if self._routes:
            rule, candidates = await body.work(partial(self._candidates, scope, data, model))
        else:
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
        candidates: tuple[Candidate, ...],
        *,
        counts: bool,
        streams: bool,
    ) -> None:
        shared = self._shared
        record = get_record(scope)
        paced = bool(shared.paces)
        question = Question(
            scope,
            body,
            model,
            counts=counts,
            priority=priority_of(read_asker(scope["headers"]) if record is None else record.asker) if paced else 0,
            session=get_header(scope["headers"], _SESSION) if paced else None,
            record=record,
        )
        choice = Choice(shared.keys.options(candidates, scope), shared.cooldowns, shared.windows.find)
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

    def _candidates(self, scope: Scope, data: Any, model: str) -> tuple[str, tuple[Candidate, ...]]:
        """The name of the rule, and the candidates."""
        known = scope.get("ccproxy.model") or {}
        fixed = bool(known.get("fixed"))  # a layer of ours has chosen
        if not fixed:
            chosen = chosen_by_client(str(known.get("requested") or model), self._shared.targets)
            if chosen is not None:
                return "client", (chosen,)
            if self._routes and (route := first_match(self._routes, RequestFacts(data, scope))) is not None:
                return route.name, self._parsed(route.models)
        return "tier", self._parsed(tuple(scope.get("ccproxy.candidates") or (model,)))
