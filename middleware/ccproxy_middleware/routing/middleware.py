"""The layer that chooses an upstream."""

from collections.abc import Mapping, Sequence
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission
from ..models import ANSWER_PATHS, COUNT_PATHS
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
)
from .model_lists import ModelLists
from .pace_queue import priority_of
from .rules import Route, named
from .selection import Selection

_SESSION = b"x-claude-code-session-id"


class RoutingMiddleware:
    """Send each request to the upstream of its model, and to the next candidate if that one fails.

    ``app`` is the upstream ``default``; it also gets all requests that are not for a model's answer. targets: further
        upstreams by name. Each is an ASGI app of any kind that answers in the format of the request.
    routes: the rules; the first that matches determines the candidates.
    keys: an id for each key of an upstream's pool, or only ``client`` where the credential is the client's own.
    paces: the limits of upstreams that have a concurrency or rate limit; queue_timeout: seconds for which a request may
        wait in the queue.
    windows: the context windows in tokens, by upstream and model. For any other model, the upstream's own list of
        models is queried when a request was too long for a candidate.
    store: where cool-downs and the keys of sessions are kept; a store of its own without one.

    The first candidate that answers is used; until its first content is sent to the client, the next can take over.
    That happens when the provider fails: no connection, a time-out, 408, 429, 5xx, a refused or exhausted key (401,
    402, 403), a model that no longer exists (404), and a prompt that is too long, if another candidate has a larger
    window. A request that is refused because of its own content is not repeated. After a failure there is a cool-down:
    for an upstream after a failed connection, a time-out and 5xx, for a key after 401, 402 and 403, for a key with its
    model after 429, for a model after 404. It lasts for ``retry-after``, or else five seconds, doubled up to five
    minutes. If all candidates fail, the client gets the error that is most useful to it. Raises ValueError for two
    rules with the same name.

    Reads: ``ccproxy.candidates`` in the scope, the models that may answer, each ``NAME:model`` or, for the default
    upstream, ``model``; without it, the body's model is the only candidate. ``ccproxy.model``, with the name that the
    client ``requested``: ``NAME:model`` or ``claude/NAME:model`` takes precedence over rules and candidates.
    ``x-claude-code-session-id``, by which a session stays on one key. ``ccproxy.error`` and ``ccproxy.reason`` of the
    answers, in which our own layers state why they failed; for foreign targets only the status and the body are
    available.
    Writes: ``model``; ``ccproxy.route``, ``ccproxy.key``, the index of a key in its pool, and ``ccproxy.max_retries``,
    which is 0 where another candidate takes over; ``x-cc-boost-route`` in the answer, and the route in
    ``ccproxy.record``. ``GET /v1/models`` lists the models of all upstreams, those of the named upstreams as
    ``claude/NAME:model``.
    Needs: asyncio.
    Alone: works in front of any ASGI apps that speak Anthropic's or OpenAI's API.
    """

    first_event_grace = 10.5  # seconds of silence until a stream is started: by then an inner converter has started it
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
        self._selection = Selection(self._routes, names)
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
        if not path.endswith(ANSWER_PATHS) and not path.endswith(COUNT_PATHS):
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
        counts = path.endswith(COUNT_PATHS)
        streams = data.get("stream") is True and not counts
        facts = partial(RequestFacts, data, scope)
        if self._routes:
            rule, candidates = await body.work(partial(self._selection.candidates, scope, model, facts))
        else:
            rule, candidates = self._selection.candidates(scope, model, facts)
        del data, facts  # the body releases them when it is replayed
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
