"""A real server of Redis, started by the test on a free port."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import pytest

from .process import LIMIT, free_port


def program(*names: str, package: str) -> str:
    """The path of a program. Without it the test is skipped, or fails where CC_BOOST_REQUIRE_REDIS=1."""
    for name in names:
        if found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"):
            return found
    return _missing(f"there is no {names[0]}; on Debian: apt-get install {package}")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CC_BOOST_REQUIRE_REDIS") == "1":
        pytest.fail(f"CC_BOOST_REQUIRE_REDIS is set, but {reason}")
    pytest.skip(reason)


class StateServer:
    """It keeps nothing when it is killed. ``port`` stays the same when it is started again."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._program = program("redis-server", "valkey-server", package="redis-server")
        self._directory = directory
        self._options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/3"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._directory), "--daemonize", "no", *self._options]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)
        end = time.monotonic() + LIMIT
        while not self._answers():
            assert time.monotonic() < end, (self._directory / "redis.log").read_text()
            assert self._process.poll() is None, (self._directory / "redis.log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT)

    def hang(self) -> None:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64)[:1] in (b"+", b"-")
        except OSError:
            return False
