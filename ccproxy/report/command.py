"""The sections of the report, as Markdown that fits into an issue."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Any

from ccproxy_middleware.conversion.providers import redact

from ..doctor import run as run_doctor
from ..serving import EXIT_CONFIGURATION, fail, local_url
from ..settings import (
    ConfigurationError,
    Settings,
    given_variables,
    settings_files,
    shown_value,
)
from .exchanges import running_proxy

_PACKAGES = [
    "aiohttp",
    "anyio",
    "bpe-openai",
    "ddgs",
    "gunicorn",
    "httptools",
    "httpx",
    "orjson",
    "pydantic",
    "pydantic-settings",
    "redis",
    "starlette",
    "uvicorn",
    "uvicorn-worker",
    "uvloop",
]
_CLAUDE_LIMIT = 10.0  # seconds
_MIN_SECRET = 8  # characters; shorter values are placeholders, such as none, or parts of other words


def run_report(*, url: str | None = None, env_file: str | None = None, doctor: bool = True, last: int = 5) -> int:
    """Print the report and return the exit code: 0, or 2 if the settings are invalid, which the report says.

    ``url``: the running proxy, if it is not where the settings say. ``doctor``: ask the provider. ``last``: how many
    exchanges of the running proxy are shown.
    """
    if env_file is not None and not Path(env_file).is_file():
        fail(f"--env-file: given {env_file!r}; accepted: a file that exists", EXIT_CONFIGURATION)
    settings: Settings | None = None
    problems: tuple[str, ...] = ()
    try:
        settings = Settings.load(env_file)
    except ConfigurationError as error:
        problems = error.problems
    sections = {"Versions": _versions(), "Settings": _settings(env_file, problems)}
    if settings is not None:
        if doctor:
            sections["Doctor"] = _doctor(env_file)
        url = url or local_url(settings.host, settings.port)
        key = next(iter(_keys(settings)), None)
        sections["Running proxy"] = running_proxy(url.rstrip("/"), key, last)
    secrets = sorted(settings.secrets() if settings is not None else (), key=len, reverse=True)
    hidden = {secret: "***" for secret in secrets if len(secret) >= _MIN_SECRET}
    if len(home := str(Path.home())) > 1:
        hidden[home] = "~"
    for title, content in sections.items():
        print(f"## {title}\n\n```json\n{json.dumps(_cleaned(content, hidden), indent=1, ensure_ascii=False)}\n```\n")
    _tell("Read the report before you send it: it names your models, your addresses and the provider's errors.")
    return EXIT_CONFIGURATION if settings is None else 0


def _versions() -> dict[str, Any]:
    return {
        "cc-boost": version("cc-boost"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "claude": _claude_version(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _claude_version() -> str | None:
    program = shutil.which("claude")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_CLAUDE_LIMIT)  # noqa: S603 - the user's own program
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()[:80]


def _settings(env_file: str | None, problems: tuple[str, ...]) -> dict[str, Any]:
    files = settings_files(env_file)
    try:
        given = given_variables([file.path for file in files if not file.left_out], os.environ)
    except ConfigurationError:  # problems say so
        given = {}
    found = {name: {"value": shown_value(name, value), "from": source} for name, (value, source) in given.items()}
    return {"files": [file.path for file in files], "settings": found, "problems": list(problems)}


def _doctor(env_file: str | None) -> Any:
    """The doctor's document. Its requests cost little, but take a while."""
    _tell("Asking the provider, as cc-boost doctor does; --no-doctor leaves it out.")
    output = StringIO()
    with redirect_stdout(output):
        run_doctor(env_file=env_file, as_json=True)
    return json.loads(output.getvalue())


def _keys(settings: Settings) -> tuple[str, ...]:
    """The keys that may open the inspector, the most likely first."""
    return (*settings.admin_keys, *settings.client_keys)


def _cleaned(value: Any, hidden: Mapping[str, str]) -> Any:
    """The value with keys and the home directory removed from every text in it, including field names."""
    if isinstance(value, str):
        for text, shown in hidden.items():
            value = value.replace(text, shown)
        return redact(value)
    if isinstance(value, Mapping):
        return {_cleaned(name, hidden): _cleaned(item, hidden) for name, item in value.items()}
    return [_cleaned(item, hidden) for item in value] if isinstance(value, (list, tuple)) else value


def _tell(line: str) -> None:
    print(f"cc-boost: {line}", file=sys.stderr, flush=True)
