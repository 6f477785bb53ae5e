"""The proxy as a process of its own, started in each way that the README names."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ..paths import ROOT

BIN = Path(sys.executable).parent
LIMIT = 30.0

UVICORN = [str(BIN / "uvicorn"), "--app-dir", str(ROOT), "asgi:app", "--host", "{host}", "--port", "{port}"]
GUNICORN = [str(BIN / "gunicorn"), "-c", str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT), "asgi:app"]
WAYS: Mapping[str, list[str]] = {
    "cc-boost": [str(BIN / "cc-boost")],
    "python -m ccproxy": [sys.executable, "-m", "ccproxy", "serve"],
    "python asgi.py": [sys.executable, str(ROOT / "asgi.py")],
    "uvicorn": UVICORN,
    "gunicorn": GUNICORN,
}


def request_body(*, model: str = "claude-haiku-4-5", stream: bool = False) -> dict[str, Any]:
    """A small request."""
    messages = [{"role": "user", "content": "planted-prompt"}]
    return {"model": model, "max_tokens": 99, "messages": messages, "stream": stream}


@dataclass
class Running:
    """The proxy's process; ``output`` is the file with all it has written, complete once it has ended."""

    process: subprocess.Popen[str]
    url: str
    output: Path
    key: str

    def post(self, *, stream: bool = False, key: str | None = None) -> httpx.Response:
        headers = {"x-api-key": self.key if key is None else key}
        return httpx.post(f"{self.url}/v1/messages", json=request_body(stream=stream), headers=headers)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)


@contextmanager
def started(
    way: str, directory: Path, provider_url: str, *, host: str = "127.0.0.1", shell: str = "", **variables: str
) -> Iterator[Running]:
    """Run the proxy on a free port until the block ends; its working directory is ``directory``.

    ``shell``: redirections of its output, as a shell has them.
    """
    port = str(free_port(host))
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(sys.path[1:]),  # it runs the code that the tests import
        "OPENAI_BASE_URL": f"{provider_url}/v1",
        "HOST": host,
        "PORT": port,
        "WEB_CONCURRENCY": "2" if way == "gunicorn" else "1",
        **variables,
    }
    command = [part.format(host=host, port=port) for part in WAYS[way]]
    if shell:
        command = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *command]
    output = directory / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=file, stderr=file, text=True)
    try:
        running = Running(
            process,
            f"http://{host if ':' in host or host.startswith('127.') else '127.0.0.1'}:{port}",
            output,
            variables.get("ANTHROPIC_API_KEY", ""),
        )
        wait_until(lambda: _is_up(running), running)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(LIMIT / 3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(LIMIT)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, outside the range of which the system may give it to somebody else meanwhile."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.randrange(10_000, 30_000)  # noqa: S311 - below the range that the system takes its own from
        with suppress(OSError), socket.create_server((host.strip("[]"), port), family=family):
            return port


def wait_until(condition: Callable[[], object], running: Running) -> None:
    """Wait for something that the process, or what it talks to, is about to do."""
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end or running.process.poll() is not None:
            raise AssertionError(f"what the test waits for did not happen:\n{running.output.read_text()}")
        time.sleep(0.02)


def stream_events(body: str) -> list[dict[str, Any]]:
    """The events of an event stream's text."""
    return [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:")]


def stream_text(events: list[dict[str, Any]]) -> str:
    """The text of a streamed message."""
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


def _is_up(running: Running) -> bool:
    try:
        return httpx.get(f"{running.url}/health").status_code == 200
    except httpx.TransportError:
        return False
