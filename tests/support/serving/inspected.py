"""The proxy with its inspector on a real socket, and a client that looks at what it keeps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ..providers.scripted import ScriptedProvider
from .proxied import proxied

KEY = "client-key-\"1'"
"""One that JSON and shells have to escape."""

MESSAGE: dict[str, Any] = {
    "model": "claude-opus-4-8",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Who's there?"}],
}
STREAM = {**MESSAGE, "stream": True}


class Inspected:
    """A client of the proxy, with the key, and of its inspector."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url = url
        self.http = http

    def ask(self, body: Any = MESSAGE, path: str = "/v1/messages", **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers=headers)

    def listed(self) -> list[dict[str, Any]]:
        """The exchanges, oldest first, when all are over: a client has its answer a little earlier."""
        end = time.monotonic() + 10
        while True:
            exchanges: list[dict[str, Any]] = self.http.get("/ui/api/exchanges").json()["exchanges"]
            if all(exchange["state"] != "running" for exchange in exchanges):
                return exchanges
            assert time.monotonic() < end
            time.sleep(0.005)

    def last(self, part: str = "") -> httpx.Response:
        """The newest exchange, or a part of it such as ``case?of=answer``."""
        return self.http.get(f"/ui/api/exchanges/{self.listed()[-1]['id']}{part and '/'}{part}")


@contextmanager
def client(url: str, key: str | None = KEY) -> Iterator[Inspected]:
    headers = {} if key is None else {"x-api-key": key}
    with httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False) as http:
        yield Inspected(url, http)


@contextmanager
def inspected(upstream: ScriptedProvider, /, **settings: Any) -> Iterator[Inspected]:
    """Serve the provider and the proxy; without ``anthropic_api_key=None`` the proxy has KEY."""
    values: dict[str, Any] = {"anthropic_api_key": KEY, "max_retries": 0, "inspector": True, **settings}
    with proxied(upstream, **values) as url, client(url, values["anthropic_api_key"]) as inspector:
        yield inspector
