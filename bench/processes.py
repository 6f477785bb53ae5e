"""The processes of a benchmark: provider, floor, proxy; their CPU time and memory by ``/proc``."""

import asyncio
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .client import Answer, fetch

ROOT = Path(__file__).parents[1]
START_LIMIT = 60.0
STOP_LIMIT = 20.0
PROXY = "cc-boost"

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server. Its CPU time can be read only with a ``pid``."""

    name: str
    url: str
    pid: int | None = None

    def cpu(self) -> float:
        """Seconds of CPU time so far, of the process and its children."""
        assert self.pid is not None  # noqa: S101
        return sum(_cpu(pid) for pid in family(self.pid))

    def memory(self, kind: str) -> float:
        """MB of ``Rss``, ``Pss``, or what is its own alone: ``Private_Dirty``."""
        assert self.pid is not None  # noqa: S101
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == kind:
                return int(rest.split()[0]) / 1024
        raise ValueError(f"no {kind} in smaps_rollup")


def family(pid: int) -> list[int]:
    """A process and its living children."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        if parent == pid:
            children.append(int(stat.parent.name))
    return [pid, *children]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime


def free_port() -> int:
    """A port that nobody listens on, outside the range of which the system may give it to somebody else meanwhile."""
    while True:
        port = random.randrange(10_000, 30_000)  # noqa: S311 - below the range that the system takes its own from
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass(frozen=True)
class Command:
    """A Python command that serves on a port; it is up when it answers at ``path``."""

    name: str
    arguments: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "/health"


@contextmanager
def running(*commands: Command) -> Iterator[list[Server]]:
    """Run these commands until the block ends.

    Only the given environment counts, and no ``.env``: the working directory is an empty one.
    """
    path_of_modules = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path_of_modules}
    processes: list[subprocess.Popen[bytes]] = []
    servers = []
    with tempfile.TemporaryDirectory() as directory:
        try:
            for command in commands:
                call = [sys.executable, *command.arguments]
                processes.append(subprocess.Popen(call, cwd=directory, env={**env, **command.environment}))  # noqa: S603
            for command, process in zip(commands, processes, strict=True):
                url = f"http://127.0.0.1:{command.port}"
                asyncio.run(_until_up(url + command.path, process))
                servers.append(Server(command.name, url, process.pid))
            yield servers
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(STOP_LIMIT)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


async def _until_up(url: str, process: "subprocess.Popen[bytes]") -> Answer:
    end = time.monotonic() + START_LIMIT
    while True:
        try:
            return await fetch(url)
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"it ended at its start, with exit code {process.returncode}") from None
            if time.monotonic() > end:
                raise RuntimeError(f"nothing answers at {url}") from None
            await asyncio.sleep(0.002)


def provider(port: int | None = None) -> Command:
    """The scripted provider."""
    port = port or free_port()
    return Command("provider", ["-m", "bench.provider", str(port)], port, path="/stats")


def uvicorn(name: str, app: str, **environment: str) -> Command:
    """The same server command for everything that is compared: uvloop, httptools, one worker, no access log."""
    port = free_port()
    flags = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    arguments = ["-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), "--backlog", "4096", *flags]
    return Command(name, arguments, port, environment)


def proxy(base_url: str) -> Command:
    """The proxy as its users run it, with the default layers."""
    return uvicorn(PROXY, "asgi:app", **proxy_settings(base_url))


def floor(base_url: str, transport: str = "aiohttp", *, json: bool = False) -> Command:
    """The pass-through of :mod:`bench.floor`; with ``json`` it parses each request and writes it again."""
    name = "floor with JSON" if json else f"floor, {transport}"
    environment = {"FLOOR_BASE_URL": base_url, "FLOOR_TRANSPORT": transport, "FLOOR_JSON": "1" if json else ""}
    return uvicorn(name, "bench.floor:app", **environment)


def gunicorn(base_url: str, workers: int) -> Command:
    """The proxy under gunicorn, as the README runs it for a team."""
    port = free_port()
    settings = proxy_settings(base_url) | {"PORT": str(port), "WEB_CONCURRENCY": str(workers)}
    arguments = ["-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "asgi:app"]
    return Command(f"{workers} workers", arguments, port, settings)


def proxy_settings(base_url: str) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": "provider-key",
        "OPENAI_BASE_URL": base_url,
        "HOST": "127.0.0.1",
        "LOG_LEVEL": "ERROR",
        "MAX_TOKENS_LIMIT": "64000",
    }


def open_files_limit() -> None:
    """Take all the file descriptors that this process and its children may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
