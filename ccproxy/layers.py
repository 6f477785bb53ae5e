"""The layers by name, and the stack that ``CCPROXY_LAYERS`` puts together."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
)

if TYPE_CHECKING:
    from .settings import Settings

LAYERS = ("auth", "custom_headers", "model_mapping", "boost", "format_conversion")
"""Ours by name, outermost first: the default of ``CCPROXY_LAYERS``."""


def check_layers(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is unknown or stands twice, or a path that can't be imported."""
    for name in names:
        if ":" in name:
            import_layer(name)
        elif name not in LAYERS:
            there = ", ".join(LAYERS)
            raise ValueError(
                f"unknown layer {name!r}; there are {there}, and a layer of your own as package.module:Class"
            )
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the layer {name!r} stands there twice")


def import_layer(path: str) -> Any:
    """The ASGI middleware at ``package.module:Class``. Raises ValueError if there is none."""
    module, _, name = path.partition(":")
    try:
        layer = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ValueError(f"the layer {path!r} can't be imported: {exc}") from None
    if not callable(layer):
        raise ValueError(f"{path!r} is no ASGI middleware")
    return layer


def make_layers(settings: "Settings", planner: ASGIApp | None) -> list[Middleware]:
    """The stack, outermost layer first. Boost is only in it where it is enabled, and so has a planner."""
    layers = []
    for name in settings.ccproxy_layers:
        if ":" in name:
            layers.append(Middleware(import_layer(name)))
        elif name != "boost" or planner is not None:
            layers.append(_make_layer(name, settings, planner))
    return layers


def conversion_options(settings: "Settings") -> dict[str, Any]:
    """The profile's switches: PROVIDER_OPTIONS, and the limits of ``max_tokens``."""
    options = dict(settings.provider_options)
    limits = (settings.max_tokens_limit, options.get("max_output"))
    options["max_output"] = min(limit for limit in limits if isinstance(limit, int))
    if settings.min_tokens_limit is not None:
        options["min_output"] = settings.min_tokens_limit
    return options


def _make_layer(name: str, settings: "Settings", planner: ASGIApp | None) -> Middleware:
    match name:
        case "auth":
            return Middleware(AuthMiddleware, api_keys=settings.client_keys)
        case "custom_headers":
            return Middleware(CustomHeadersMiddleware, headers=settings.custom_headers)
        case "model_mapping":
            return Middleware(
                ModelMappingMiddleware,
                big=settings.big_model,
                middle=settings.middle_model,
                small=settings.small_model,
            )
        case "boost" if planner is not None:
            return Middleware(
                BoostMiddleware,
                planner=planner,
                model=settings.boost_model,
                tiers=settings.enable_boost_support,
                template=settings.boost_wrapper_template,
            )
        case _:
            options = conversion_options(settings)
            return Middleware(FormatConversionMiddleware, provider=settings.provider, options=options)
