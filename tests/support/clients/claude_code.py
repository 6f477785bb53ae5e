"""Claude Code itself, installed from npm, as a client that tests can run.

The install goes to ``$XDG_CACHE_HOME/cc-boost-tests`` (or ``~/.cache``) and is used again by later runs.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = "2.1.332"
ALLOWED_TOOLS = "Agent Bash Edit Read Write"
OFFLINE = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "HTTP_PROXY": "http://127.0.0.1:9",  # a closed port
    "HTTPS_PROXY": "http://127.0.0.1:9",
}
"""Variables with which Claude Code reaches nothing but loopback."""
"""The tools that run without asking; every other one is refused, since nobody is there to be asked."""

_INSTALL_LIMIT = 400.0  # seconds; the package is some 400 MB


class Unavailable(Exception):
    """Claude Code can't be had on this machine; the message says why."""


def install() -> Path:
    """The program of the pinned version, which is fetched from the npm registry on first use."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cc-boost-tests"
    home = cache / f"claude-code-{VERSION}"
    if not home.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("npm is not installed")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            fresh = Path(directory) / "install"
            _npm_install(npm, fresh)
            _program(fresh)
            with suppress(OSError):  # another process was first
                fresh.rename(home)
    return _program(home)


def _program(home: Path) -> Path:
    """The program of an install. It comes in an optional dependency for each platform and runs without node."""
    for program in home.glob("node_modules/@anthropic-ai/claude-code-*/claude*"):
        with suppress(OSError):  # made for another libc
            done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
            if done.stdout.startswith(VERSION):
                return program
    raise Unavailable(f"Claude Code {VERSION} has no program for this machine")


def _npm_install(npm: str, directory: Path) -> None:
    """Install without scripts: the package's own would only copy the program beside its wrapper."""
    directory.mkdir()
    command = [npm, "install", "--prefix", str(directory), "--ignore-scripts", "--no-audit", "--no-fund"]
    command += [f"@anthropic-ai/claude-code@{VERSION}"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=_INSTALL_LIMIT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm took more than {_INSTALL_LIMIT:.0f} s to install Claude Code") from None
    if done.returncode != 0:
        raise Unavailable(f"npm can't install Claude Code: {done.stderr.strip()[-500:]}")


@dataclass(frozen=True)
class Run:
    """A finished run: the lines of ``--output-format stream-json``, the exit code, what it complained of."""

    events: list[dict[str, Any]]
    code: int
    errors: str

    @property
    def result(self) -> dict[str, Any]:
        """The last event, which sums the run up: ``result``, ``is_error``, ``num_turns``, ``usage``."""
        assert self.events, f"exit code {self.code}: {self.errors}"
        assert self.events[-1]["type"] == "result", self.events[-1]
        return self.events[-1]

    def messages(self, role: str) -> list[dict[str, Any]]:
        """The messages of one role (``assistant`` or ``user``), in order."""
        return [event["message"] for event in self.events if event["type"] == role]

    def blocks(self, role: str, type: str) -> list[dict[str, Any]]:
        """The content blocks of one type in the messages of one role."""
        contents = [message["content"] for message in self.messages(role)]
        return [
            block for content in contents if isinstance(content, list) for block in content if block["type"] == type
        ]


class ClaudeCode:
    """``claude -p`` with a fresh home, in ``directory / "work"``, in front of one proxy.

    ``variables`` are added to its environment.
    """

    limit = 90.0
    allowed_tools = ALLOWED_TOOLS

    def __init__(self, program: Path, directory: Path, base_url: str, **variables: str) -> None:
        self.work = directory / "work"
        self.work.mkdir(exist_ok=True)
        home = directory / "home"
        home.mkdir()
        temporary = directory / "tmp"
        temporary.mkdir()
        self._program = program
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "SHELL": "/bin/bash",
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": "client-key",
            **OFFLINE,
            "NO_PROXY": "127.0.0.1,localhost",
            **variables,
        }

    @contextmanager
    def started(self, prompt: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Run it while the block lasts; after that, or after ``limit`` seconds, it is killed with its children."""
        command = [str(self._program), "-p", prompt, "--output-format", "stream-json", "--verbose"]
        command += ["--allowedTools", self.allowed_tools, *arguments]
        process = subprocess.Popen(
            command,
            cwd=self.work,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

        def kill() -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        watchdog = threading.Timer(self.limit, kill)
        watchdog.start()
        with process:
            try:
                yield process
            finally:
                watchdog.cancel()
                kill()

    def run(self, prompt: str, *arguments: str) -> Run:
        """Give it a prompt and wait until it is done. Raises TimeoutError if it had to be killed."""
        with self.started(prompt, *arguments) as process:
            output, errors = process.communicate()
        if process.returncode == -signal.SIGKILL:
            raise TimeoutError(f"Claude Code was not done after {self.limit:.0f} s: {output[-2000:]}{errors}")
        return Run([json.loads(line) for line in output.splitlines()], process.returncode, errors)
