"""``cc-boost setup``: the user's configuration file, and the proxy's variables in Claude Code's own settings.

Every Claude Code then finds the proxy that runs as a service: in a terminal, an editor, the desktop app or the
background.
"""

import difflib
import getpass
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..doctor import write_variables
from ..model_limits import model_limits
from ..provider_models import ask_providers
from ..serving import EXIT_CANT_START, EXIT_CONFIGURATION, fail, load_settings_or_exit, local_url
from ..settings import HEADER, Settings, given_variables, replace_file, settings_files, shown_value, users_file
from .claude import (
    BadSettings,
    Models,
    Record,
    claude_home,
    claude_variables,
    digest,
    encoded,
    forget_record,
    left_over_in,
    listed_models,
    load_record,
    no_proxy,
    read_object,
    save_record,
    set_in,
    set_models,
    taken_back,
    uses_own_access,
    with_own_headers,
)
from .launch import client_key, settings_or_exit
from .money import status_line_setting
from .running_proxy import list_if_there

_EXIT_REFUSED = 1
_SECRET = re.compile(
    r'("[^"]*(?:KEY|TOKEN(?!S)|SECRET|PASSWORD|HEADERS|CREDENTIAL)[^"]*"\s*:\s*)"((?:\\.|[^"\\])*)"', re.IGNORECASE
)
_NO_SECRETS = ("", "cc-boost")
_USERS_HEADER = f"""\
{HEADER}, for this user, in every folder. "cc-boost --help" lists all of them; "cc-boost config" shows what counts.
"""


def run_setup(
    *, url: str | None = None, project: bool = False, undo: bool = False, yes: bool = False, env_file: str | None = None
) -> int:
    """Write the files, or with ``undo`` restore them, after showing the changes and asking. Returns the exit code."""
    path = Path(".claude/settings.json") if project else claude_home() / "settings.json"
    if undo:
        return _undo(path, project, yes)
    if url is None:
        _make_users_file(env_file, yes)
    variables = _variables(url, env_file)
    before = _read(path)
    record = load_record(path)
    try:
        original = before if record is None or before is None else taken_back(before, record)[0]
        after, record = _with_variables(path, original, variables)
    except (BadSettings, ValueError) as exc:
        fail(f"{path} can't be changed: {exc}. It stays as it is.", EXIT_CONFIGURATION)
    if before == after:
        print(f"{path} already has all of it.")
        return 0
    if project and variables["ANTHROPIC_AUTH_TOKEN"] != "cc-boost":  # noqa: S105 - what stands for no key
        print(f"{path} will hold the proxy's key: do not share it, or leave out --project.", file=sys.stderr)
    if not _agreed(path, before, after, yes):
        return _EXIT_REFUSED
    try:
        save_record(path, record)  # saved first, so that everything written can be undone
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, after)
    except OSError as exc:
        fail(f"{path} can't be written: {exc.strerror or exc}", EXIT_CONFIGURATION)
    address = variables["ANTHROPIC_BASE_URL"]
    print(f"Done. claude now asks {address}; start it with cc-boost service install, or cc-boost serve.")
    print(f"Undo this with cc-boost setup {'--project ' if project else ''}--undo.")
    return 0


def _undo(path: Path, project: bool, yes: bool) -> int:
    record, before = load_record(path), _read(path)
    if record is None or before is None:
        fail(f"cc-boost setup has not written to {path}.", EXIT_CANT_START)
    try:
        after, changed = taken_back(before, record)
    except ValueError as exc:
        fail(f"{path} can't be changed: {exc}. It stays as it is.", EXIT_CONFIGURATION)
    if before != after and not _agreed(path, before, after, yes):
        return _EXIT_REFUSED
    try:
        if after is None:
            path.resolve().unlink()
        else:
            replace_file(path, after)
        forget_record(path)
    except OSError as exc:
        fail(f"{path} can't be written: {exc.strerror or exc}", EXIT_CONFIGURATION)
    if changed:
        print(f"Changed by others since then, and left as is: {', '.join(changed)}.")
    if not project:
        _undo_users_file()
    print("Done.")
    return 0


def _undo_users_file() -> None:
    """Delete the configuration file that setup made, unless its content has changed since."""
    path = users_file()
    record, content = load_record(path), _read(path)
    if record is None or content is None:
        return
    if digest(content) == record.after:
        path.resolve().unlink()
        print(f"{path} is deleted.")
    else:
        print(f"{path} has changed since then, and stays.")
    forget_record(path)


def _make_users_file(env_file: str | None, yes: bool) -> None:
    """Make a missing configuration file for the user, from the current settings or the user's answers."""
    path = users_file()
    if path.exists():
        return
    read = [file.path for file in settings_files(env_file, any_env=False) if not file.left_out]
    values = {name: value for name, (value, _) in given_variables(read, os.environ).items()}
    if "OPENAI_API_KEY" not in values:
        if yes or not sys.stdin.isatty():
            fail(
                f"OPENAI_API_KEY: not set. Set it in the environment, or in {path}, and run cc-boost setup again.",
                EXIT_CONFIGURATION,
            )
        values |= _asked(values)
    values.setdefault("HOST", "127.0.0.1")  # without a client key, the proxy serves this machine only
    plain = {name.lower(): value for name, value in values.items() if name.lower() in Settings.model_fields}
    load_settings_or_exit(env_file, any_env=False, **plain)
    print(f"{path} does not exist yet. It will contain:")
    for name, value in values.items():
        print(f"  {name}={shown_value(name, value)}")
    if not yes and not _confirmed():
        sys.exit(_EXIT_REFUSED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, _USERS_HEADER.encode())
        write_variables(path, values)
        save_record(path, Record(str(path), None, digest(path.read_bytes()), {}, [], {}))
    except OSError as exc:
        fail(f"{path} can't be written: {exc.strerror or exc}", EXIT_CONFIGURATION)


def _asked(known: Mapping[str, str]) -> dict[str, str]:
    """The user's answer to a question about the provider; an empty answer means the default."""
    answers = {"OPENAI_API_KEY": getpass.getpass("The provider's key (any text for a local server): ")}
    for name, question in (
        ("OPENAI_BASE_URL", "Its base URL [https://api.openai.com/v1]: "),
        ("BIG_MODEL", "The model for opus and sonnet [gpt-4o]: "),
        ("SMALL_MODEL", "The model for haiku [gpt-4o-mini]: "),
    ):
        if name not in known and (answer := input(question).strip()):
            answers[name] = answer
    return answers


def _variables(url: str | None, env_file: str | None) -> dict[str, str]:
    """The variables for the proxy, which need not be running."""
    if url is not None:
        url = url.rstrip("/")
        settings = settings_or_exit(env_file, openai_api_key="not used")
        key = client_key(settings)
        models = listed_models(list_if_there(url, key), Models(own_access=uses_own_access(settings)))
    else:
        settings = settings_or_exit(env_file)
        url, key = local_url(settings.host, settings.port), client_key(settings)
        models = set_models(settings, model_limits(settings, ask_providers(settings).models))
    return {**claude_variables(url, key, models), **no_proxy(os.environ, url)}


def _with_variables(path: Path, original: bytes | None, variables: Mapping[str, str]) -> tuple[bytes, Record]:
    """The file's new content, and what is needed to restore the old content."""
    text = "{}\n" if not (original or b"").strip() else (original or b"").decode("utf-8")
    settings = read_object(text.removeprefix("\ufeff"), "the file")
    env = settings.get("env", {})
    if not isinstance(env, dict):
        raise BadSettings('"env" in it is no JSON object')
    foreign = left_over_in(settings, str(path), variables)
    variables = with_own_headers(env, variables)
    values = {**dict.fromkeys(foreign.names if foreign else (), ""), **variables}
    text = set_in(text, values, inside="env")
    written: dict[str, Any] = dict(values)
    model: list[Any] = []
    if foreign and foreign.model:
        text = set_in(text, {"model": "opus"})
        model, written["model"] = [settings["model"]], "opus"
    shown = {} if "statusLine" in settings else {"statusLine": status_line_setting()}
    if shown:  # the user's own status line is left alone
        text = set_in(text, shown)
        written |= shown
    expected = {**settings, "env": {**env, **values}, **({"model": "opus"} if model else {}), **shown}
    if json.loads(text.removeprefix("\ufeff")) != expected:
        raise BadSettings("it has a form that is not understood")
    after = text.encode("utf-8")
    before = {name: env.get(name) for name in values}
    return after, Record(str(path), encoded(original), digest(after), before, model, written, status_line=bool(shown))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        fail(f"{path} can't be read: {exc.strerror or exc}", EXIT_CONFIGURATION)


def _agreed(path: Path, before: bytes | None, after: bytes | None, yes: bool) -> bool:
    """Show the changes and ask; exits if there is no terminal to ask at."""
    old, new = ((content or b"").decode("utf-8", "replace").splitlines() for content in (before, after))
    lines = difflib.unified_diff(old, new, str(path), f"{path} (new)" if after else "(deleted)", lineterm="")
    print("\n".join(_masked(line) for line in lines))
    if yes:
        return True
    if not _confirmed():
        return False
    if _read(path) != before:
        fail(f"{path} has changed in the meantime: start again.", EXIT_CONFIGURATION)
    return True


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        fail("No terminal to confirm this in: add --yes.", EXIT_CONFIGURATION)
    try:
        answer = input("Write this? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("Nothing was changed.")
    return False


def _masked(line: str) -> str:
    """A line of the diff with all keys in it masked."""
    return _SECRET.sub(lambda found: found[0] if found[2] in _NO_SECRETS else f'{found[1]}"****"', line)
