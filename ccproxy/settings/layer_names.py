"""The names of the layers, as ``CCPROXY_LAYERS`` lists them."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

LAYERS = (
    *("metrics", "inspector", "ledger", "auth", "concurrency_limit", "custom_headers", "model_mapping"),
    *("budgets", "routing", "safeguards", "boost", "web_search", "vision", "prompted_tools", "format_conversion"),
)
"""Our layers by name, outermost first: the default of ``CCPROXY_LAYERS``."""


def check_layers(names: Sequence[str]) -> None:
    """Raise ValueError for an unknown or repeated name, or a path that can't be imported."""
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
