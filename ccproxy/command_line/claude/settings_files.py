"""Claude Code's own settings files: what other gateways left there, and the settings passed with ``--settings``.

Claude Code prefers ``env`` in a settings file to its environment, and the file of ``--settings`` to all other files
except an administrator's. Background agents and the desktop app see only settings.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccproxy_middleware.models import PROVIDERS_OWN, tier_of

from .variables import is_foreign, is_own, own_choices, with_own_headers

_LEADING = ("ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_SMALL_FAST_MODEL")
_ADMINISTRATORS = {
    "darwin": "/Library/Application Support/ClaudeCode/managed-settings.json",
    "win32": "C:\\Program Files\\ClaudeCode\\managed-settings.json",
}.get(sys.platform, "/etc/claude-code/managed-settings.json")


class BadSettings(ValueError):
    """A file, or the JSON of ``--settings``, that is not an object."""


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What one settings file has that would point Claude Code elsewhere: variables, and a choice of model."""

    path: str
    names: tuple[str, ...]
    model: str = ""

    def __str__(self) -> str:
        model = (f"model {self.model}",) if self.model else ()
        return f"{self.path}: {', '.join((*self.names, *model))}"


def claude_home() -> Path:
    """The folder in which Claude Code keeps its user's settings."""
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")


def left_over(variables: Mapping[str, str]) -> list[LeftOver]:
    """What other gateways left in the settings files of the user and of this project.

    ``variables``: the variables that are about to be set for Claude Code.
    """
    paths = (claude_home() / "settings.json", Path(".claude/settings.json"), Path(".claude/settings.local.json"))
    return [found for path in paths if (found := _left_over_in_file(path, variables))]


def administrators(variables: Mapping[str, str]) -> LeftOver | None:
    """Those of these settings that an administrator has set, which nothing can override."""
    return _left_over_in_file(Path(_ADMINISTRATORS), variables)


def read_object(text: str, what: str) -> dict[str, Any]:
    """The JSON object in a settings file. Raises BadSettings."""
    try:
        value = json.loads(text or "{}")
    except ValueError as exc:
        raise BadSettings(f"{what} is no JSON: {exc}") from None
    if not isinstance(value, dict):
        raise BadSettings(f"{what} is no JSON object")
    return value


def own_settings(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Claude Code's arguments without ``--settings``, and the settings that the option named. Raises BadSettings."""
    others: list[str] = []
    given: str | None = None
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            others += [argument, *rest]
        elif argument == "--settings":
            given = next(rest, "")
        elif argument.startswith("--settings="):
            given = argument.partition("=")[2]
        else:
            others.append(argument)
    if given is None:
        return others, {}
    if given.lstrip().startswith("{"):
        return others, read_object(given, "what --settings names")
    try:
        return others, read_object(Path(given).read_text(encoding="utf-8"), f"--settings {given}")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadSettings(f"--settings {given} can't be read: {exc}") from None


def merged(own: Mapping[str, Any], variables: Mapping[str, str], found: Sequence[LeftOver]) -> dict[str, Any]:
    """The settings to pass on: the user's own with the proxy's variables, without those of other gateways."""
    env = own.get("env")
    env = dict(env) if isinstance(env, dict) else {}
    names = {name for left in found for name in left.names} | {
        name for name in env if _leads(name, env[name], variables)
    }
    cleared = dict.fromkeys(names, "")  # Claude Code treats an empty variable as unset
    users = {name for names in own_choices(env) for name in names}
    given = with_own_headers({name: str(value) for name, value in env.items()}, variables)
    handed = {name: value for name, value in given.items() if name not in users}
    settings = {**own, "env": {**env, **cleared, **handed}}
    if any(left.model for left in found) and not own.get("model"):
        settings["model"] = "opus"
    return settings


def is_own_model(name: str) -> bool:
    """Whether a proxy can serve this choice of model: a Claude name, or a name from its list that ``/model`` has
    saved.
    """
    return name in ("", "default", "inherit") or tier_of(name) is not None or name.startswith(PROVIDERS_OWN)


def left_over_in(settings: Mapping[str, Any], path: str, variables: Mapping[str, str]) -> LeftOver | None:
    """What another gateway left in these settings, read from the named file. ``variables``: as in left_over."""
    env = settings.get("env")
    names = tuple(n for n, value in env.items() if _leads(n, value, variables)) if isinstance(env, dict) else ()
    model = settings.get("model")
    foreign = model if isinstance(model, str) and not is_own_model(model) else ""
    return LeftOver(path, names, foreign) if names or foreign else None


def _left_over_in_file(path: Path, variables: Mapping[str, str]) -> LeftOver | None:
    try:
        return left_over_in(read_object(path.read_text(encoding="utf-8"), str(path)), str(path), variables)
    except (OSError, ValueError):
        return None  # missing, or invalid, which Claude Code itself reports


def _leads(name: str, value: object, variables: Mapping[str, str]) -> bool:
    if value == "" or is_own(name, str(value), variables):
        return False
    return name in _LEADING or is_foreign(name, str(value))
