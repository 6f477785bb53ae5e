"""The settings as a list: for the help text, the documentation and ``cc-boost config``."""

from collections.abc import Iterable, Mapping

from .configuration import MASK, ConfigurationError, shown
from .custom_headers import HEADER_PREFIX
from .files import unreadable, values_of
from .settings import Settings


def variables() -> list[tuple[str, str, str]]:
    """Each variable with its default as one writes it (empty: unset) and its description, in order."""
    listed = []
    for name, field in Settings.model_fields.items():
        if name == "custom_headers":
            listed.append((f"{HEADER_PREFIX}*", "", field.description or ""))
        elif name == "ccproxy_layers":
            listed.append((name.upper(), ",".join(field.default), field.description or ""))
        elif name == "enable_boost_support":
            listed.append((name.upper(), "NONE", field.description or ""))
        else:
            default = "" if field.is_required() or field.default in (None, {}, ()) else field.default
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            if isinstance(default, bool):
                shown = shown.lower()
            listed.append((name.upper(), shown, field.description or ""))
    return listed


def given_variables(paths: Iterable[str], environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Each variable that is set and ours, with its text and where that stands, in the order of the settings.

    Raises ConfigurationError for a file that can't be read.
    """
    given: dict[str, tuple[str, str]] = {}
    paths = list(paths)
    try:
        for path in paths:
            given |= {name: (value, path) for name, value in values_of(path).items()}
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError([f"{unreadable(paths)}: can't be read; accepted: a UTF-8 text file"]) from None
    given |= {name.upper(): (value, "the environment") for name, value in environment.items() if value}
    ours = {name.upper(): given[name.upper()] for name in Settings.model_fields if name.upper() in given}
    return ours | {name: given[name] for name in sorted(given) if name.startswith(HEADER_PREFIX)}


def shown_value(name: str, value: str) -> str:
    """The text of a variable as it may be shown: without keys."""
    secret = name.startswith(HEADER_PREFIX) or name.endswith("_API_KEY")
    return MASK if secret else shown(value)
