"""Two hosts with gunicorn behind a real nginx, which share a state by a real server of Redis."""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from starlette.types import Receive, Scope, Send

from ..paths import ROOT
from .process import LIMIT, Running, free_port, request_body, started
from .state_server import StateServer, program

ADDRESSES = ("127.0.0.1", "127.0.0.2")
KEY = "planted-client-key"


class Provider:
    """An ASGI app that answers chat completions, as streams too. ``limited`` gets a 429 at once.

    Others are answered after ``delay`` seconds, and not while they are ``held``, which any thread may set.
    ``asked``: model and time of each request, in order.
    """

    def __init__(self, *, delay: float = 0.0) -> None:
        self.delay = delay
        self.held = False
        self.asked: list[tuple[str, float]] = []

    def count(self, model: str) -> int:
        return sum(asked == model for asked, _ in self.asked)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        request = orjson.loads(raw)
        model = request["model"]
        self.asked.append((model, time.monotonic()))
        headers = [(b"content-type", b"application/json")]
        if model == "limited":
            status, body = 429, b'{"error": {"message": "too many requests", "type": "rate_limit_error"}}'
            headers.append((b"retry-after", b"120"))
        else:
            await asyncio.sleep(self.delay)
            while self.held:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            message = {"role": "assistant", "content": f"from {model}"}
            part, kind = ("delta", "chat.completion.chunk") if request.get("stream") else ("message", "chat.completion")
            answer = {"id": "c", "object": kind, "created": 1, "model": model}
            answer["choices"] = [{"index": 0, part: message, "finish_reason": "stop"}]
            answer["usage"] = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            status, body = 200, orjson.dumps(answer)
            if request.get("stream"):
                headers = [(b"content-type", b"text/event-stream")]
                body = b"data: %b\n\ndata: [DONE]\n\n" % body
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Hosts:
    """The hosts, in the order of ADDRESSES; ``url`` is nginx's."""

    url: str
    state: StateServer
    hosts: list[Running]
    directory: Path
    killed: set[int] = field(default_factory=set)

    def body(self, model: str, *, stream: bool = False) -> dict[str, Any]:
        return request_body(model=model, stream=stream)

    async def ask(self, client: httpx.AsyncClient, model: str, *, stream: bool = False) -> httpx.Response:
        headers = {"x-api-key": KEY, "connection": "close"}
        return await client.post(f"{self.url}/v1/messages", json=self.body(model, stream=stream), headers=headers)

    def kill_host(self, number: int) -> None:
        """End all of a host's processes at once, with no chance to finish anything."""
        process = self.hosts[number].process
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        process.wait(LIMIT)

    def told(self) -> str:
        """What the hosts have written to their logs."""
        return "\n".join(host.output.read_text() for host in self.hosts)

    def served(self) -> list[str]:
        """The address of the host that answered, for each request that nginx has passed on."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return [line.split(", ")[-1].partition(":")[0] for line in lines]


@contextmanager
def hosts(directory: Path, provider_url: str, **variables: str) -> Iterator[Hosts]:
    """Run them until the block ends, each host with two workers."""
    nginx = program("nginx", package="nginx")
    state = StateServer(directory)
    with ExitStack() as stack:
        state.start()
        stack.callback(state.kill)
        settings = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": "none", "STATE_URL": state.url, **variables}
        running = []
        for address in ADDRESSES:
            place = directory / address
            place.mkdir()
            running.append(stack.enter_context(started("gunicorn", place, provider_url, host=address, **settings)))
        url = stack.enter_context(_nginx(nginx, directory, [host.url for host in running]))
        yield Hosts(url, state, running, directory)


@contextmanager
def _nginx(nginx: str, directory: Path, urls: Sequence[str]) -> Iterator[str]:
    port = free_port()
    text = (ROOT / "deploy/nginx.conf").read_text()
    for number, url in enumerate(urls, 1):
        text = text.replace(f"10.0.0.{number}:8082", url.removeprefix("http://"))
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = re.sub(r"ssl_certificate.*;\n", "", text)
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi"))
    temporary += f"uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;"
    config = directory / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} daemon off; worker_processes 1; pid {directory}/nginx.pid;\n"
        f"error_log {directory}/error.log; events {{ worker_connections 2048; }}\n"
        f"http {{ log_format one '$upstream_addr'; access_log {directory}/access.log one; {temporary}\n{text}\n}}\n"
    )
    process = subprocess.Popen([nginx, "-e", str(directory / "error.log"), "-c", str(config), "-p", str(directory)])
    try:
        end = time.monotonic() + LIMIT
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None, (directory / "error.log").read_text()
            assert time.monotonic() < end, (directory / "error.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(LIMIT)
