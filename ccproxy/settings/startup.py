"""Warnings that the operator should see before the first request."""

import ipaddress
from typing import TYPE_CHECKING

from .base_urls import without_endpoint
from .keys import KeysFile
from .model_names import names_of
from .upstream import variable_of

if TYPE_CHECKING:
    from .settings import Settings


_LISTS = ("BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL")
_OUTSIDE = ("metrics", "inspector", "ledger", "custom_headers", "model_mapping", "budgets")  # belong outside of routing
# Before they ask the next layer.
_ANSWERING = (
    "model_mapping",
    "budgets",
    "safeguards",
    "boost",
    "web_search",
    "vision",
    "prompted_tools",
    "format_conversion",
)


def startup_warnings(settings: "Settings", host: str | None = None) -> list[str]:
    """A line for each setting that is valid but may be a mistake. ``host``: the listening address, if it is not
    HOST.
    """
    host = settings.host if host is None else host
    warnings = _url_warnings(settings)
    if not settings.needs_client_key and not _is_loopback(host):
        warnings.append(
            f"Listening on {host} without ANTHROPIC_API_KEY: anyone who can reach the port can spend the "
            "provider's key. Set ANTHROPIC_API_KEY, or HOST=127.0.0.1."
        )
        if settings.inspector and not settings.admin_keys:
            warnings.append("INSPECTOR is set without ANTHROPIC_API_KEY: /ui answers browsers on this machine only.")
    warnings += _key_warnings(settings)
    if settings.log_bodies and settings.log_level == "DEBUG":
        warnings.append("LOG_BODIES is set: the log contains the conversations.")
    elif settings.log_bodies:
        warnings.append(f"LOG_BODIES is set, but LOG_LEVEL is {settings.log_level}: bodies are logged at DEBUG only.")
    return [*warnings, *_layer_warnings(settings), *settings.lookalikes]


def _key_warnings(settings: "Settings") -> list[str]:
    entries = settings.keys_file.entries if isinstance(settings.keys_file, KeysFile) else ()
    if settings.inspector and not settings.admin_keys and len(settings.client_keys) + len(entries) > 1:
        return [
            "INSPECTOR is set with more than one client key, none of which may see what passes for the others: set "
            "ADMIN_API_KEY to open /ui."
        ]
    if "ledger" not in settings.ccproxy_layers and any(entry.limits.has_cap for entry in entries):
        return ["KEYS_FILE has limits of money, but CCPROXY_LAYERS has no ledger: nothing counts what is spent."]
    return []


def _url_warnings(settings: "Settings") -> list[str]:
    urls = {"OPENAI_BASE_URL": settings.openai_base_url, "BOOST_BASE_URL": settings.boost_base_url}
    urls |= {variable_of(name, "base_url"): upstream.base_url for name, upstream in settings.upstreams.items()}
    warnings = []
    for name, url in urls.items():
        if url is not None and (fitting := without_endpoint(url)) != url:
            end = url.removeprefix(fitting)
            warnings.append(f"{name} ends in {end}, which is ignored, since the proxy adds it. Set {name}={fitting}.")
    return warnings


def _layer_warnings(settings: "Settings") -> list[str]:
    layers = settings.ccproxy_layers
    warnings = []
    if settings.needs_client_key and "auth" not in layers:
        name = "ANTHROPIC_API_KEY" if settings.client_keys else "KEYS_FILE"
        warnings.append(f"{name} is set, but CCPROXY_LAYERS has no auth: keys are not checked.")
    if settings.keys_file and "budgets" not in layers:
        warnings.append("KEYS_FILE is set, but CCPROXY_LAYERS has no budgets: the limits of its keys don't hold.")
    elif settings.keys_file and "model_mapping" in layers[layers.index("budgets") :]:
        warnings.append(
            "CCPROXY_LAYERS has budgets outside model_mapping: the models of KEYS_FILE are compared with the names "
            "that clients use."
        )
    if settings.custom_headers and "custom_headers" not in layers:
        warnings.append("CUSTOM_HEADER_* is set, but CCPROXY_LAYERS has no custom_headers: they are not sent.")
    if settings.max_concurrency and "concurrency_limit" not in layers:
        warnings.append("MAX_CONCURRENCY is set, but CCPROXY_LAYERS has no concurrency_limit: there is no limit.")
    if settings.inspector and "inspector" not in layers:
        warnings.append("INSPECTOR is set, but CCPROXY_LAYERS has no inspector: there is no /ui.")
    elif settings.inspector and "auth" in layers and layers.index("auth") < layers.index("inspector"):
        warnings.append("CCPROXY_LAYERS has inspector inside auth: a browser can't open /ui without the key.")
    if settings.metrics and "metrics" in settings.model_fields_set and "metrics" not in layers:
        warnings.append("METRICS is set, but CCPROXY_LAYERS has no metrics: there is no /metrics.")
    if settings.ledger is not None and "ledger" not in layers:
        warnings.append("LEDGER is set, but CCPROXY_LAYERS has no ledger: nothing is written there.")
    if settings.enable_boost_support and "boost" not in layers:
        warnings.append("ENABLE_BOOST_SUPPORT is set, but CCPROXY_LAYERS has no boost: nothing is boosted.")
    if settings.safeguards_model and "safeguards" not in layers:
        warnings.append("SAFEGUARDS_MODEL is set, but CCPROXY_LAYERS has no safeguards: no tool call is judged.")
    if settings.vision_model and "vision" not in layers:
        warnings.append("VISION_MODEL is set, but CCPROXY_LAYERS has no vision: no image is described.")
    if settings.web_search not in (None, "provider") and "web_search" not in layers:
        warnings.append("WEB_SEARCH is set, but CCPROXY_LAYERS has no web_search: searches are refused.")
    if settings.classifier_model and "model_mapping" not in layers:
        warnings.append("CLASSIFIER_MODEL is set, but CCPROXY_LAYERS has no model_mapping: nothing is sent to it.")
    warnings += _routing_warnings(settings)
    if settings.needs_client_key and "auth" in layers:
        outside = layers[: layers.index("auth")]
        answering = [name for name in outside if name in _ANSWERING]
        between = outside[outside.index(answering[0]) :] if answering else []
        for own in (name for name in between if ":" in name):
            warnings.append(
                f"CCPROXY_LAYERS has {own} between {answering[0]} and auth: unless it keeps its app as self.app, "
                f"{answering[0]} answers clients without a key."
            )
    return warnings


def _routing_warnings(settings: "Settings") -> list[str]:
    layers = settings.ccproxy_layers
    wanted = {
        "UPSTREAM_*": settings.upstreams,
        "ROUTES_FILE": settings.routes_file,
        "A pool of keys": len(settings.upstream("default").api_keys) > 1,
        "OPENAI_RPM, _TPM or _CONCURRENCY": settings.upstream("default").is_paced,
    }
    wanted |= {tier: len(names_of(getattr(settings, tier.lower()))) > 1 for tier in _LISTS}
    used = [name for name, value in wanted.items() if value]
    if used and "routing" not in layers:
        first = used[0]
        return [f"{first} is set, but CCPROXY_LAYERS has no routing: only the default upstream's first key is asked."]
    if not used:
        return []
    inside = [name for name in layers[layers.index("routing") :] if name in _OUTSIDE]
    return [
        f"CCPROXY_LAYERS has {name} inside routing: it is there for the default upstream's requests alone."
        for name in inside
    ]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
