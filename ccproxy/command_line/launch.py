"""``cc-boost claude`` and ``cc-boost env``: Claude Code in front of the proxy.

The proxy that this module starts runs in a thread of this process, so that both always end together. Claude Code is a
child in the same process group. Ctrl-C at a terminal reaches both, and Claude Code decides what to do.
"""

import os
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..app import create_app
from ..model_limits import model_limits, with_limits
from ..provider_models import ask_providers
from ..serving import EXIT_CANT_START, EXIT_CONFIGURATION, fail, load_settings_or_exit, local_url, served
from ..settings import Settings, settings_files, unread_files
from .child import run_program
from .claude import (
    Models,
    claude_variables,
    foreign_names,
    is_own,
    listed_models,
    no_proxy,
    set_models,
    uses_own_access,
    with_own_headers,
    with_project,
)
from .handing_over import handed_over, is_offline, resume_line
from .proxy_log import logged_to_file
from .running_proxy import list_if_there, list_or_exit
from .shells import Shell, script

EXIT_NOT_FOUND = 127
_ANY_KEY = "cc-boost"  # for a proxy that needs no key
_BACKGROUND = {"--bg", "--background"}
_NO_BACKGROUND = """\
A background session outlives this command, and would lose the proxy that ends with it. Let a proxy run on its own, with
  cc-boost service install
and give the session to that one:
  cc-boost claude --url http://localhost:8082 --bg ..."""
_NOT_INSTALLED = """\
Claude Code is not installed: there is no "claude" on the PATH. Install it with
  npm install -g @anthropic-ai/claude-code"""


def run_claude(
    arguments: Sequence[str], *, url: str | None = None, env_file: str | None = None, proxy_log: str | None = None
) -> int:
    """Run Claude Code with the proxy at ``url``, or with its own proxy, which runs as long as Claude Code does.

    Returns Claude Code's exit code, 128 + N if signal N killed it. Its own proxy accepts only one key, which is made
    for
    this run. It logs to the file ``proxy_log``, or to a temporary file, whose path is printed if Claude Code fails.
    """
    program = find_claude()
    if program is None:
        fail(_NOT_INSTALLED, EXIT_NOT_FOUND)
    background = not _BACKGROUND.isdisjoint(arguments)
    started = time.time()
    if url is not None:
        url = url.rstrip("/")
        settings = settings_or_exit(env_file, openai_api_key="not used")
        key = client_key(settings)
        models = listed_models(list_or_exit(url, key), Models(own_access=uses_own_access(settings)))
        variables = _for_project(claude_variables(url, key, models))
        with handed_over(arguments, variables, keep=background) as (given, environment):
            code = run_program(program, given, with_project(environment, Path.cwd().name))
        _tell_how_to_resume(arguments, started, f"--url {shlex.quote(url)} ")
        return code
    if background:
        fail(_NO_BACKGROUND, EXIT_CONFIGURATION)
    key = secrets.token_urlsafe(32)
    settings = _for_one_client(settings_or_exit(env_file, anthropic_api_key=key))
    limits = model_limits(settings, {} if is_offline(arguments) else _ask_or_exit(settings))
    settings = with_limits(settings, limits)
    with logged_to_file(settings, proxy_log) as log, served(create_app(settings)) as own_url:
        variables = _for_project(claude_variables(own_url, key, set_models(settings, limits)))
        with handed_over(arguments, variables) as (given, environment):
            code = run_program(program, given, with_project(environment, Path.cwd().name))
        log.wanted = code != 0
    _tell_how_to_resume(arguments, started)
    return code


def _for_project(variables: dict[str, str]) -> dict[str, str]:
    """The variables; their headers, if any, override those of the environment."""
    return with_project(variables, Path.cwd().name) if "ANTHROPIC_CUSTOM_HEADERS" in variables else variables


def exports(*, url: str | None = None, shell: Shell = "sh", env_file: str | None = None) -> str:
    """The lines that make a shell's ``claude`` use the proxy at ``url``, or at the address in the settings."""
    if url is not None:
        settings = settings_or_exit(env_file, openai_api_key="not used")
        listed = list_if_there(url.rstrip("/"), client_key(settings))
        models = listed_models(listed, Models(own_access=uses_own_access(settings)))
    else:
        settings = settings_or_exit(env_file)
        url = local_url(settings.host, settings.port)
        told = ask_providers(settings)
        if told.failure:
            line = "the sizes of its models are unknown to the lines that are printed"
            print(f"cc-boost: the provider can't be reached, and {line}: {told.failure}", file=sys.stderr)
        models = set_models(settings, model_limits(settings, told.models))
    url = url.rstrip("/")
    variables = {**claude_variables(url, client_key(settings), models), **no_proxy(os.environ, url)}
    disturbing = {*foreign_names(os.environ, variables)} - variables.keys()
    if not is_own("ANTHROPIC_API_KEY", os.environ.get("ANTHROPIC_API_KEY", ""), variables):
        disturbing.add("ANTHROPIC_API_KEY")
    variables = with_own_headers(os.environ, variables)
    return script(shell, unset=sorted(disturbing), variables=variables)


def find_claude() -> str | None:
    """The path of Claude Code's program, including where its own installers put it without changing PATH."""
    places = (Path.home() / ".local/bin/claude", Path.home() / ".claude/local/claude")
    return shutil.which("claude") or next((str(place) for place in places if os.access(place, os.X_OK)), None)


def settings_or_exit(env_file: str | None, **values: str) -> Settings:
    """The settings for work in a project, whose own ``.env`` is not ours. Prints a warning if a file may be meant for
    us.
    """
    settings = load_settings_or_exit(env_file, any_env=False, **values)
    for line in unread_files(settings_files(env_file, any_env=False), likely=True):
        print(f"cc-boost: {line}", file=sys.stderr)
    return settings


def _ask_or_exit(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """The provider's models. If it can't be reached, exit at once: Claude Code would retry for minutes."""
    told = ask_providers(settings)
    if told.failure:
        remedy = f"{told.remedy}, is there a network? cc-boost config shows the settings."
        fail(f"The provider can't be reached: {told.failure}. {remedy}", EXIT_CANT_START)
    return told.models


def client_key(settings: Settings) -> str:
    """The key for a proxy that is already running."""
    return settings.client_keys[0] if settings.client_keys else os.environ.get("ANTHROPIC_AUTH_TOKEN") or _ANY_KEY


def _for_one_client(settings: Settings) -> Settings:
    """The same settings, for a proxy that checks its key."""
    layers = settings.ccproxy_layers
    return settings.model_copy(
        update={
            "host": "127.0.0.1",
            "keys_file": None,
            "ccproxy_layers": layers if "auth" in layers else ("auth", *layers),
        }
    )


def _tell_how_to_resume(arguments: Sequence[str], since: float, options: str = "") -> None:
    """Print the command that resumes the session: the one that Claude Code prints does not use the proxy."""
    if sys.stdout.isatty() and (line := resume_line(arguments, since, options)):
        print(f"Through the proxy: {line}", file=sys.stderr)
