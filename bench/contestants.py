"""What is compared: the provider itself, the floor, the proxy, and peers."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from .client import fetch
from .measure import run
from .processes import Server, floor, provider, proxy, running, uvicorn

FASTAPI = "FastAPI proxy"


@dataclass(frozen=True)
class Contestants:
    """``servers``: the floor first, then the proxy, then the others."""

    direct: Server
    servers: list[Server]

    def follow(self, script: str) -> None:
        """Let the provider answer everything by this script from now on."""
        run(fetch(f"{self.direct.url}/follow{script}"))

    def accepted(self) -> int:
        """On how many connections the provider has been asked for an answer so far."""
        return int(json.loads(run(fetch(f"{self.direct.url}/stats")).body)["used"])


@contextmanager
def contestants(peers: Sequence[Server], *, others: bool, port: int | None = None) -> Iterator[Contestants]:
    """All of them in front of the provider.

    ``others``: the floor that reads JSON, the floor over httpx alone and the FastAPI proxy too; the last one where its
    libraries are installed.
    ``port``: the provider's, where peers have to know it.
    """
    first = provider(port)
    base_url = f"http://127.0.0.1:{first.port}/v1"
    commands = [floor(base_url), proxy(base_url)]
    if others:
        commands += [floor(base_url, json=True), floor(base_url, "httpx")]
        if find_spec("fastapi") and find_spec("openai"):
            commands.append(uvicorn(FASTAPI, "bench.peers.fastapi_proxy:app", PEER_BASE_URL=base_url))
    with running(first, *commands) as (direct, *servers):
        yield Contestants(direct, [*servers, *peers])
