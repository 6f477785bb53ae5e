"""Settings without which others make no sense."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ccproxy_middleware.models import DEFAULT_UPSTREAM

from .configuration import problem
from .model_names import collect, names_of, planner_candidates
from .routes_file import RoutesFile

_NAMING = ("big_model", "middle_model", "small_model", "classifier_model", "safeguards_model")


def missing(values: Mapping[str, Any], upstreams: Mapping[str, object], fields: Mapping[str, FieldInfo]) -> list[str]:
    """A line for each variable that is not set and must be. ``values``: the settings that are fit by themselves."""
    needed = dict(_needed(values, upstreams))
    return [problem(name.upper(), "not set", why, _accepted(fields[name])) for name, why in needed.items()]


def _needed(values: Mapping[str, Any], upstreams: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The settings that are not there, and why each has to be."""
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
    """The first model of the default upstream, and what names it."""
    named = [(name.upper(), model) for name in _NAMING for model in names_of(values.get(name))]
    if values.get("enable_boost_support"):
        boost = planner_candidates(values.get("boost_model", ""), upstreams)[1]
        named += [("BOOST_MODEL", model) for model in boost]
    routes_file = values.get("routes_file")
    if isinstance(routes_file, RoutesFile):
        named += [("ROUTES_FILE", model) for route in routes_file.routes for model in route.models]
    of_default = (model for model in collect(named, upstreams) if model.upstream == DEFAULT_UPSTREAM)
    return next((f"{', '.join(model.places)} {model.model}" for model in of_default), None)


def _accepted(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["accepted"]) if isinstance(extra, dict) else ""
