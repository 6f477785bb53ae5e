"""Claude Code's arguments and environment, and a settings file that reaches all its processes."""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..serving import EXIT_CONFIGURATION, fail
from .claude import (
    BadSettings,
    administrators,
    child_environment,
    claude_home,
    left_over,
    merged,
    own_settings,
    with_own_headers,
)

# Subcommands of Claude Code that ask no model. "agents" is not one of them: the sessions that it starts ask models.
_OFFLINE = {
    *("attach", "auth", "auto-mode", "doctor", "gateway", "import", "install", "logs", "mcp", "plugin", "plugins"),
    *("purge", "rm", "setup-token", "stop", "kill", "update", "upgrade"),
}
_SHOWN_ONLY = {"--help", "-h", "--version", "-v"}


def is_offline(arguments: Sequence[str]) -> bool:
    """Whether Claude Code asks no model with these arguments."""
    return bool(arguments) and (arguments[0] in _OFFLINE or not _SHOWN_ONLY.isdisjoint(arguments))


@contextmanager
def handed_over(
    arguments: Sequence[str], variables: Mapping[str, str], *, keep: bool = False
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The arguments and the environment for Claude Code. The settings file that they name exists inside this context.

    Exits if an administrator's settings prevent it, or if the file of ``--settings`` can't be read.
    ``keep``: don't delete the file, for a background session.
    """
    variables = with_own_headers(os.environ, variables)
    environment = child_environment(os.environ, variables)
    if is_offline(arguments):
        yield list(arguments), environment
        return
    if found := administrators(variables):
        fail(f"{found} is set there by your administrator, and nothing goes over it.", EXIT_CONFIGURATION)
    others = left_over(variables)
    for left in others:
        print(f"cc-boost: {left} points at another gateway; overridden for this run.", file=sys.stderr)
    try:
        given, own = own_settings(arguments)
    except BadSettings as exc:
        fail(str(exc), EXIT_CONFIGURATION)
    path = _write(json.dumps(merged(own, variables, others), indent=2))
    try:
        yield ["--settings", path, *given], environment
    finally:
        if not keep:
            with suppress(OSError):
                os.unlink(path)


def resume_line(arguments: Sequence[str], since: float, options: str = "") -> str | None:
    """The command that resumes the session which has just ended at a terminal, through the proxy again.

    ``since``: when the session started. ``options``: those of ``cc-boost claude``.
    """
    if not {"-p", "--print"}.isdisjoint(arguments) or is_offline(arguments):
        return None
    folder = claude_home() / "projects" / re.sub(r"[^A-Za-z0-9]", "-", os.getcwd())
    sessions: list[tuple[float, Path]] = []
    for path in folder.glob("*.jsonl"):
        with suppress(OSError):
            sessions.append((path.stat().st_mtime, path))
    newest, path = max(sessions, default=(0.0, Path()))
    return f"cc-boost claude {options}--resume {path.stem}" if newest >= since else None


def _write(text: str) -> str:
    """A file readable by its owner only: it contains the proxy's key, which others could read in a process's
    arguments.
    """
    handle, name = tempfile.mkstemp(prefix="cc-boost-claude-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return name
