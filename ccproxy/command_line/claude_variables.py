"""The variables by which Claude Code is led to a proxy, and those of the user's that would lead it elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ccproxy_middleware.conversion.anthropic import model_info
from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.models import tier_of

from ..layers import conversion_options
from ..settings import Settings

# Names that Claude Code knows, for its three aliases: of others it complains on standard error.
_CLAUDE_NAMES = {"OPUS": "claude-opus-4-8", "SONNET": "claude-sonnet-5", "HAIKU": "claude-haiku-4-5"}
_LISTED_AS = {"OPUS": "claude-opus", "SONNET": "claude-sonnet", "HAIKU": "claude-haiku"}  # by GET /v1/models
_CONVERSATION = ("OPUS", "SONNET")  # what the main conversation may run on, whose length is to be bounded

_ASSUMED_WINDOW = 200_000  # Claude Code's own idea of a model, unless it is one with a million
_LEAST_COMPACT_WINDOW = 100_000  # it takes no smaller one
_COMPACT_AT = 80  # percent of the room for the prompt, for windows below that

# Another provider, another account, and the keys that only cc-boost reads.
_NOT_FOR_CLAUDE = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "BOOST_API_KEY",
)
_NOT_FOR_CLAUDE_PREFIXES = ("CLAUDE_CODE_USE_", "ANTHROPIC_DEFAULT_", "CUSTOM_HEADER_")
_CHOICES = ("ANTHROPIC_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL")  # kept where the proxy maps them

# What a user may set otherwise; variables that belong together stand together.
_OWN_CHOICE = (
    ("CLAUDE_CODE_AUTO_MODE_SERVER",),
    ("CLAUDE_CODE_MAX_OUTPUT_TOKENS",),
    ("CLAUDE_CODE_DISABLE_1M_CONTEXT",),
    ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"),
)
_LOOPBACK = ("127.0.0.1", "localhost")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Models:
    """What a proxy has behind Claude's names.

    names: the provider's model for each of OPUS, SONNET and HAIKU, where it is known.
    mapped: whether the proxy maps Claude's names; else the provider is asked for the names that clients send.
    window: tokens that a conversation may have. output: tokens that an answer may have.
    safeguards: whether the proxy judges the tool calls of auto mode; else Claude Code does it with its own questions.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    mapped: bool = True
    window: int | None = None
    output: int | None = None
    safeguards: bool = False


def set_models(settings: Settings) -> Models:
    """The models of a proxy with these settings, with what is known of them without asking."""
    names = {"OPUS": settings.big_model, "SONNET": settings.middle_model, "HAIKU": settings.small_model}
    profile = resolve_profile(settings.provider, conversion_options(settings))
    infos = [model_info(name, names[name], profile) for name in _CONVERSATION]
    return Models(
        names,
        "model_mapping" in settings.ccproxy_layers,
        _least(info["max_input_tokens"] for info in infos),
        _least(info["max_tokens"] for info in infos),
        settings.safeguards_model is not None and "safeguards" in settings.ccproxy_layers,
    )


def listed_models(listed: Iterable[Mapping[str, Any]], known: Models = Models()) -> Models:
    """The models by a proxy's own ``GET /v1/models``: its aliases, and the provider's models if it lists them."""
    entries = {entry["id"]: entry for entry in listed}
    names = known.names or {
        name: str(entries[id_]["display_name"]) for name, id_ in _LISTED_AS.items() if id_ in entries
    }
    told = [entries.get(id_, {}) for name in _CONVERSATION for id_ in (_LISTED_AS[name], names.get(name, ""))]
    return Models(
        names,
        known.mapped,
        _least(entry.get("max_input_tokens") for entry in told),
        known.output or _least(entry.get("max_tokens") for entry in told),
        known.safeguards,
    )


def claude_variables(url: str, key: str, models: Models) -> dict[str, str]:
    """What Claude Code must have in its environment.

    The key goes into ANTHROPIC_AUTH_TOKEN, which it uses without asking; ANTHROPIC_API_KEY needs the user's approval.
    """
    variables = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": key, "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}
    for alias, claude_name in _CLAUDE_NAMES.items():
        name = models.names.get(alias)
        variables[f"ANTHROPIC_DEFAULT_{alias}_MODEL"] = claude_name if models.mapped or name is None else name
        if name is not None:
            variables[f"ANTHROPIC_DEFAULT_{alias}_MODEL_NAME"] = name
            variables[f"ANTHROPIC_DEFAULT_{alias}_MODEL_DESCRIPTION"] = f"{alias.lower()}, by cc-boost"
    opus = [name for name in variables if "_OPUS_" in name]
    variables |= {name.replace("_OPUS_", "_FABLE_"): variables[name] for name in opus}  # a fourth alias
    variables["ANTHROPIC_SMALL_FAST_MODEL"] = variables["ANTHROPIC_DEFAULT_HAIKU_MODEL"]
    if not models.safeguards:
        variables["CLAUDE_CODE_AUTO_MODE_SERVER"] = "0"
    return variables | _limits(models)


def child_environment(parent: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """A user's environment with these variables, and without what would lead to another provider or model."""
    kept = {name: value for name, value in parent.items() if not _is_foreign(name, value)}
    ours = dict(variables)
    for names in _OWN_CHOICE:
        if not kept.keys().isdisjoint(names):  # the user's own values win
            for name in names:
                ours.pop(name, None)
    environment = {**kept, **ours}
    host = urlsplit(variables["ANTHROPIC_BASE_URL"]).hostname or ""
    if host in _LOOPBACK and any(name.upper() in _PROXIES for name in kept):
        excepted = kept.get("NO_PROXY") or kept.get("no_proxy")  # Claude Code asks a proxy even for this machine
        environment["NO_PROXY"] = environment["no_proxy"] = ",".join(filter(None, (excepted, *_LOOPBACK)))
    return environment


def foreign_names(parent: Mapping[str, str]) -> list[str]:
    """The variables of a user's environment that :func:`child_environment` leaves out."""
    return [name for name, value in parent.items() if _is_foreign(name, value)]


def _is_foreign(name: str, value: str) -> bool:
    name = name.upper()
    if name in _CHOICES:
        return tier_of(value) is None and value != "inherit"
    return name in _NOT_FOR_CLAUDE or name.startswith(_NOT_FOR_CLAUDE_PREFIXES)


def _limits(models: Models) -> dict[str, str]:
    """How long a conversation and an answer may be."""
    variables: dict[str, str] = {}
    if models.output is not None:
        variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(models.output)
    if models.window is None or models.window <= _ASSUMED_WINDOW:
        variables["CLAUDE_CODE_DISABLE_1M_CONTEXT"] = "1"
    if models.window is not None:
        variables["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(max(models.window, _LEAST_COMPACT_WINDOW))
    if models.window is not None and models.window < _LEAST_COMPACT_WINDOW:
        output = min(models.output or 20_000, 20_000, models.window // 2)
        percent = _COMPACT_AT * (models.window - output) // (_LEAST_COMPACT_WINDOW - output)
        variables["CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"] = str(max(percent, 1))
    return variables


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value), default=None)
