"""``cc-boost claude`` and ``cc-boost env``: Claude Code in front of the proxy.

The proxy that is started lives in a thread of this process, so that it ends with it whatever happens. Claude Code is
a child in the same process group: Ctrl-C at a terminal reaches both, and is Claude Code's to answer.
"""

import json
import logging
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from ..app import create_app
from ..logs import file_formatter
from ..serving import EXIT_CANT_START, EXIT_CONFIGURATION, fail, load_settings_or_exit, local_url, served
from ..settings import Settings
from .claude_variables import Models, child_environment, claude_variables, foreign_names, listed_models, set_models

EXIT_CANT_RUN = 126
EXIT_NOT_FOUND = 127
_ANY_KEY = "cc-boost"  # for a proxy that asks for none
_LIST_LIMIT = 6.0  # seconds for a proxy's list of models: it may have to ask the provider
_LOGGERS = ("ccproxy", "ccproxy_middleware", "uvicorn")
_NOT_INSTALLED = """\
Claude Code is not installed: there is no "claude" on the PATH. Install it with
  npm install -g @anthropic-ai/claude-code"""


def run_claude(
    arguments: Sequence[str], *, url: str | None = None, env_file: str | None = None, proxy_log: str | None = None
) -> int:
    """Run Claude Code in front of the proxy at ``url``, or of one of its own that lives as long as it does.

    Returns its exit code, 128 + N if signal N has ended it. Its own proxy takes one key only, which is made for this
    run, and logs to the file ``proxy_log``, or to a temporary one that is told of if Claude Code fails.
    """
    program = find_claude()
    if program is None:
        fail(_NOT_INSTALLED, EXIT_NOT_FOUND)
    if url is not None:
        url = url.rstrip("/")
        key = _client_key(load_settings_or_exit(env_file, openai_api_key="not used"))
        _check_claude_settings()
        models = listed_models(_list_or_exit(url, key))
        return _run(program, arguments, child_environment(os.environ, claude_variables(url, key, models)))
    key = secrets.token_urlsafe(32)
    settings = _for_one_client(load_settings_or_exit(env_file, anthropic_api_key=key))
    _check_claude_settings()
    models = set_models(settings)
    with _logged(settings, proxy_log) as log, served(create_app(settings)) as own_url:
        if models.window is None:
            with suppress(httpx.HTTPError, ValueError, LookupError, TypeError):
                models = listed_models(_list(own_url, key), models)
        code = _run(program, arguments, child_environment(os.environ, claude_variables(own_url, key, models)))
        log.wanted = code != 0
    return code


def exports(*, url: str | None = None, env_file: str | None = None) -> str:
    """The lines by which a POSIX shell's ``claude`` uses the proxy at ``url``, or where the settings put it."""
    if url is not None:
        settings = load_settings_or_exit(env_file, openai_api_key="not used")
        models = Models()
    else:
        settings = load_settings_or_exit(env_file)
        url = local_url(settings.host, settings.port)
        models = set_models(settings)
    variables = claude_variables(url.rstrip("/"), _client_key(settings), models)
    disturbing = sorted({"ANTHROPIC_API_KEY", *foreign_names(os.environ)} - variables.keys())
    lines = [f"unset {' '.join(disturbing)}"]
    return "\n".join([*lines, *(f"export {name}={shlex.quote(value)}" for name, value in variables.items())])


def find_claude() -> str | None:
    """The path of Claude Code's program, also where its own installers put it without changing the PATH."""
    places = (Path.home() / ".local/bin/claude", Path.home() / ".claude/local/claude")
    return shutil.which("claude") or next((str(place) for place in places if os.access(place, os.X_OK)), None)


def _client_key(settings: Settings) -> str:
    """The key for a proxy that runs already."""
    return settings.client_keys[0] if settings.client_keys else os.environ.get("ANTHROPIC_AUTH_TOKEN") or _ANY_KEY


def _for_one_client(settings: Settings) -> Settings:
    """The same settings for a proxy that checks its key, and can be asked for the models' sizes."""
    layers = settings.ccproxy_layers
    return settings.model_copy(
        update={
            "host": "127.0.0.1",
            "ccproxy_layers": layers if "auth" in layers else ("auth", *layers),
            "provider_options": {"list_models": "upstream", **settings.provider_options},
        }
    )


def _list(url: str, key: str) -> list[Mapping[str, Any]]:
    """A proxy's list of models. Raises httpx.HTTPError, or ValueError or so for what is no list."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(trust_env="127.0.0.1" not in url, timeout=_LIST_LIMIT) as client:
        answer = client.get(f"{url}/v1/models", params={"limit": 1000}, headers=headers)
    answer.raise_for_status()
    listed: list[Mapping[str, Any]] = answer.json()["data"]
    return listed


def _list_or_exit(url: str, key: str) -> list[Mapping[str, Any]]:
    """The list of a proxy that the user names, which shows that it is there and takes the key."""
    try:
        return _list(url, key)
    except httpx.HTTPStatusError as exc:
        if exc.response.status_code in (401, 403):
            fail(f"{url} does not accept the key. Set ANTHROPIC_API_KEY to one of its own.", EXIT_CANT_START)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        fail(f"Nothing answers at {url}: {exc}. Is cc-boost running there?", EXIT_CANT_START)
    except (ValueError, LookupError, TypeError):
        pass
    fail(f"{url} is no cc-boost: it does not list models.", EXIT_CANT_START)


def _check_claude_settings() -> None:
    """Exit where a settings file of Claude Code's would lead it elsewhere: it prefers those to its environment."""
    home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    for path in (home / "settings.json", Path(".claude/settings.json"), Path(".claude/settings.local.json")):
        try:
            variables = json.loads(path.read_text(encoding="utf-8")).get("env")
        except (OSError, ValueError, AttributeError):
            continue  # not there, or Claude Code's to complain of
        names = variables if isinstance(variables, dict) else {}
        leading = [n for n in names if n in ("ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")]
        leading += [n for n in names if n.startswith("CLAUDE_CODE_USE_")]
        if leading:
            what = ", ".join(leading)
            fail(f'{path} sets {what} under "env", which leads Claude Code elsewhere: take it out.', EXIT_CONFIGURATION)


@dataclass
class _Log:
    wanted: bool = False


@contextmanager
def _logged(settings: Settings, path: str | None) -> Iterator[_Log]:
    """Send what the proxy logs to a file: the terminal is Claude Code's. A temporary one stays only if it is wanted."""
    try:
        name = path or _temporary_file()
        handler = logging.FileHandler(name, encoding="utf-8")
    except OSError as exc:
        fail(f"--proxy-log: can't write {path or 'a temporary file'}: {exc.strerror or exc}", EXIT_CONFIGURATION)
    handler.setFormatter(file_formatter(settings.log_format))
    for logger in map(logging.getLogger, _LOGGERS):
        logger.addHandler(handler)
        logger.setLevel(settings.log_level)
        logger.propagate = False
    log = _Log()
    try:
        yield log
    finally:
        for logger in map(logging.getLogger, _LOGGERS):
            logger.removeHandler(handler)
        handler.close()
        if path is None and log.wanted and os.path.getsize(name):
            print(f"cc-boost: the proxy's log is {name}", file=sys.stderr)
        elif path is None:
            os.unlink(name)


def _temporary_file() -> str:
    handle, name = tempfile.mkstemp(prefix="cc-boost-", suffix=".log")
    os.close(handle)
    return name


def _run(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program in the foreground with this terminal, and return its exit code; 128 + N for a death by signal."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # the program may run already while Popen has not returned

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif number != signal.SIGINT or not _reached_by_ctrl_c():
            _kill(child, number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        try:
            child = subprocess.Popen([program, *arguments], env=dict(environment))  # noqa: S603 - the user's own program
        except OSError as exc:
            fail(f"{program} can't be run: {exc.strerror or exc}", EXIT_CANT_RUN)
        for number in early:
            pass_on(number, None)
        code = _wait(child)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code


def _wait(child: "subprocess.Popen[bytes]") -> int:
    """Its exit code, negative for a signal. If it is suspended, so is this process, and both go on together."""
    if not hasattr(os, "WUNTRACED"):  # Windows
        return child.wait()
    went_on = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal went_on
        went_on = True

    before = signal.signal(signal.SIGCONT, note)
    try:
        while True:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode
            if not went_on:  # else this process was stopped together with it, and both have gone on
                os.kill(os.getpid(), signal.SIGSTOP)
            went_on = False
            _kill(child, signal.SIGCONT)
    finally:
        signal.signal(signal.SIGCONT, before)


def _kill(child: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal. Popen's own method would take the exit code away from the one who waits for it."""
    with suppress(ProcessLookupError):
        os.kill(child.pid, number)


def _reached_by_ctrl_c() -> bool:
    """Whether the child has had a SIGINT already: this process group is its terminal's foreground."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (OSError, AttributeError):
        return False
