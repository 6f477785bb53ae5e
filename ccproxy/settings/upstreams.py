"""``UPSTREAM_<NAME>_*``: the providers in addition to the one at ``OPENAI_BASE_URL``."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from ccproxy_middleware.conversion.providers import PROFILES, detect_provider, resolve_profile
from ccproxy_middleware.models import DEFAULT_UPSTREAM, check_upstream_name

from .configuration import MASK, ConfigurationError, problem, shown
from .custom_headers import accepted_header
from .setting_values import AZURE_VERSION, AZURE_VERSION_PATTERN, read_json, read_keys, read_url
from .upstream import OF_DEFAULT, PREFIX, Upstream, UpstreamApi, variable_of

_PACE = ("rpm", "tpm", "concurrency")
CLIENT = "client"
"""As ``_API_KEY``, this value means that the client's own credential is used."""


class UpstreamField(NamedTuple):
    """One variable of an upstream: its meaning, what is accepted, and a function that reads its text or raises
    ValueError.
    """

    description: str
    accepted: str
    read: Callable[[Any], Any]
    secret: bool = False


def _read_base_url(value: Any) -> str:
    return read_url(str(value).strip())


def _read_api(value: Any) -> str:
    text = str(value).strip().lower()
    if text not in get_args(UpstreamApi):
        raise ValueError("there are " + ", ".join(get_args(UpstreamApi)))
    return text


def _read_provider(value: Any) -> str:
    return resolve_profile(str(value).strip(), {}).name


def _read_object(value: Any) -> Mapping[str, Any]:
    data = read_json(value) if isinstance(value, str) else value
    if not isinstance(data, Mapping):
        raise ValueError("it is no JSON object")
    return data


def _read_headers(value: Any) -> Mapping[str, str]:
    headers = _read_object(value)
    for name, text in headers.items():
        if not isinstance(text, str):
            raise ValueError(f"the value of {name} is no text")
        if (accepted := accepted_header(str(name), text)) is not None:
            raise ValueError(f"{name}: {accepted} would be")
    return headers


def _read_version(value: Any) -> str:
    text = str(value).strip()
    if not re.fullmatch(AZURE_VERSION_PATTERN, text):
        raise ValueError("it is not a version of Azure's API")
    return text


def _read_number(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,12}", str(value).strip()) or int(value) < 1:
        raise ValueError("")
    return int(value)


_NUMBER = "a whole number of at least 1"

FIELDS: Mapping[str, UpstreamField] = {
    "base_url": UpstreamField(
        "Another provider's base URL. NAME is letters and digits; NAME:model is a model of it.",
        "an http:// or https:// URL with a host, without user, query and fragment",
        _read_base_url,
    ),
    "api_key": UpstreamField(
        "Its key, required; commas separate the keys of a pool. client: the client's own credential (anthropic only).",
        "one or several keys of printable ASCII characters, separated by commas, or client",
        read_keys,
        secret=True,
    ),
    "api": UpstreamField(
        "The API to use. auto: by its URL, then by the profile for the model.",
        ", ".join(get_args(UpstreamApi)),
        _read_api,
    ),
    "provider": UpstreamField(
        "Its profile. Unset: detected from its base URL.", f"one of {', '.join(PROFILES)}", _read_provider
    ),
    "provider_options": UpstreamField(
        "Switches that override its profile.", "a JSON object of switches", _read_object, secret=True
    ),
    "azure_api_version": UpstreamField(
        "Set it for Azure: sends the api-key header and the api-version parameter.",
        AZURE_VERSION,
        _read_version,
    ),
    "headers": UpstreamField(
        "Headers for it alone; CUSTOM_HEADER_* are not sent to it.",
        'a JSON object such as {"X-Team": "a"}',
        _read_headers,
        secret=True,
    ),
    "rpm": UpstreamField(
        "Requests per minute that it allows; more requests wait. Unset: no limit.", _NUMBER, _read_number
    ),
    "tpm": UpstreamField(
        "Tokens per minute that it allows; more requests wait. Unset: no limit.", _NUMBER, _read_number
    ),
    "concurrency": UpstreamField(
        "Concurrent requests that it allows; more requests wait. Unset: no limit.", _NUMBER, _read_number
    ),
}
"""The fields, by the end of the variable's name in lower case."""


class UpstreamsSource(PydanticBaseSettingsSource):
    """Collects ``UPSTREAM_*`` from the given sources. The last source wins; arguments replace all of them.

    The result is ``{name: {field: text}}``, in lower case.
    """

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._sources = sources

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        if "upstreams" in self.current_state:
            return {}
        given: dict[str, dict[str, str]] = {}
        for source in self._sources:
            if isinstance(source, EnvSettingsSource):
                for variable, value in source.env_vars.items():
                    if value and (parts := parted(variable)) is not None:
                        given.setdefault(parts[0], {})[parts[1]] = value
        ours = {name: fields for name, fields in given.items() if any(end in fields for end in FIELDS)}
        ours |= {name: fields for name, fields in given.items() if any(_is_split_name(end) for end in fields)}
        return {"upstreams": ours} if ours else {}


def parted(variable: str) -> tuple[str, str] | None:
    """The name and field of an ``UPSTREAM_*`` variable, in lower case; None for any other variable."""
    if not variable.upper().startswith(PREFIX):
        return None
    name, line, end = variable[len(PREFIX) :].lower().partition("_")
    return (name, end) if line else None


def upstream_variables(names: Iterable[str]) -> Iterator[str]:
    """Every variable that these upstreams may have."""
    return (variable_of(name, end) for name in names for end in FIELDS)


def read_upstreams(given: Any) -> Mapping[str, Upstream]:
    """The upstreams by name, from ``{name: {field: value}}``. A value may already be an Upstream.

    Raises ConfigurationError with a line for each problem.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError([problem("UPSTREAMS", f"given {MASK}", "", "UPSTREAM_<NAME>_* variables instead")])
    problems: list[str] = []
    upstreams: dict[str, Upstream] = {}
    for raw_name, fields in given.items():
        try:
            upstream = fields if isinstance(fields, Upstream) else _read(str(raw_name), fields)
        except ConfigurationError as exc:
            problems += exc.problems
            continue
        upstreams[upstream.name] = upstream
    if problems:
        raise ConfigurationError(problems)
    return upstreams


def _read(raw_name: str, fields: Any) -> Upstream:
    name = raw_name.lower()
    if not isinstance(fields, Mapping):
        raise ConfigurationError([f"{PREFIX}{name.upper()}_*: accepted: a mapping of its fields"])
    given = {str(end).lower(): value for end, value in fields.items() if value is not None}
    if problems := _unknown(name, given):
        raise ConfigurationError(problems)
    values: dict[str, Any] = {}
    for end, value in given.items():
        known = FIELDS[end]
        try:
            values[end] = known.read(value)
        except ValueError as exc:
            reason = str(exc)
            accepted = "" if "there are" in reason else known.accepted
            shown_value = MASK if known.secret else shown(value)
            problems.append(problem(variable_of(name, end), f"given {shown_value}", reason, accepted))
    for end in ("base_url", "api_key"):
        if end not in given:
            reason = "any text will do for a local server" if end == "api_key" else f"{_one(name, given)} needs it"
            problems.append(problem(variable_of(name, end), "not set", reason, FIELDS[end].accepted))
    if problems:
        raise ConfigurationError(problems)
    return _made(name, values)


def _unknown(name: str, given: Mapping[str, Any]) -> list[str]:
    """The problems with the names of an upstream's variables."""
    problems = []
    for end in given:
        variable = variable_of(name, end)
        if name == DEFAULT_UPSTREAM and end in OF_DEFAULT:
            problems.append(f"{variable}: default is the upstream of OPENAI_BASE_URL; accepted: {OF_DEFAULT[end]}")
        elif end not in FIELDS:
            if (whole := _is_split_name(end)) is not None:
                joined = variable_of((name + end.removesuffix(whole)).replace("_", ""), whole)
                problems.append(f"{variable}: a name is letters and digits; accepted: {joined}")
            else:
                ends = ", ".join(f"_{known.upper()}" for known in FIELDS)
                problems.append(f"{variable}: not a setting of an upstream; accepted: {ends}")
    if not problems:
        try:
            check_upstream_name(name)
        except ValueError as exc:
            problems.append(f"{PREFIX}{name.upper()}_*: {exc}; accepted: such as {PREFIX}LOCAL1_BASE_URL")
    return problems


def _is_split_name(end: str) -> str | None:
    """The field of a variable whose upstream name contains a ``_``."""
    return next((known for known in ("base_url", "api_key") if end.endswith(f"_{known}")), None)


def _made(name: str, values: Mapping[str, Any]) -> Upstream:
    """The upstream for values that are valid one by one. Raises ConfigurationError if they contradict each other."""
    base_url: str = values["base_url"]
    provider: str = values.get("provider") or detect_provider(base_url)
    options: Mapping[str, Any] = values.get("provider_options", {})
    api: UpstreamApi = values.get("api", "auto")
    if api == "auto" and "provider" not in values and not options and _speaks_anthropic(base_url):
        api = "anthropic"
    keys: tuple[str, ...] = values["api_key"]
    is_client = tuple(key.lower() for key in keys) == (CLIENT,)
    problems = []
    try:
        resolve_profile(provider, options)
    except ValueError as exc:
        accepted = "" if "there are" in str(exc) else FIELDS["provider_options"].accepted
        problems.append(problem(variable_of(name, "provider_options"), f"given {MASK}", str(exc), accepted))
    if is_client and api != "anthropic":
        reason = f"only an upstream with {variable_of(name, 'api')}=anthropic takes the client's own credential"
        problems.append(problem(variable_of(name, "api_key"), "given client", reason, "a key"))
    elif not is_client and CLIENT in map(str.lower, keys):
        problems.append(
            problem(variable_of(name, "api_key"), f"given {MASK}", "client stands alone", "keys, or client")
        )
    if api in ("chat", "responses") and options.get("api", api) != api:
        reason = f"{variable_of(name, 'provider_options')} has api {options['api']!r}"
        problems.append(problem(variable_of(name, "api"), f"given {api!r}", reason, "one of the two"))
    if problems:
        raise ConfigurationError(problems)
    return Upstream(
        name,
        base_url,
        () if is_client else tuple(map(SecretStr, keys)),
        is_client,
        api,
        provider,
        options,
        **{end: values.get(end) for end in ("azure_api_version", *_PACE)},
        headers=values.get("headers", {}),
    )


def _speaks_anthropic(base_url: str) -> bool:
    """Whether the URL shows it: Anthropic's own host, or another provider's path for Anthropic's protocol."""
    parts = urlsplit(base_url)
    return parts.hostname == "api.anthropic.com" or "anthropic" in parts.path.lower().split("/")


def _one(name: str, given: Mapping[str, Any]) -> str:
    """One of the upstream's variables that is set."""
    return variable_of(name, next(iter(given), "api_key"))
