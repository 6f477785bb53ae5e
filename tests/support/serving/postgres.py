"""A real Postgres of the test's own: a private cluster on a free port."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import pytest

from .process import LIMIT, free_port

_USER = "postgres"


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CC_BOOST_REQUIRE_POSTGRES") == "1":
        pytest.fail(f"CC_BOOST_REQUIRE_POSTGRES is set, but {reason}")
    pytest.skip(reason)


class Postgres:
    """Without the programs the test is skipped, or fails where CC_BOOST_REQUIRE_POSTGRES=1.

    ``url`` has a password, which the server does not ask for. ``port`` stays the same when it is started again.
    """

    def __init__(self, directory: Path) -> None:
        homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not homes or not (homes[-1] / "initdb").exists():
            _missing("there is no Postgres; on Debian: apt-get install postgresql")
        if os.geteuid() == 0 and shutil.which("runuser") is None:
            _missing("Postgres does not run as root, and there is no runuser")
        self._bin = homes[-1]
        self._directory = directory
        self.port = free_port()
        self.url = f"postgresql://{_USER}:planted-password@127.0.0.1:{self.port}/ledger"
        self._process: subprocess.Popen[bytes] | None = None
        data = directory / "data"
        data.mkdir(parents=True)
        if os.geteuid() == 0:  # whose folders above it may not enter
            shutil.chown(directory, _USER)
            shutil.chown(data, _USER)
        self._run("initdb", "-D", str(data), "-A", "trust", "-U", _USER, "--no-sync", "-E", "UTF8")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER, "ledger")

    def _command(self, name: str, *arguments: str) -> list[str]:
        command = [str(self._bin / name), *arguments]
        return ["runuser", "-u", _USER, "--", *command] if os.geteuid() == 0 else command

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(self._command(name, *arguments), check=True, capture_output=True, cwd="/", timeout=LIMIT * 2)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-D", str(self._directory / "data"), "-p", str(self.port), "-h", "127.0.0.1", "-F"]
        options += ["-c", f"unix_socket_directories={self._directory}"]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command("postgres", *options), stdout=log, stderr=log, cwd="/")
        end = time.monotonic() + LIMIT
        while not self.is_up:
            assert time.monotonic() < end, (self._directory / "log").read_text()
            assert self._process.poll() is None, (self._directory / "log").read_text()
            time.sleep(0.05)

    @property
    def is_up(self) -> bool:
        """Whether it answers."""
        ready = self._command("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        return subprocess.run(ready, cwd="/").returncode == 0

    def stop(self) -> None:
        """End it at once, and all its connections; what was committed is there when it is started again."""
        pid_file = self._directory / "data/postmaster.pid"
        if self._process is not None and pid_file.exists():
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
            self._process.wait(LIMIT)
