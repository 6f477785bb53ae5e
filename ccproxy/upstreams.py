"""The providers of a process: an endpoint for each, and the stacks of layers in front of them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import InspectorMiddleware, MemoryBoostCache, MeterMiddleware, PassthroughMiddleware
from ccproxy_middleware.budgets import caps_of
from ccproxy_middleware.conversion.providers import detect_provider
from ccproxy_middleware.inspector import Budgets
from ccproxy_middleware.models import DEFAULT_UPSTREAM
from ccproxy_middleware.routing import Candidate, Pace, Rates, RoutingMiddleware, parse_candidate
from ccproxy_middleware.toolkit.asgi import Headers, route_path, without_headers
from ccproxy_middleware.toolkit.errors import ApiError, send_error
from ccproxy_middleware.toolkit.store import MemoryStore, Store

from .forwarding import AnthropicForward, Forward
from .layers import Parts, conversion, layers_in_use, target_layers, uses_routing
from .ledger import History, Ledger, Sessions
from .logs import logged
from .model_limits import known_contexts, window
from .pages import Tested, corrections_page
from .prices import Endpoint, Prices
from .search import make_search
from .settings import KeysFile, Settings, Upstream, canonical, model_to_try, names_of, planner_candidates
from .state import SharedState

PLANNER_UPSTREAM = "boost-planner"
"""The upstream of BOOST_BASE_URL: a name that no other one can have."""

_CREDENTIALS = (b"authorization", b"x-api-key", b"x-cc-boost-key")


def make_forward(settings: Settings, upstream: Upstream) -> Forward:
    """An endpoint for the settings, with connections of its own."""
    options: dict[str, Any] = {
        "transport": settings.http_transport,
        "timeout": settings.request_timeout,
        "stream_idle_timeout": settings.stream_idle_timeout,
        "max_answer": settings.max_answer * 1024 * 1024,
        "max_retries": settings.max_retries,
    }
    if upstream.is_anthropic:
        return AnthropicForward(
            upstream.base_url, api_keys=upstream.key_texts, client_credential=upstream.client_credential, **options
        )
    return Forward(
        upstream.base_url, api_key=upstream.key_texts or None, api_version=upstream.azure_api_version, **options
    )


def planner_upstream(settings: Settings) -> Upstream | None:
    """The upstream of BOOST_BASE_URL, if there is one."""
    if not settings.enable_boost_support or settings.boost_base_url is None:
        return None
    keys = () if settings.boost_api_key is None else (settings.boost_api_key,)
    return Upstream(PLANNER_UPSTREAM, settings.boost_base_url, keys)


class Upstreams:
    """The default upstream and all others, with the objects that call them.

    ``endpoint`` replaces the default one's. ``inspected``: whether there is an outer InspectorMiddleware. ``forwards``
    are the endpoints by name, whose lifespans must be run; that of BOOST_BASE_URL is one of them.
    """

    def __init__(self, settings: Settings, *, endpoint: ASGIApp | None = None, inspected: bool) -> None:
        self._settings = settings
        self._inspected = inspected
        self.forwards = {
            name: make_forward(settings, settings.upstream(name)) for name in (DEFAULT_UPSTREAM, *settings.upstreams)
        }
        if (planner := planner_upstream(settings)) is not None:
            self.forwards[PLANNER_UPSTREAM] = make_forward(settings, planner)
        self.state = None if settings.state_url is None else SharedState(settings.state_url.get_secret_value())
        self._search = make_search(settings)
        self._endpoints: dict[str, ASGIApp] = dict(self.forwards)
        if endpoint is not None:
            self._endpoints[DEFAULT_UPSTREAM] = endpoint
        elif not settings.has_default:
            self._endpoints[DEFAULT_UPSTREAM] = _NoDefault(settings.upstreams)
        label = "provider" if not settings.enable_boost_support else "executor"
        self.prices = _prices(settings)
        url = None if settings.ledger is None else settings.ledger.get_secret_value()
        self.ledger = None if url is None else Ledger(url, days=settings.ledger_days)
        self.history = _history(settings, url)
        self.sessions: Ledger | Sessions = self.ledger or Sessions()
        self.asked = {
            name: self._seen(logged(self._metered(name, app), "provider", settings), label)
            for name, app in self._endpoints.items()
            if name != PLANNER_UPSTREAM
        }
        for name in settings.upstreams:
            app = corrections_page(self.asked[name])
            self.asked[name] = PassthroughMiddleware(app) if settings.upstreams[name].is_anthropic else app

    @cached_property
    def parts(self) -> Parts:
        """The parts that the layers need."""
        settings = self._settings
        judge = self._asking if settings.safeguards_model is not None and uses_routing(settings) else None
        shows_breaks = self.ledger is not None or settings.inspector
        return Parts(
            planner=self._planner,
            boost=self._boost,
            judge=judge,
            describer=None if settings.vision_model is None else self._seeing,
            contexts=known_contexts(settings),
            store=self._store,
            search=self._search,
            budgets=self._budgets,
            inspector={"history": self.history, "usage": self.ledger, "budgets": self._caps},
            ledger={"price": self.prices, "write": self.sessions.write, "breaks": shows_breaks},
        )

    def routing(self) -> Mapping[str, Any]:
        """The options of RoutingMiddleware in the stack, whose app is the default upstream's."""
        return {"targets": self.targets, "routes": self._settings.routes, **self._shared}

    @cached_property
    def targets(self) -> Mapping[str, ASGIApp]:
        """The stacks of the other upstreams, by name: the layers inside routing, around the endpoint of each."""
        targets = {}
        for name, upstream in self._settings.upstreams.items():
            app = self.asked[name]
            for layer in reversed(target_layers(self._settings, upstream, self.parts)):
                app = _wrapped(app, layer)
            targets[name] = OwnHeaders(app, upstream.headers)
        return targets

    def tested(self, *, converted: bool) -> list[Tested]:
        """The upstreams for ``/test-connection``. ``converted``: whether the default upstream's requests are
        converted.
        """
        settings = self._settings
        stacks = {DEFAULT_UPSTREAM: self.asked[DEFAULT_UPSTREAM], **self.targets}
        if converted:
            stacks[DEFAULT_UPSTREAM] = _wrapped(
                stacks[DEFAULT_UPSTREAM], conversion(settings, settings.upstream(DEFAULT_UPSTREAM), self._store)
            )
        if not settings.has_default:
            del stacks[DEFAULT_UPSTREAM]
        found = []
        for name, app in stacks.items():
            upstream = settings.upstream(name)
            endpoint = OwnHeaders(self.asked[name], upstream.headers)
            found.append(Tested(upstream, app, endpoint, model_to_try(settings, name)))
        return found

    @cached_property
    def _converted(self) -> Mapping[str, ASGIApp]:
        return {name: self._convert(name, app) for name, app in self.asked.items()}

    def _convert(self, name: str, app: ASGIApp, **switches: Any) -> ASGIApp:
        settings = self._settings
        upstream = settings.upstream(name)
        if "format_conversion" in layers_in_use(settings) and not upstream.is_anthropic:
            app = _wrapped(app, conversion(settings, upstream, self._store, **switches))
        return OwnHeaders(app, upstream.headers)

    @cached_property
    def _shared(self) -> Mapping[str, Any]:
        """The objects that all RoutingMiddlewares of this process share."""
        settings = self._settings
        known = {name: settings.upstream(name) for name in (DEFAULT_UPSTREAM, *settings.upstreams)}
        return {
            "keys": {name: key_ids(upstream) for name, upstream in known.items()},
            "paces": {name: self._pace(upstream) for name, upstream in known.items() if upstream.is_paced},
            "windows": lru_cache(maxsize=1024)(partial(window, settings)),
            "queue_timeout": settings.queue_timeout,
            "store": self._store or MemoryStore(),
        }

    @property
    def _budgets(self) -> Mapping[str, Any]:
        """The options of BudgetMiddleware besides the keys: the shared counters, and the layers' own models."""
        settings = self._settings
        named = [*names_of(settings.safeguards_model), *names_of(settings.vision_model)]
        helpers = [parse_candidate(model, {DEFAULT_UPSTREAM, *settings.upstreams}) for model in named]
        if settings.enable_boost_support:
            plain, others = planner_candidates(settings.boost_model, settings.upstreams)
            helpers += [Candidate(PLANNER_UPSTREAM, model) for model in plain]
            helpers += [parse_candidate(model, settings.upstreams) for model in others]
        state = self.state
        shared = {} if state is None else {"counted_by": lambda name, rates: state.limits(f"key:{name}", rates)}
        money = {} if self.ledger is None else {"spending": self.ledger, "has_price": self.prices.has}
        return {"helpers": helpers, **shared, **money}

    @property
    def _caps(self) -> Budgets | None:
        """Returns how far the limits on cost in KEYS_FILE are used; None if there are none."""
        file, ledger = self._settings.keys_file, self.ledger
        if ledger is None or not isinstance(file, KeysFile):
            return None

        async def caps() -> list[dict[str, Any]]:
            now = datetime.now(UTC)
            pairs = [
                (entry.key.name, cap)
                for entry in file.entries
                if not entry.key.revoked
                for cap in caps_of(entry.limits, now)
            ]
            return [
                {
                    **{"key": name, "period": cap.period, "spent": float(await ledger.spent(name, cap.since))},
                    **{"cap": float(cap.dollars), "reset": cap.reset.timestamp()},
                }
                for name, cap in pairs
            ]

        return caps

    @property
    def _store(self) -> Store | None:
        return None if self.state is None else self.state.store

    def _pace(self, upstream: Upstream) -> Pace:
        rates = Rates(upstream.rpm, upstream.tpm, upstream.concurrency)
        limits = None if self.state is None else self.state.limits(upstream.name, rates)
        return Pace(upstream.name, rpm=upstream.rpm, tpm=upstream.tpm, concurrency=upstream.concurrency, limits=limits)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """The connections of all endpoints, and that to the server of STATE_URL."""
        async with AsyncExitStack() as stack:
            self.prices.load()
            if self.ledger is not None:
                await stack.enter_async_context(self.ledger.lifespan())
            if self.history is not None:
                await stack.enter_async_context(self.history.lifespan())
            for forward in self.forwards.values():
                await stack.enter_async_context(forward.lifespan())
            if self._search is not None:
                await stack.enter_async_context(self._search.lifespan())
            if self.state is not None:
                await stack.enter_async_context(self.state.lifespan())
            yield

    @cached_property
    def _seeing(self) -> ASGIApp:
        """The same for questions about images, whatever a profile states about its models' vision."""
        seeing = {name: self._convert(name, app, vision=True) for name, app in self.asked.items()}
        default = seeing.pop(DEFAULT_UPSTREAM)
        return RoutingMiddleware(default, targets=seeing, **self._shared)

    @cached_property
    def _asking(self) -> ASGIApp:
        """An app that answers Anthropic's requests with any upstream: for the layers' own questions."""
        targets = {name: app for name, app in self._converted.items() if name != DEFAULT_UPSTREAM}
        if (planner := planner_upstream(self._settings)) is not None:
            app = logged(self._planner_endpoint, "planner", self._settings)
            targets[PLANNER_UPSTREAM] = _wrapped(app, conversion(self._settings, planner, self._store))
        return RoutingMiddleware(self._converted[DEFAULT_UPSTREAM], targets=targets, **self._shared)

    @property
    def _planner(self) -> ASGIApp | None:
        if not self._settings.enable_boost_support:
            return None
        if self._plans_simply:
            return logged(self._planner_endpoint, "planner", self._settings)
        return self._asking

    @property
    def _plans_simply(self) -> bool:
        """Whether there is one model for plans, at BOOST_BASE_URL."""
        plain, named = planner_candidates(self._settings.boost_model, self._settings.upstreams)
        return len(plain) == 1 and not named

    @property
    def _boost(self) -> Mapping[str, Any]:
        settings = self._settings
        if not settings.enable_boost_support:
            return {}
        cache = MemoryBoostCache() if self.state is None else self.state.plans()
        if self._plans_simply:
            return {"model": settings.boost_model, "cache": cache}
        plain = planner_candidates(settings.boost_model, settings.upstreams)[0]
        models = names_of(settings.boost_model)
        full = [f"{PLANNER_UPSTREAM}:{model}" if model in plain else model for model in models]
        return {"model": canonical(full, settings.upstreams), "planner_api": "anthropic", "cache": cache}

    @property
    def _planner_endpoint(self) -> ASGIApp:
        return self._metered(PLANNER_UPSTREAM, self._endpoints[PLANNER_UPSTREAM])

    def _metered(self, name: str, app: ASGIApp) -> ASGIApp:
        return MeterMiddleware(app, upstream=name, provider=_profile(self._upstream(name)))

    def _upstream(self, name: str) -> Upstream:
        planner = planner_upstream(self._settings) if name == PLANNER_UPSTREAM else None
        return planner or self._settings.upstream(name)

    def _seen(self, app: ASGIApp, label: str) -> ASGIApp:
        return InspectorMiddleware(app, provider=label) if self._inspected else app


def _history(settings: Settings, url: str | None) -> History | None:
    if not settings.history or url is None:
        return None
    return History(url, days=settings.history_days, max_bytes=settings.history_bytes)


def _prices(settings: Settings) -> Prices:
    """The prices of all upstreams."""
    known = [settings.upstream(name) for name in (DEFAULT_UPSTREAM, *settings.upstreams)]
    if (planner := planner_upstream(settings)) is not None:
        known.append(planner)
    endpoints = {upstream.name: Endpoint(upstream.base_url, _profile(upstream)) for upstream in known}
    return Prices(endpoints, settings.prices)


def _profile(upstream: Upstream) -> str:
    """The profile that determines an upstream's prices if its host is not known."""
    if upstream.name == PLANNER_UPSTREAM:
        return detect_provider(upstream.base_url)
    return upstream.provider


class OwnHeaders:
    """In front of one upstream: sets that upstream's own headers, in place of those in the scope for another one."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self.app = app
        self._headers: Headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "ccproxy.custom_headers": self._headers, "headers": _of_client(scope)}
        await self.app(scope, receive, send)


def _of_client(scope: Scope) -> Headers:
    """The client's own headers, without those that were set for another upstream."""
    headers: Headers = scope["headers"]
    foreign = {name.lower() for name, _ in scope.get("ccproxy.custom_headers", ())}
    if not foreign:
        return headers
    sent = scope.get("ccproxy.client_headers", ())
    own = [header for header in sent if header[0].lower() in foreign and header[0].lower() not in _CREDENTIALS]
    return [*without_headers(headers, *foreign), *own]


class _NoDefault:
    """The default upstream, if no key is set for it."""

    def __init__(self, upstreams: Iterable[str]) -> None:
        self._upstreams = ", ".join(upstreams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if route_path(scope) == "/v1/models":
            error = ApiError(404, "not_found_error", "there is no default upstream to list models of")
        else:
            error = ApiError(
                404,
                "not_found_error",
                "no such model: there is no default upstream, for OPENAI_API_KEY is not set; name a model as "
                f"NAME:model, with NAME out of {self._upstreams}",
            )
        await send_error(scope, send, error)


def key_ids(upstream: Upstream) -> tuple[str, ...]:
    """An id for each key of a pool, for counting. No key can be derived from its id."""
    if upstream.client_credential:
        return ("client",)
    return tuple(sha256(key.encode()).hexdigest()[:16] for key in upstream.key_texts)


def _wrapped(app: ASGIApp, layer: Middleware) -> ASGIApp:
    wrapped: ASGIApp = layer.cls(app, *layer.args, **layer.kwargs)
    return wrapped
