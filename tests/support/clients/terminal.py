"""A program in a terminal of its own, by tmux: what its screen shows, and keys for it."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TMUX = shutil.which("tmux")
LIMIT = 60.0


class Terminal:
    """The screen of one program. ``wait_for`` fails with the whole screen where a text does not come."""

    def __init__(self, socket: Path) -> None:
        self._command = [str(TMUX), "-S", str(socket)]

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, timeout=LIMIT, check=True)
        return done.stdout

    @property
    def screen(self) -> str:
        """What it shows, without empty lines."""
        lines = self.tmux("capture-pane", "-p", "-t", "0").splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names, such as ``Enter`` and ``C-c``."""
        self.tmux("send-keys", "-t", "0", *keys)

    def press_until(self, pattern: str, key: str, pause: float = 3.0) -> str:
        """Press a key until the screen shows this: a program may draw a dialog before it listens to keys."""
        end = time.monotonic() + LIMIT
        while True:
            self.press(key)
            try:
                return self.wait_for(pattern, pause)
            except AssertionError:
                if time.monotonic() > end:
                    raise

    def type(self, text: str) -> None:
        """Type a text, and wait until it stands there."""
        self.tmux("send-keys", "-t", "0", "-l", text)
        self.wait_for(re.escape(text))

    def wait_for(self, pattern: str, limit: float = LIMIT) -> str:
        """The screen as soon as it shows this."""
        end = time.monotonic() + limit
        while not re.search(pattern, screen := self.screen):
            assert time.monotonic() < end, f"{pattern!r} did not come:\n{screen}"
            time.sleep(0.1)
        return screen


@contextmanager
def terminal(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], *, columns: int = 150, lines: int = 50
) -> Iterator[Terminal]:
    """Run a command in a terminal, which is there for a while after it has ended."""
    run = f"{shlex.join(command)}; echo exit code $?; exec sleep 600"
    place = tempfile.mkdtemp(prefix="tmux")  # of its own, and short enough for a socket's name
    shown = Terminal(Path(place) / "socket")
    size = ["-x", str(columns), "-y", str(lines)]
    start = ["-f", os.devnull, "new-session", "-d", *size, "-c", str(directory), "/bin/sh", "-c", run]
    variables = {"TERM": "xterm-256color", **environment}
    try:
        subprocess.run([*shown._command, *start], env=variables, check=True, timeout=LIMIT)
        yield shown
    finally:
        subprocess.run([*shown._command, "kill-server"], check=False, capture_output=True, timeout=LIMIT)
        shutil.rmtree(place, ignore_errors=True)
