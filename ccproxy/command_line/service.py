"""``cc-boost service``: the proxy as a user service of systemd or launchd, so that plain ``claude`` works."""

import os
import plistlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from platformdirs import user_log_path

from ..serving import EXIT_CANT_START, EXIT_CONFIGURATION, fail, load_settings_or_exit, local_url
from ..settings import replace_file, users_file

_MADE_HERE = "Made by cc-boost service install"
_UNIT = "cc-boost.service"
_LABEL = "cc-boost.proxy"
_START_LIMIT = 20.0  # seconds within which the proxy must answer
_COMMAND_LIMIT = 30.0  # seconds for systemctl and launchctl


@dataclass(frozen=True, slots=True)
class _Manager:
    """This system's service manager: its file for the proxy, and its commands."""

    path: Path
    content: bytes
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]
    after_removal: tuple[tuple[str, ...], ...]
    log: str


def install() -> int:
    """Write the service's file, start the service, and wait until the proxy answers. Returns the exit code."""
    settings = users_file()
    if not settings.is_file():
        fail(
            f"{settings} does not exist. The service reads its settings there: run cc-boost setup first.",
            EXIT_CONFIGURATION,
        )
    _check_settings(settings)
    manager, url = _manager_or_exit(), _url()
    if _is_foreign(manager):
        fail(f"{manager.path} was not created by cc-boost: delete it first.", EXIT_CONFIGURATION)
    if not manager.path.exists() and _answers(url):
        fail(f"Something answers at {url} already: stop it first, or set PORT in {settings}.", EXIT_CANT_START)
    try:
        manager.path.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform == "darwin":
            Path(manager.log).parent.mkdir(parents=True, exist_ok=True)
        replace_file(manager.path, manager.content)
    except OSError as exc:
        fail(f"{manager.path} can't be written: {exc.strerror or exc}", EXIT_CONFIGURATION)
    if failure := _run(manager.start):
        _run(manager.stop)
        manager.path.unlink(missing_ok=True)
        fail(
            f"The service can't be started: {failure}. Nothing was left behind. "
            "cc-boost serve runs the proxy without a service.",
            EXIT_CANT_START,
        )
    end = time.monotonic() + _START_LIMIT
    while not _answers(url):
        if time.monotonic() > end:
            fail(f"The service is installed, but does not answer at {url}. Its log: {manager.log}", EXIT_CANT_START)
        time.sleep(0.2)
    print(f"cc-boost runs at {url}, and starts whenever you log in.")
    print(f"  settings  {settings}\n  service   {manager.path}\n  log       {manager.log}")
    print("cc-boost setup points Claude Code at it. After you change the settings, run: cc-boost service install")
    if sys.platform != "darwin":
        print("It stops when you log out, unless you run: loginctl enable-linger")
    return 0


def status() -> int:
    """Print whether the service is installed and the proxy answers. Returns 0 if it answers."""
    manager, url = _manager_or_exit(), _url()
    installed, answers = manager.path.is_file(), _answers(url)
    print(f"service   {manager.path}" if installed else "service   not installed: cc-boost service install")
    print(f"settings  {users_file()}" + ("" if users_file().is_file() else ", which is not there: cc-boost setup"))
    print(f"address   {url}, " + ("answers" if answers else "does not answer"))
    if installed:
        print(f"log       {manager.log}")
    return 0 if installed and answers else EXIT_CANT_START


def remove() -> int:
    """Stop the service and delete its file."""
    manager = _manager_or_exit()
    if not manager.path.exists():
        print("cc-boost is not installed as a service.")
        return 0
    if _is_foreign(manager):
        fail(f"{manager.path} was not created by cc-boost, and stays.", EXIT_CONFIGURATION)
    failure = _run(manager.stop)
    manager.path.unlink()
    _run(manager.after_removal)
    if failure:
        print(f"{manager.path} is deleted, but the service could not be stopped: {failure}", file=sys.stderr)
        return EXIT_CANT_START
    print(f"Stopped, and {manager.path} deleted. {users_file()} stays, and so does what cc-boost setup has written.")
    return 0


def systemd_unit(command: Sequence[str], directory: Path) -> str:
    """The unit. After exit code 2, bad settings, systemd does not restart the service."""
    quoted = " ".join(_for_systemd(part) for part in command)
    return f"""\
# {_MADE_HERE}
[Unit]
Description=cc-boost, Claude Code with any OpenAI-compatible provider
After=network-online.target

[Service]
ExecStart={quoted}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={str(directory).replace("%", "%%")}
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2
TimeoutStopSec=150

[Install]
WantedBy=default.target
"""


def launchd_agent(command: Sequence[str], directory: Path, log: Path) -> bytes:
    """The agent's property list."""
    agent = {
        "Label": _LABEL,
        "ProgramArguments": list(command),
        "WorkingDirectory": str(directory),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
        "EnvironmentVariables": {"CC_BOOST_SERVICE": _MADE_HERE},
    }
    return plistlib.dumps(agent)


def _manager_or_exit() -> _Manager:
    command = [sys.executable, "-m", "ccproxy", "serve"]
    directory = users_file().parent  # a directory without any other .env
    if sys.platform == "darwin":
        path = Path.home() / "Library/LaunchAgents" / f"{_LABEL}.plist"
        log = user_log_path("cc-boost", appauthor=False) / "cc-boost.log"
        domain = f"gui/{os.getuid()}"
        stop = (("launchctl", "bootout", f"{domain}/{_LABEL}"),)
        start = (("launchctl", "bootstrap", domain, str(path)),)
        if path.exists():
            start = (*stop, *start)
        return _Manager(path, launchd_agent(command, directory, log), start, stop, (), str(log))
    if shutil.which("systemctl") is None:
        fail(
            "There is neither systemd nor launchd here: run cc-boost serve by what starts programs here.",
            EXIT_CANT_START,
        )
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    systemctl = ("systemctl", "--user")
    return _Manager(
        base / "systemd/user" / _UNIT,
        systemd_unit(command, directory).encode(),
        ((*systemctl, "daemon-reload"), (*systemctl, "enable", _UNIT), (*systemctl, "restart", _UNIT)),
        ((*systemctl, "disable", "--now", _UNIT),),
        ((*systemctl, "daemon-reload"),),
        f"journalctl --user -u {_UNIT}",
    )


def _for_systemd(part: str) -> str:
    escaped = part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _is_foreign(manager: _Manager) -> bool:
    try:
        return _MADE_HERE.encode() not in manager.path.read_bytes()
    except OSError:
        return False


def _check_settings(path: Path) -> None:
    """Exit if the service couldn't use its settings: it does not have this shell's environment."""
    command = [sys.executable, "-m", "ccproxy", "config", "--serve"]
    kept = ("HOME", "PATH", "PYTHONPATH", "XDG_CONFIG_HOME", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).rstrip().splitlines()
        problems = [line for line in lines if not line.startswith((" ", "Files that", "Settings:"))]
        fail("\n".join(problems), EXIT_CONFIGURATION)


def _url() -> str:
    """The address according to the user's file only."""
    settings = load_settings_or_exit(str(users_file()) if users_file().is_file() else None, openai_api_key="not used")
    return local_url(settings.host, settings.port)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _run(commands: Sequence[Sequence[str]]) -> str:
    """Run the commands in order. Returns the output of the first one that failed; empty if all succeeded."""
    for command in commands:
        try:
            done = subprocess.run(  # noqa: S603 - ours
                command, capture_output=True, text=True, check=False, timeout=_COMMAND_LIMIT
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return f"{command[0]}: {exc}"
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).partition("\n")[0]
            return said or f"{' '.join(command)} ended with exit code {done.returncode}"
    return ""
