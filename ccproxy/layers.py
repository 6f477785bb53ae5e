"""The stack of layers that ``CCPROXY_LAYERS`` defines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    BudgetMiddleware,
    ConcurrencyLimitMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    InspectorMiddleware,
    LedgerMiddleware,
    MetricsMiddleware,
    ModelMappingMiddleware,
    PromptedToolsMiddleware,
    SafeguardsMiddleware,
    VisionMiddleware,
    WebSearchMiddleware,
)
from ccproxy_middleware.routing import RoutingMiddleware
from ccproxy_middleware.toolkit.store import Store

from .search import Search
from .settings import KeysFile, canonical, import_layer, named_models, names_of, tier_models

if TYPE_CHECKING:
    from .settings import Settings, Upstream


@dataclass(frozen=True, slots=True)
class Parts:
    """The arguments of layers that don't come from the settings.

    planner: the app that boost calls, with ``boost`` for its options. judge: the app that gives the verdicts, where it
    is not the inner one. describer: the app that describes images. routing: the options of RoutingMiddleware. store:
    the store that all processes share, if they do. search: runs web searches. budgets: further options of
    BudgetMiddleware. ledger: the options of LedgerMiddleware. inspector: further options of InspectorMiddleware.
    """

    planner: ASGIApp | None = None
    boost: Mapping[str, Any] = field(default_factory=dict)
    judge: ASGIApp | None = None
    describer: ASGIApp | None = None
    routing: Mapping[str, Any] = field(default_factory=dict)
    contexts: Mapping[str, int | None] = field(default_factory=dict)
    store: Store | None = None
    search: Search | None = None
    budgets: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    inspector: Mapping[str, Any] = field(default_factory=dict)


def layers_in_use(settings: "Settings") -> list[str]:
    """The names in CCPROXY_LAYERS, without our layers that the settings don't enable."""
    off = {
        "metrics": not settings.metrics,
        "inspector": not settings.inspector,
        "budgets": settings.keys_file is None,
        "concurrency_limit": not settings.max_concurrency,
        "safeguards": settings.safeguards_model is None,
        "boost": not settings.enable_boost_support,
        "vision": settings.vision_model is None,
        "routing": not uses_routing(settings),
        "web_search": settings.web_search in (None, "provider"),
    }
    return [name for name in settings.ccproxy_layers if not off.get(name)]


def uses_routing(settings: "Settings") -> bool:
    """Whether there is a choice of upstreams, or a queue."""
    lists = (*tier_models(settings).values(), settings.classifier_model, settings.safeguards_model)
    default = settings.upstream("default")
    return bool(
        settings.upstreams
        or settings.routes_file
        or any(len(names_of(models)) > 1 for models in lists)
        or len(default.api_keys) > 1
        or default.is_paced
    )


def make_layers(settings: "Settings", parts: Parts) -> list[Middleware]:
    """The stack of the default upstream, outermost layer first."""
    names = layers_in_use(settings)
    return [_layer(name, settings, settings.upstream("default"), parts) for name in names]


def target_layers(settings: "Settings", upstream: "Upstream", parts: Parts) -> list[Middleware]:
    """The layers inside routing, for another upstream, outermost first."""
    names = layers_in_use(settings)
    left_out = _ONCE | (_CONVERTING if upstream.is_anthropic else frozenset())
    inside = names[names.index("routing") + 1 :] if "routing" in names else []
    return [_layer(name, settings, upstream, parts) for name in inside if name not in left_out]


_ONCE = frozenset(  # one instance for all upstreams
    ("metrics", "inspector", "ledger", "custom_headers", "model_mapping", "budgets")
)
_CONVERTING = frozenset(("safeguards", "web_search", "vision", "prompted_tools", "format_conversion"))


def conversion_options(settings: "Settings", upstream: "Upstream | None" = None) -> dict[str, Any]:
    """The profile's switches: PROVIDER_OPTIONS, the limits of ``max_tokens``, and the API if the URL determines it."""
    upstream = upstream or settings.upstream("default")
    options = dict(upstream.provider_options)
    if upstream.api != "auto":
        options["api"] = upstream.api
    if upstream.provider == "azure" and not upstream.base_url.rstrip("/").endswith("/openai/v1"):
        options.setdefault("api", "chat")  # the older form of its URLs has no Responses API
    if settings.web_search == "provider":
        options.setdefault("web_search", "hosted")
    limits = (settings.max_tokens_limit, options.get("max_output"))
    options["max_output"] = min(limit for limit in limits if isinstance(limit, int))
    if settings.min_tokens_limit is not None:
        options["min_output"] = settings.min_tokens_limit
    return options


def set_contexts(settings: "Settings") -> dict[str, int | None]:
    """The configured context sizes, by tier; a model that is used for several tiers has one size."""
    by_tier = {
        "BIG_MODEL": (settings.big_model, settings.big_context),
        "MIDDLE_MODEL": (settings.middle_model, settings.middle_context),
        "SMALL_MODEL": (settings.small_model, settings.small_context),
    }
    of_model = {model: context for model, context in by_tier.values() if context}
    return {tier: context or of_model.get(model) for tier, (model, context) in by_tier.items()}


def conversion(settings: "Settings", upstream: "Upstream", store: Store | None = None, **switches: Any) -> Middleware:
    """The layer that converts for an upstream, with ``switches`` of its profile that override the configured ones.

    ``store`` keeps what is learned from refusals.
    """
    return _Layer(
        FormatConversionMiddleware,
        provider=upstream.provider,
        options=conversion_options(settings, upstream) | switches,
        stream_idle_timeout=settings.stream_idle_timeout,
        max_answer=settings.max_answer * 1024 * 1024,
        store=store,
        store_name=f"{upstream.name} {upstream.base_url}",
        setting=upstream.own_names("PROVIDER_OPTIONS"),
        limit_settings=_limit_settings(settings, upstream),
    )


def _limit_settings(settings: "Settings", upstream: "Upstream") -> dict[str, str]:
    """The settings that define the limits of ``max_tokens``."""
    own = upstream.provider_options.get("max_output")
    is_own = isinstance(own, int) and own < settings.max_tokens_limit
    names = {"max_output": f"max_output in {upstream.own_names('PROVIDER_OPTIONS')}" if is_own else "MAX_TOKENS_LIMIT"}
    return names if settings.min_tokens_limit is None else {**names, "min_output": "MIN_TOKENS_LIMIT"}


class _Layer(Middleware):
    """One of our layers. Its options contain keys, which starlette's ``repr`` would show."""

    def __repr__(self) -> str:
        return f"Middleware({getattr(self.cls, '__name__', self.cls)})"


def _clients(settings: "Settings") -> dict[str, Any]:
    return {"allowed_hosts": settings.allowed_hosts, **_keys(settings)}


def _keys(settings: "Settings") -> dict[str, Any]:
    named = settings.keys_file.named if isinstance(settings.keys_file, KeysFile) else None
    return {"api_keys": settings.client_keys, "named_keys": named}


def _layer(name: str, settings: "Settings", upstream: "Upstream", parts: Parts) -> Middleware:
    match name:
        case own if ":" in own:
            return Middleware(import_layer(own))
        case "metrics":
            models = {named.model for named in named_models(settings)}
            return _Layer(MetricsMiddleware, **_clients(settings), admin_keys=settings.admin_keys, models=models)
        case "inspector":
            options = conversion_options(settings)
            more = {"admin_keys": settings.admin_keys, "options": options, **parts.inspector}
            return _Layer(InspectorMiddleware, **_keys(settings), **more)
        case "ledger":
            return _Layer(LedgerMiddleware, **parts.ledger)
        case "auth":
            return _Layer(AuthMiddleware, **_clients(settings))
        case "concurrency_limit":
            return _Layer(ConcurrencyLimitMiddleware, limit=settings.max_concurrency)
        case "custom_headers":
            return _Layer(CustomHeadersMiddleware, headers=settings.custom_headers)
        case "model_mapping":
            return _Layer(
                ModelMappingMiddleware,
                big=names_of(settings.big_model),
                middle=names_of(settings.middle_model),
                small=names_of(settings.small_model),
                contexts=parts.contexts or set_contexts(settings),
                classifier=names_of(settings.classifier_model) or None,
                upstreams=tuple(settings.upstreams),
            )
        case "budgets" if isinstance(settings.keys_file, KeysFile):
            return _Layer(
                BudgetMiddleware,
                limits=settings.keys_file.limits,
                upstreams=tuple(settings.upstreams),
                routes=settings.routes if "routing" in layers_in_use(settings) else (),
                **parts.budgets,
            )
        case "routing":
            return _Layer(RoutingMiddleware, **parts.routing)
        case "safeguards":
            model = canonical(names_of(settings.safeguards_model), settings.upstreams)
            judge = {} if parts.judge is None else {"judge": parts.judge}
            return _Layer(SafeguardsMiddleware, model=model, timeout=settings.safeguards_timeout, **judge)
        case "boost" if parts.planner is not None:
            planner = parts.planner
            return _Layer(
                BoostMiddleware,
                planner=InspectorMiddleware(planner, provider="planner") if settings.inspector else planner,
                tiers=settings.enable_boost_support,
                template=settings.boost_wrapper_template,
                **parts.boost,
            )
        case "web_search":
            return _Layer(WebSearchMiddleware, search=parts.search or Search(settings))
        case "vision" if settings.vision_model is not None:
            return _Layer(
                VisionMiddleware,
                model=canonical(names_of(settings.vision_model), settings.upstreams),
                describer=parts.describer,
                provider=upstream.provider,
                options=conversion_options(settings, upstream),
                store=parts.store,
            )
        case "prompted_tools":
            return _Layer(
                PromptedToolsMiddleware,
                provider=upstream.provider,
                options=conversion_options(settings, upstream),
                boosted=settings.enable_boost_support,
                max_answer=settings.max_answer * 1024 * 1024,
            )
        case _:
            order = settings.ccproxy_layers
            seen = settings.vision_model and "vision" in order and order.index("vision") > order.index(name)
            return conversion(settings, upstream, parts.store, **({"vision": True} if seen else {}))
