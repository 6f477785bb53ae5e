"""The settings as a list, for the help text, the documentation and ``cc-boost config``; and the models they name."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .configuration import MASK, shown
from .custom_headers import HEADER_PREFIX
from .files import check_files, values_of
from .model_names import NamedModel, collect, names_of, planner_candidates
from .settings import Settings
from .upstream import variable_of
from .upstreams import FIELDS, parted


class Variable(NamedTuple):
    """A variable: its default as a user would write it (empty: unset), what is accepted, and its meaning."""

    name: str
    default: str
    accepted: str
    meaning: str


def described() -> list[Variable]:
    """Every variable, in order."""
    listed = []
    for name, field in Settings.model_fields.items():
        if name == "upstreams":
            listed += [
                Variable(variable_of("<NAME>", end), "", known.accepted, known.description)
                for end, known in FIELDS.items()
            ]
            continue
        extra = field.json_schema_extra
        accepted = str(extra["accepted"]) if isinstance(extra, dict) else ""
        variable = f"{HEADER_PREFIX}*" if name == "custom_headers" else name.upper()
        listed.append(Variable(variable, _default(name, field.default), accepted, field.description or ""))
    return listed


def variables() -> list[tuple[str, str, str]]:
    """Each variable with its default as a user would write it (empty: unset) and its description, in order."""
    return [(variable.name, variable.default, variable.meaning) for variable in described()]


def _default(name: str, value: Any) -> str:
    match name:
        case "ccproxy_layers":
            return ",".join(value)
        case "enable_boost_support":
            return "NONE"
    if value in (None, {}, ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def given_variables(paths: Iterable[str], environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Each of our variables that is set, with its text and where it is set, in the order of the settings.

    Raises ConfigurationError for a file that can't be read.
    """
    given: dict[str, tuple[str, str]] = {}
    paths = list(paths)
    check_files(paths)
    for path in paths:
        given |= {name: (value, path) for name, value in values_of(path).items()}
    given |= {name.upper(): (value, "the environment") for name, value in environment.items() if value}
    ours = {name.upper(): given[name.upper()] for name in Settings.model_fields if name.upper() in given}
    more = sorted(name for name in given if name.startswith(HEADER_PREFIX) or _is_of_upstream(name))
    return ours | {name: given[name] for name in more}


def shown_value(name: str, value: str) -> str:
    """A variable's text with keys removed, so that it can be shown."""
    secret = name.startswith(HEADER_PREFIX) or name.endswith(("_API_KEY", "_HEADERS")) or name == "STATE_URL"
    return MASK if secret else shown(value)


def is_variable(name: str) -> bool:
    """Whether a variable, given in upper case, is one of ours."""
    return name.lower() in Settings.model_fields or name.startswith(HEADER_PREFIX) or _is_of_upstream(name)


def _is_of_upstream(variable: str) -> bool:
    parts = parted(variable)
    return parts is not None and parts[1] in FIELDS


def named_models(settings: Settings) -> tuple[NamedModel, ...]:
    """Every model that the settings name, in order: tiers, classifier, safeguards, vision, routes, boost.

    Models of BOOST_MODEL without an upstream belong to BOOST_BASE_URL and are not included.
    """
    return tuple(collect(_by_place(settings), settings.upstreams.keys()))


def model_to_try(settings: Settings, upstream: str) -> str | None:
    """A model of this upstream that the settings name: the cheapest one, if prices are known. None if there is none."""
    named = {
        place: model.model
        for model in reversed(named_models(settings))
        if model.upstream == upstream
        for place in model.places
    }
    return named.get("SMALL_MODEL") or next(iter(reversed(named.values())), None)


def tier_models(settings: Settings) -> Mapping[str, str]:
    """The first model of each tier."""
    return {
        "BIG_MODEL": settings.big_model,
        "MIDDLE_MODEL": settings.middle_model,
        "SMALL_MODEL": settings.small_model,
    }


def _by_place(settings: Settings) -> Iterable[tuple[str, str]]:
    for variable in (
        "BIG_MODEL",
        "MIDDLE_MODEL",
        "SMALL_MODEL",
        "CLASSIFIER_MODEL",
        "SAFEGUARDS_MODEL",
        "VISION_MODEL",
    ):
        yield from ((variable, model) for model in names_of(getattr(settings, variable.lower())))
    for route in settings.routes:
        yield from ((f"the rule {route.name}", model) for model in route.models)
    if settings.enable_boost_support:
        yield from (("BOOST_MODEL", m) for m in planner_candidates(settings.boost_model, settings.upstreams)[1])
