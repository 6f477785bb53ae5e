"""The stack of layers that ``CCPROXY_LAYERS`` puts together."""

from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    ConcurrencyLimitMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    InspectorMiddleware,
    MetricsMiddleware,
    ModelMappingMiddleware,
    SafeguardsMiddleware,
    WebSearchMiddleware,
)

from .search import Search
from .settings import import_layer

if TYPE_CHECKING:
    from .settings import Settings


def layers_in_use(settings: "Settings") -> list[str]:
    """The names of CCPROXY_LAYERS without those of ours that the settings don't turn on."""
    off = {
        "metrics": not settings.metrics,
        "inspector": not settings.inspector,
        "concurrency_limit": not settings.max_concurrency,
        "safeguards": settings.safeguards_model is None,
        "boost": not settings.enable_boost_support,
        "web_search": settings.web_search in (None, "provider"),
    }
    return [name for name in settings.ccproxy_layers if not off.get(name)]


def make_layers(settings: "Settings", planner: ASGIApp | None, search: Search | None = None) -> list[Middleware]:
    """The stack, outermost layer first. ``planner`` is there where boost is enabled, ``search`` with WEB_SEARCH."""
    return [
        Middleware(import_layer(name)) if ":" in name else _make_layer(name, settings, planner, search)
        for name in layers_in_use(settings)
    ]


def conversion_options(settings: "Settings") -> dict[str, Any]:
    """The profile's switches: PROVIDER_OPTIONS, the limits of ``max_tokens``, and the API where the URL tells it."""
    options = dict(settings.provider_options)
    if settings.provider == "azure" and not settings.openai_base_url.rstrip("/").endswith("/openai/v1"):
        options.setdefault("api", "chat")  # the older form of its URLs has no Responses
    if settings.web_search == "provider":
        options.setdefault("web_search", "hosted")
    limits = (settings.max_tokens_limit, options.get("max_output"))
    options["max_output"] = min(limit for limit in limits if isinstance(limit, int))
    if settings.min_tokens_limit is not None:
        options["min_output"] = settings.min_tokens_limit
    return options


def set_contexts(settings: "Settings") -> dict[str, int | None]:
    """The context sizes that are set, by tier; a model that stands for several tiers has one."""
    by_tier = {
        "BIG_MODEL": (settings.big_model, settings.big_context),
        "MIDDLE_MODEL": (settings.middle_model, settings.middle_context),
        "SMALL_MODEL": (settings.small_model, settings.small_context),
    }
    of_model = {model: context for model, context in by_tier.values() if context}
    return {tier: context or of_model.get(model) for tier, (model, context) in by_tier.items()}


class _Layer(Middleware):
    """One of ours. Its options hold keys, which starlette's ``repr`` would show."""

    def __repr__(self) -> str:
        return f"Middleware({getattr(self.cls, '__name__', self.cls)})"


def _clients(settings: "Settings") -> dict[str, Any]:
    return {"api_keys": settings.client_keys, "allowed_hosts": settings.allowed_hosts}


def _make_layer(name: str, settings: "Settings", planner: ASGIApp | None, search: Search | None) -> Middleware:
    match name:
        case "metrics":
            models = (settings.big_model, settings.middle_model, settings.small_model)
            return _Layer(MetricsMiddleware, **_clients(settings), models=models)
        case "inspector":
            options = conversion_options(settings)
            return _Layer(InspectorMiddleware, api_keys=settings.client_keys, options=options)
        case "auth":
            return _Layer(AuthMiddleware, **_clients(settings))
        case "concurrency_limit":
            return _Layer(ConcurrencyLimitMiddleware, limit=settings.max_concurrency)
        case "custom_headers":
            return _Layer(CustomHeadersMiddleware, headers=settings.custom_headers)
        case "model_mapping":
            return _Layer(
                ModelMappingMiddleware,
                big=settings.big_model,
                middle=settings.middle_model,
                small=settings.small_model,
                contexts=set_contexts(settings),
                classifier=settings.classifier_model,
            )
        case "safeguards" if settings.safeguards_model is not None:
            return _Layer(SafeguardsMiddleware, model=settings.safeguards_model, timeout=settings.safeguards_timeout)
        case "boost" if planner is not None:
            return _Layer(
                BoostMiddleware,
                planner=InspectorMiddleware(planner, provider="planner") if settings.inspector else planner,
                model=settings.boost_model,
                tiers=settings.enable_boost_support,
                template=settings.boost_wrapper_template,
            )
        case "web_search":
            return _Layer(WebSearchMiddleware, search=search or Search(settings))
        case _:
            options = conversion_options(settings)
            return _Layer(
                FormatConversionMiddleware,
                provider=settings.provider,
                options=options,
                stream_idle_timeout=settings.stream_idle_timeout,
                max_answer=settings.max_answer * 1024 * 1024,
            )
