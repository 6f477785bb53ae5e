"""Checks of the settings' values, and how their text is converted."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from ccproxy_middleware.boost import Template
from ccproxy_middleware.conversion.providers import detect_provider, resolve_profile
from ccproxy_middleware.models import DEFAULT_UPSTREAM

from ..prices import BadPrices, PricesFile
from .configuration import ConfigurationError, problem
from .custom_headers import header_problems
from .files import users_file
from .keys import check_keys
from .layer_names import check_layers
from .model_names import collect, names_of, planner_candidates
from .routes_file import RoutesFile
from .setting_values import (
    check_hosts,
    check_state_url,
    read_json,
    read_key,
    read_keys,
    read_ledger,
    read_text,
    read_url,
    split,
)
from .upstreams import read_upstreams

_NAMING = ("big_model", "middle_model", "small_model", "classifier_model", "safeguards_model", "vision_model")


class Checked(BaseSettings):
    """The checks of the fields that Settings declares. Each checks one field, except the last, which sees all
    fields.
    """

    @field_validator(
        "openai_api_key", "anthropic_api_key", "admin_api_key", "boost_api_key", mode="before", check_fields=False
    )
    @classmethod
    def _check_key(cls, value: Any, info: ValidationInfo) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if info.field_name == "openai_api_key":
            return SecretStr(",".join(read_keys(value)) if text else "")
        return None if text is None else read_key(text, several=info.field_name != "boost_api_key")

    @field_validator("openai_base_url", "boost_base_url", mode="after", check_fields=False)
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        return None if value is None else read_url(value)

    @field_validator("state_url", mode="after", check_fields=False)
    @classmethod
    def _check_state_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_state_url(value.get_secret_value())
        return value

    @field_validator("ledger", mode="before", check_fields=False)
    @classmethod
    def _check_ledger(cls, value: Any) -> Any:
        if isinstance(value, bool):
            value = str(value)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        return read_ledger(text.strip()) if isinstance(text, str) else text

    @field_validator("history_bytes", mode="before", check_fields=False)
    @classmethod
    def _check_bytes(cls, value: Any) -> Any:
        """Accepts ``1e9`` too."""
        is_power = isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?[eE]\d{1,2}\s*", value)
        return int(float(value)) if is_power else value

    @field_validator("prices_file", mode="after", check_fields=False)
    @classmethod
    def _check_prices_file(cls, value: PricesFile | None) -> PricesFile | None:
        if value is not None:
            try:
                value.read(users_file().parent)
            except BadPrices as error:
                raise ConfigurationError(error.problems) from None
        return value

    @field_validator("host", mode="after", check_fields=False)
    @classmethod
    def _without_brackets(cls, value: str) -> str:
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value

    @field_validator("middle_model", mode="before", check_fields=False)
    @classmethod
    def _default_middle(cls, value: Any, info: ValidationInfo) -> Any:
        return ",".join(names_of(info.data.get("big_model", "gpt-4o"))) if value is None else value

    @field_validator("provider", mode="before", check_fields=False)
    @classmethod
    def _check_provider(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            return detect_provider(info.data.get("openai_base_url", ""))
        return resolve_profile(str(value).strip(), {}).name

    @field_validator("provider_options", mode="before", check_fields=False)
    @classmethod
    def _check_provider_options(cls, value: Any, info: ValidationInfo) -> Any:
        options = read_json(value) if isinstance(value, str) else value
        if isinstance(options, Mapping):
            resolve_profile(info.data.get("provider", "generic"), options)
        return options

    @field_validator("log_format", mode="before", check_fields=False)
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("log_level", mode="before", check_fields=False)
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("min_tokens_limit", mode="after", check_fields=False)
    @classmethod
    def _check_min_tokens(cls, value: int | None, info: ValidationInfo) -> int | None:
        limit = info.data.get("max_tokens_limit")
        if value is not None and limit is not None and value > limit:
            raise ValueError(f"it is above MAX_TOKENS_LIMIT, {limit}")
        return value

    @field_validator("allowed_hosts", mode="before", check_fields=False)
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        names = split(value) if isinstance(value, str) else value
        return check_hosts(names) if isinstance(names, (list, tuple)) else names

    @field_validator("ccproxy_layers", mode="before", check_fields=False)
    @classmethod
    def _split_layers(cls, value: Any) -> Any:
        layers = split(value) if isinstance(value, str) else value
        if isinstance(layers, (list, tuple)) and all(isinstance(name, str) for name in layers):
            check_layers(layers)
        return layers

    @field_validator("enable_boost_support", mode="before", check_fields=False)
    @classmethod
    def _split_tiers(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = () if value.strip().upper() == "NONE" else split(value.upper())
        return tuple(dict.fromkeys(value)) if isinstance(value, Iterable) else value

    @field_validator("boost_wrapper_template", mode="after", check_fields=False)
    @classmethod
    def _read_template(cls, value: str | None) -> str | None:
        if value is None:
            return None
        text = read_text(value)
        if not Template(text).placeholders:
            raise ValueError("it has no placeholder, and there is no such file")
        return text

    @field_validator("custom_headers", mode="after", check_fields=False)
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        problems = header_problems(headers)
        if problems:
            raise ConfigurationError(problems)
        return headers

    @field_validator("upstreams", mode="before", check_fields=False)
    @classmethod
    def _check_upstreams(cls, value: Any, info: ValidationInfo) -> Any:
        upstreams = read_upstreams(value)
        if isinstance(routes_file := info.data.get("routes_file"), RoutesFile):
            routes_file.read(upstreams.keys())
        check_keys(info.data)
        if lines := [*_missing(info.data, upstreams, cls.model_fields), *_history_problems(info.data)]:
            raise ConfigurationError(lines)
        return upstreams


def _missing(values: Mapping[str, Any], upstreams: Mapping[str, object], fields: Mapping[str, FieldInfo]) -> list[str]:
    """A line for each required variable that is not set. ``values``: the settings that are valid by themselves."""
    needed = dict(_needed(values, upstreams))
    return [problem(name.upper(), "not set", why, _accepted(fields[name])) for name, why in needed.items()]


def _history_problems(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("history"):
        for name, why in (("ledger", "whose database it is kept in"), ("inspector", "whose exchanges it keeps")):
            if name in values and not values[name]:
                yield problem("HISTORY", "true", f"it needs {name.upper()}, {why}", f"with {name.upper()}=true")


def _needed(values: Mapping[str, Any], upstreams: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The required settings that are missing, and why each is required."""
    key = values.get("openai_api_key")
    if isinstance(key, SecretStr) and not key.get_secret_value():
        if not upstreams:
            yield "openai_api_key", ""
        elif (why := _use_of_default(values, upstreams)) is not None:
            yield "openai_api_key", f"{why} is asked of the default upstream"
    if values.get("enable_boost_support") and planner_candidates(values.get("boost_model", "?"), upstreams)[0]:
        for name in ("boost_base_url", "boost_api_key"):
            if name in values and values[name] is None:
                yield name, "ENABLE_BOOST_SUPPORT needs it" + (", or NAME:model in BOOST_MODEL" if upstreams else "")


def _use_of_default(values: Mapping[str, Any], upstreams: Mapping[str, object]) -> str | None:
    """The first model of the default upstream, and the setting that names it."""
    named = [(name.upper(), model) for name in _NAMING for model in names_of(values.get(name))]
    if values.get("enable_boost_support"):
        boost = planner_candidates(values.get("boost_model", ""), upstreams)[1]
        named += [("BOOST_MODEL", model) for model in boost]
    routes_file = values.get("routes_file")
    if isinstance(routes_file, RoutesFile):
        named += [(f"the rule {route.name}", model) for route in routes_file.routes for model in route.models]
    of_default = (model for model in collect(named, upstreams) if model.upstream == DEFAULT_UPSTREAM)
    return next((f"{', '.join(model.places)} {model.model}" for model in of_default), None)


def _accepted(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["accepted"]) if isinstance(extra, dict) else ""
