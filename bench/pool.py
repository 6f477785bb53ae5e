"""Three upstreams of which each fails now and then, behind one proxy: every request is answered, and once."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable

from . import bodies
from .client import Answer, Connection, by_clients, connected, fetch, request_bytes
from .measure import Row, run
from .processes import Server, provider, proxy_settings, running, uvicorn
from .provider import MARKER

_FAILING = 10  # percent of the requests to each upstream
_CLIENTS = 64
_NAMES = ("b", "c")  # of the upstreams beside the default one
_UPSTREAMS = 1 + len(_NAMES)
_REPEATED = 2  # times that a client asks again where all upstreams have failed, as Anthropic's own do


def pool(requests: int, tell: Callable[[str], None]) -> list[Row]:
    """Short requests, half of them streamed, and what became of them at both ends."""
    providers = [provider() for _ in range(_UPSTREAMS)]
    urls = [f"http://127.0.0.1:{command.port}/v1" for command in providers]
    models = ", ".join(["big", *(f"{name}:big" for name in _NAMES)])
    settings = {"BIG_MODEL": models, "MIDDLE_MODEL": models}
    for name, url in zip(_NAMES, urls[1:], strict=True):
        settings |= {f"UPSTREAM_{name.upper()}_BASE_URL": url, f"UPSTREAM_{name.upper()}_API_KEY": f"key-of-{name}"}
    with running(*providers, uvicorn("cc-boost", "asgi:app", **proxy_settings(urls[0]), **settings)) as servers:
        *upstreams, proxy = servers
        tell(f"{requests:,} requests over {_UPSTREAMS} upstreams")
        return run(_asked(upstreams, proxy, requests))


async def _asked(upstreams: list[Server], proxy: Server, requests: int) -> list[Row]:
    for upstream in upstreams:
        await fetch(f"{upstream.url}/follow/failing/{_FAILING}")
    became: Counter[str] = Counter()
    wrong: list[str] = []
    markers = [f"marker-{random.getrandbits(64):016x}" for _ in range(requests)]
    url = proxy.url + "/v1/messages"

    async def ask(connection: Connection, number: int) -> Answer:
        marker = markers[number]
        request = request_bytes(url, bodies.small(f"Repeat {marker}", stream=number % 2 == 0))
        answer = await connection.ask(request)
        for _ in range(_REPEATED):
            if answer.status < 500:
                break
            became["failed thrice"] += 1
            async with connected(url) as another:
                answer = await another.ask(request)
        became[fate := verdict(answer, marker, times=1)] += 1
        if fate != "answered":
            wrong.append(f"{fate}, status {answer.status}")
        became["by another candidate"] += b"; passed=" in answer.headers.get(b"x-cc-boost-route", b"")
        return answer

    answers = await by_clients(url, range(requests), ask, concurrency=_CLIENTS)
    told = await asyncio.gather(*(fetch(f"{upstream.url}/answered") for upstream in upstreams))
    times = Counter(marker for answer in told for marker in json.loads(answer.body))
    stats = [json.loads((await fetch(f"{upstream.url}/stats")).body) for upstream in upstreams]
    failed, asked = sum(each["failed"] for each in stats), sum(each["requests"] for each in stats)
    twice = sum(times[marker] > 1 for marker in markers)
    right = became["answered"]
    slowest = max(answer.seconds for answer in answers)
    share = f"{failed / asked:.1%}" if asked else "none"
    work = f"{requests:,} requests over {_UPSTREAMS} upstreams of which each fails {_FAILING} % of the time"
    return [
        Row(work, "every answer right", f"{right:,}", right == requests == len(answers),
            {"slowest": f"{slowest:.1f} s", "other candidates": f"{became['by another candidate']:,}"}),
        Row("answers that are lost or mixed up", "none", str(requests - right), right == requests,
            {"such as": "; ".join(wrong[:3])} if wrong else {}),
        Row("requests that were answered twice", "none", str(twice), twice == 0),
        Row("failures of the upstreams", "some", f"{failed:,} of {asked:,} ({share})", failed > 0),
        Row("all three have failed a request", "a thousandth; clients repeat it", str(became["failed thrice"]),
            became["failed thrice"] <= max(5, requests / 200)),
    ]  # fmt: skip


def verdict(answer: Answer, marker: str, *, times: int) -> str:
    """What became of a request whose answer should hold its marker so many times, and no other."""
    found = Counter(MARKER.findall(bytes(answer.body)))
    mine = found.pop(marker.encode(), 0)
    if found:
        return "mixed up"
    streamed = answer.headers.get(b"content-type", b"").startswith(b"text/event-stream")
    ended = answer.complete and (not streamed or b"event: message_stop" in answer.body)
    return "answered" if answer.status == 200 and ended and mine == times else "lost"
