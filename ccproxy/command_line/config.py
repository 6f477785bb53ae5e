"""``cc-boost config``: the files that are read, the settings in them, and where each setting comes from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..serving import EXIT_CONFIGURATION, fail
from ..settings import (
    ConfigurationError,
    Settings,
    given_variables,
    settings_files,
    shown_value,
    users_file,
    variables,
)


def show_config(*, env_file: str | None = None, serve: bool = False, as_json: bool = False) -> int:
    """Print the settings and return the exit code: 0, or 2 if they are invalid.

    ``serve``: read them as ``cc-boost serve`` does, not as ``cc-boost claude`` does.
    """
    if env_file is not None and not Path(env_file).is_file():
        fail(f"--env-file: given {env_file!r}; accepted: a file that exists", EXIT_CONFIGURATION)
    files = settings_files(env_file, any_env=serve)
    try:
        given = given_variables([file.path for file in files if not file.left_out], os.environ)
    except ConfigurationError as exc:
        fail(str(exc), EXIT_CONFIGURATION)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    try:
        warnings = Settings.load(env_file, any_env=serve).lookalikes
    except ConfigurationError as exc:
        problems = exc.problems
    left_out = {file.path: file.left_out for file in files}
    if str(users_file()) not in left_out:
        left_out = {str(users_file()): "it does not exist; cc-boost setup creates it", **left_out}
    settings = {name: (shown_value(name, value), source) for name, (value, source) in given.items()}
    if as_json:
        document = {
            "files": [{"path": path, "read": not reason, "reason": reason} for path, reason in left_out.items()],
            "settings": [{"name": n, "value": value, "from": source} for n, (value, source) in settings.items()],
            "problems": problems,
            "warnings": warnings,
        }
        print(json.dumps(document, indent=2))
    else:
        _print(left_out, settings, "serve" if serve else "claude")
        for line in (*problems, *warnings):
            print(line)
    return EXIT_CONFIGURATION if problems else 0


def _print(files: Mapping[str, str], settings: Mapping[str, tuple[str, str]], command: str) -> None:
    print(f"Files that cc-boost {command} reads, later ones over earlier ones, and the environment over all:")
    for path, left_out in files.items():
        print(f"  {path}: " + (f"not read: {left_out}" if left_out else "read"))
    print("Settings:")
    width = max(map(len, settings), default=0)
    for name, (value, source) in settings.items():
        print(f"  {name:{width}}  {value}  (from {source})")
    others = sum(name not in settings for name, _, _ in variables())
    print(f"  The other {others} settings have their defaults; cc-boost --help lists them.")
