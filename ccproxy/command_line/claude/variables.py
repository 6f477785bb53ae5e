"""The variables that point Claude Code at a proxy, and the user's variables that would point it elsewhere."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from ccproxy_middleware.conversion.anthropic import NEWEST, client_id, needs_own_ids
from ccproxy_middleware.models import PROVIDERS_OWN, tier_of

from ...model_limits import ModelLimits, least
from ...settings import Settings

_FAMILIES = {"OPUS": "opus", "SONNET": "sonnet", "HAIKU": "haiku", "FABLE": "fable"}
_LISTED_AS = {"OPUS": "claude-opus", "SONNET": "claude-sonnet", "HAIKU": "claude-haiku"}  # by GET /v1/models
_CONVERSATION = ("OPUS", "SONNET")  # the models that the main conversation may use, whose length must be limited

# Another provider, another account, and the keys that only cc-boost reads.
_NOT_FOR_CLAUDE = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "BOOST_API_KEY",
    "WEB_SEARCH_KEY",
)
_NOT_FOR_CLAUDE_PREFIXES = ("CLAUDE_CODE_USE_", "ANTHROPIC_DEFAULT_", "CUSTOM_HEADER_")
_KEY_OF_UPSTREAM = re.compile(r"UPSTREAM_[A-Z0-9]+_(?:API_KEY|HEADERS)|STATE_URL")
# A user's own access to Anthropic, used for an upstream whose key is "client".
_CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_OF_ANTHROPIC = "sk-ant-"  # prefixes of Anthropic's keys and tokens
_CHOICES = ("ANTHROPIC_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL")  # kept if the proxy maps them

# Variables that a user may set otherwise; each group belongs together.
_OWN_CHOICE = (
    ("CLAUDE_CODE_AUTO_MODE_SERVER",),
    ("CLAUDE_CODE_MAX_OUTPUT_TOKENS",),
    ("CLAUDE_CODE_DISABLE_1M_CONTEXT",),
    ("CLAUDE_CODE_MAX_CONTEXT_TOKENS",),
    ("CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY",),
    ("CLAUDE_CODE_ALWAYS_ENABLE_EFFORT",),
)
PROJECT = "x-cc-boost-project"
"""The header that tells the ledger the project. Characters that a header can't contain are percent-encoded."""

_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
_LOOPBACK = ("127.0.0.1", "localhost")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a proxy behind Claude's names.

    names: the provider's model for each of OPUS, SONNET and HAIKU, if it is known.
    mapped: whether the proxy maps Claude's names; otherwise the provider gets the names that clients send.
    window: the maximum tokens of a conversation. output: the maximum tokens of an answer.
    safeguards: whether the proxy judges the tool calls of auto mode; otherwise Claude Code does so with its own
    requests.
    own_access: whether an upstream needs Claude Code's own credential, which it must then keep sending.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    mapped: bool = True
    window: int | None = None
    output: int | None = None
    safeguards: bool = False
    own_access: bool = False


def set_models(settings: Settings, limits: ModelLimits) -> Models:
    """The models of a proxy with these settings, and what is known about them."""
    names = {"OPUS": settings.big_model, "SONNET": settings.middle_model, "HAIKU": settings.small_model}
    output = None if limits.output is None else min(limits.output, settings.max_tokens_limit)
    return Models(
        names,
        "model_mapping" in settings.ccproxy_layers,
        limits.window,
        output or settings.max_tokens_limit,
        settings.safeguards_model is not None and "safeguards" in settings.ccproxy_layers,
        uses_own_access(settings),
    )


def uses_own_access(settings: Settings) -> bool:
    """Whether an upstream is asked with the client's own credential."""
    return any(upstream.client_credential for upstream in settings.upstreams.values())


def listed_models(listed: Iterable[Mapping[str, Any]], known: Models = Models()) -> Models:
    """The models that a proxy's own ``GET /v1/models`` lists: its aliases, and the provider's models if it lists
    them.
    """
    entries = {entry["id"]: entry for entry in listed}
    names = known.names or {
        name: str(entries[id_]["display_name"]) for name, id_ in _LISTED_AS.items() if id_ in entries
    }
    told = [entries.get(id_, {}) for name in _CONVERSATION for id_ in (_LISTED_AS[name], names.get(name, ""))]
    return Models(
        names,
        known.mapped,
        least(entry.get("max_input_tokens") for entry in told),
        known.output or least(entry.get("max_tokens") for entry in told),
        known.safeguards,
        known.own_access,
    )


def claude_variables(url: str, key: str, models: Models) -> dict[str, str]:
    """The variables that Claude Code needs in its environment.

    The key goes into ANTHROPIC_AUTH_TOKEN, which Claude Code uses without asking; ANTHROPIC_API_KEY needs the user's
    approval. If Claude Code's own credential has to reach an upstream, the key goes into a separate header.
    """
    credential = {"ANTHROPIC_CUSTOM_HEADERS": f"x-cc-boost-key: {key}"}
    if not models.own_access:
        credential = {"ANTHROPIC_AUTH_TOKEN": key}
    variables = {"ANTHROPIC_BASE_URL": url, **credential, "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}
    names = {**models.names, "FABLE": models.names["OPUS"]} if "OPUS" in models.names else models.names
    for alias, family in _FAMILIES.items():
        name = names.get(alias)
        variable = f"ANTHROPIC_DEFAULT_{alias}_MODEL"
        variables[variable] = NEWEST[family]
        if name is not None:
            variables[variable] = client_id(family, name, models.window) if models.mapped else name
            variables[f"{variable}_NAME"] = name
            variables[f"{variable}_DESCRIPTION"] = f"{family}, by cc-boost"
    variables["ANTHROPIC_SMALL_FAST_MODEL"] = variables["ANTHROPIC_DEFAULT_HAIKU_MODEL"]
    variables["CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY"] = "1"
    variables["CLAUDE_CODE_ALWAYS_ENABLE_EFFORT"] = "1"  # this includes the provider's own names
    if not models.safeguards:
        variables["CLAUDE_CODE_AUTO_MODE_SERVER"] = "0"
    return variables | _limits(models)


def child_environment(parent: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """A user's environment with these variables, without those that would select another provider or model."""
    foreign = set(foreign_names(parent, variables))
    kept = {name: value for name, value in parent.items() if name not in foreign}
    users = {name for names in own_choices(kept) for name in names}
    ours = {name: value for name, value in variables.items() if name not in users}
    return {**kept, **ours, **no_proxy(kept, variables["ANTHROPIC_BASE_URL"])}


def with_project(environment: Mapping[str, str], folder: str) -> dict[str, str]:
    """An environment in which Claude Code sends the project to the proxy, unless the user already sets one."""
    headers = environment.get(_HEADERS, "")
    if PROJECT in headers.lower() or not folder:
        return dict(environment)
    line = f"{PROJECT}: {quote(folder[:200], safe=' !#$&()+,;=@[]^_{}~')}"
    return {**environment, _HEADERS: f"{headers.rstrip()}\n{line}" if headers.strip() else line}


def with_own_headers(parent: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The variables; where they set headers, the user's own headers are added."""
    name = "ANTHROPIC_CUSTOM_HEADERS"
    lines = [line for line in parent.get(name, "").splitlines() if not line.lower().startswith("x-cc-boost-key:")]
    return {**variables, name: "\n".join([*lines, variables[name]])} if name in variables else dict(variables)


def no_proxy(parent: Mapping[str, str], url: str) -> dict[str, str]:
    """A value that stops Claude Code from using an HTTP proxy for this machine, which it would do otherwise."""
    if urlsplit(url).hostname not in _LOOPBACK or not any(name.upper() in _PROXIES for name in parent):
        return {}
    excepted = ",".join(filter(None, (parent.get("NO_PROXY") or parent.get("no_proxy"), *_LOOPBACK)))
    return {"NO_PROXY": excepted, "no_proxy": excepted}


def foreign_names(parent: Mapping[str, str], variables: Mapping[str, str]) -> list[str]:
    """The variables of a user's environment that conflict with those of :func:`claude_variables`."""
    return [name for name, value in parent.items() if is_foreign(name, value) and not is_own(name, value, variables)]


def is_own(name: str, value: str, variables: Mapping[str, str]) -> bool:
    """Whether a variable holds the user's own access to Anthropic, and these variables leave it in place."""
    if name not in _CREDENTIALS or name in variables or "ANTHROPIC_CUSTOM_HEADERS" not in variables:
        return False
    return value.startswith(_OF_ANTHROPIC) and value not in variables["ANTHROPIC_CUSTOM_HEADERS"]


def own_choices(environment: Mapping[str, object]) -> list[tuple[str, ...]]:
    """The groups of variables of which the user has set at least one; the whole group is then left to the user."""
    return [names for names in _OWN_CHOICE if not environment.keys().isdisjoint(names)]


def is_foreign(name: str, value: str) -> bool:
    """Whether a variable points Claude Code at a provider, account or model other than the proxy's."""
    name = name.upper()
    if name in _CHOICES:
        return tier_of(value) is None and value != "inherit" and not value.startswith(PROVIDERS_OWN)
    return (
        name in _NOT_FOR_CLAUDE
        or name.startswith(_NOT_FOR_CLAUDE_PREFIXES)
        or _KEY_OF_UPSTREAM.fullmatch(name) is not None
        or (name == "LEDGER" and "@" in value)  # a password
    )


def _limits(models: Models) -> dict[str, str]:
    """The maximum length of a conversation and of an answer."""
    variables: dict[str, str] = {}
    if models.output is not None:
        variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(models.output)
    own_ids = needs_own_ids(models.window)
    if models.window is None or own_ids or models.window < 1_000_000:
        variables["CLAUDE_CODE_DISABLE_1M_CONTEXT"] = (
            "1"  # or Claude Code appends [1m] to model ids, which means a million tokens
        )
    if models.window is not None and own_ids:
        variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(models.window)
    return variables
