"""Load the proxy and look whether it keeps its promises: ``python -m bench.soak``.

Many paced streams through one worker, then many short requests of which some clients leave and some of the
provider's answers fail. All that is done three times: the first two fill pools and caches, and to their level the third
has to come back. Then more streams than ``MAX_CONCURRENCY`` allows. With ``--attack`` it does something else: it sends
what is made to fill the memory or to stop the service. ``--pool``: see :mod:`bench.pool`. The exit code is 1 if a
promise is broken.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from . import bodies
from .attacks import attacks
from .client import Answer, Connection, by_clients, connected, fetch, request_bytes
from .machine import machine
from .measure import Row, quantile, run, table
from .pool import pool, verdict
from .processes import Command, Server, free_port, open_files_limit, provider, proxy_settings, running, uvicorn
from .provider import FAULTS

_ABORTED = _FAULTY = 0.05  # shares of the short requests
_CLIENTS = 64
_SETTLE_LIMIT = 20.0
_SLACK = 8  # files and tasks, such as the connection that asks


@dataclass(frozen=True)
class Load:
    """How much is asked for in one round."""

    streams: int
    seconds: int
    requests: int
    rate: int = 10  # chunks a second of each stream


@dataclass
class Round:
    """What came of a round. ``became`` counts what became of the requests; times are in seconds, memory in MB."""

    became: Counter[str] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)  # the p99 of each phase
    state: dict[str, Any] = field(default_factory=dict)


class Soak:
    """One proxy under load, its instruments, and the provider behind it."""

    def __init__(self, direct: Server, proxy: Server, report_port: int) -> None:
        self._direct = direct.url
        self._url = proxy.url + "/v1/messages"
        self._health = proxy.url + "/health"
        self._report = f"http://127.0.0.1:{report_port}/"

    async def round(self, load: Load) -> Round:
        """All of the load, and how the proxy is when it has settled."""
        result = Round()
        await _json(self._report)
        async with self._watched(result.health):
            await fetch(f"{self._direct}/follow/echo/{load.seconds * load.rate}/{1000 // load.rate}")
            await asyncio.gather(*(self._stream(number, load, result) for number in range(load.streams)))
            result.lags.append((await _json(self._report))["lag_p99"])
            await fetch(f"{self._direct}/follow/echo")
            await self._requests(load, result)
            result.lags.append((await _json(self._report))["lag_p99"])
        result.state = await self._settled()
        return result

    async def _stream(self, number: int, load: Load, result: Round) -> None:
        """One stream, of which each chunk must carry the request's own marker."""
        marker = _new_marker()
        await asyncio.sleep(number / load.streams * min(1, load.seconds / 4))  # they begin one after the other
        async with connected(self._url) as connection:
            request = request_bytes(self._url, bodies.small(f"Repeat {marker}", stream=True))
            answer = await connection.ask(request)
        result.became[verdict(answer, marker, times=load.seconds * load.rate)] += 1
        result.gaps += answer.gaps()

    async def _requests(self, load: Load, result: Round) -> None:
        """Short requests, half of them streamed."""

        async def ask(connection: Connection, number: int) -> Answer:
            marker = _new_marker()
            fate = random.random()  # noqa: S311
            leaves = random.random() * 0.02 if fate < _ABORTED else None  # noqa: S311
            faulty = _ABORTED <= fate < _ABORTED + _FAULTY
            text = f"Repeat {marker}, fault-{random.choice(FAULTS)}" if faulty else f"Repeat {marker}"  # noqa: S311
            request = request_bytes(self._url, bodies.small(text, stream=number % 2 == 0))
            answer = await connection.ask(request, leave_after=leaves)
            became = verdict(answer, marker, times=1)
            if faulty and became == "lost":
                became = "failed, as the provider did"
            elif faulty and became == "answered":
                became = "a failure that was hidden"
            elif leaves is not None and became == "lost":
                became = "left by the client"
            result.became[became] += 1
            return answer

        await by_clients(self._url, range(load.requests), ask, concurrency=_CLIENTS)

    @asynccontextmanager
    async def _watched(self, times: list[float]) -> AsyncIterator[None]:
        """Ask ``/health`` ten times a second while the block lasts."""

        async def watch() -> None:
            async with connected(self._health) as connection:
                while True:
                    answer = await connection.ask(request_bytes(self._health))
                    times.append(answer.seconds if answer.status == 200 else float("inf"))
                    await asyncio.sleep(0.1)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _settled(self) -> dict[str, Any]:
        """The proxy's state when nothing is under way and the provider has closed its idle connections."""
        end = asyncio.get_running_loop().time() + _SETTLE_LIMIT
        while True:
            await fetch(f"{self._direct}/close-idle")
            await asyncio.sleep(0.1)
            there = await _json(f"{self._direct}/stats")
            if there["open"] == 0 or asyncio.get_running_loop().time() > end:
                return {**await _json(self._report), "open": there["open"], "busy": there["busy"]}


async def overload(direct: Server, proxy: Server, limit: int) -> list[Row]:
    """Twice as many streams as may run at once: half of them get a 529 and have it at once."""
    await fetch(f"{direct.url}/follow/paced/20/50")
    url = proxy.url + "/v1/messages"

    async def ask() -> Answer:
        async with connected(url) as connection:
            return await connection.ask(request_bytes(url, bodies.small(stream=True)))

    answers = await asyncio.gather(*(ask() for _ in range(limit * 2)))
    good = [answer for answer in answers if answer.status == 200 and answer.complete]
    refused = [answer for answer in answers if answer.status == 529 and b"retry-after" in answer.headers]
    slowest = max((answer.seconds for answer in refused), default=0.0) * 1000
    work = f"{limit * 2} streams at once, MAX_CONCURRENCY={limit}"
    kept = len(good) == limit and len(refused) == limit
    columns = {"slowest refusal": f"{slowest:.0f} ms"}
    return [Row(work, "half of them 529 with retry-after", f"{len(refused)} of {len(answers)}", kept, columns)]


def promises(load: Load, warm: Round, result: Round, *, timed: bool) -> list[Row]:
    """What was promised and what came of it; without ``timed`` nothing is said of times and memory."""
    became = result.became
    asked = load.streams + load.requests
    wrong = became["lost"] + became["mixed up"] + became["a failure that was hidden"]
    p99, slowest = quantile(result.health, 0.99) * 1000, max(result.health) * 1000
    leak = result.state["memory"] - warm.state["memory"]
    state, before = result.state, warm.state

    def judged(kept: bool) -> bool | None:
        return kept if timed else None

    def back(name: str) -> Row:
        kept = state[name] <= before[name] + _SLACK
        return Row(f"{name} after the load", "back to their level", f"{before[name]} -> {state[name]}", kept)

    gap = quantile(result.gaps, 0.99) * 1000
    streams, requests = (f"{lag * 1000:.0f} ms" for lag in result.lags)
    return [
        Row(
            f"{load.streams:,} streams for {load.seconds} s, {load.requests:,} requests",
            "none lost or mixed up, no failure hidden",
            f"{wrong} of {asked:,}",
            wrong == 0 and became.total() == asked,
            {name: f"{number:,}" for name, number in sorted(became.items())},
        ),
        Row("gap between a stream's chunks", "p99 <= 150 ms", f"{gap:.0f} ms", judged(gap <= 150)),
        Row("/health under load", "p99 < 100 ms", f"{p99:.0f} ms", judged(p99 < 100), {"slowest": f"{slowest:.0f} ms"}),
        Row("lag of the event loop", "", f"p99 {streams}, {requests}", None, {"phases": "streams, requests"}),
        Row("connections to the provider", "none after it closed them", str(state["open"]), state["open"] == 0),
        back("tasks"),
        back("files"),
        Row(
            "memory after the load",
            "leak < 5 MB",
            f"{leak:+.1f} MB",
            judged(leak < 5),
            {"then": f"{state['memory']:.0f} MB"},
        ),
    ]


def _new_marker() -> str:
    return f"marker-{random.getrandbits(64):016x}"


async def _json(url: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((await fetch(url)).body)
    return parsed


def _proxy(base_url: str, report_port: int, **settings: str) -> Command:
    environment = proxy_settings(base_url) | {"REPORT_PORT": str(report_port), "MAX_RETRIES": "0", **settings}
    return uvicorn("cc-boost", "bench.instrumented:app", **environment)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000, help="so many at the same time (%(default)s)")
    parser.add_argument("--seconds", type=int, default=60, help="that each stream lasts (%(default)s)")
    parser.add_argument("--rate", type=int, default=10, help="chunks a second of each stream (%(default)s)")
    parser.add_argument("--requests", type=int, default=10_000, help="short ones after them (%(default)s)")
    parser.add_argument("--limit", type=int, default=100, help="MAX_CONCURRENCY of the overload (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="a little of everything; times and memory are not judged")
    attack_help = "hostile requests and answers instead, some five minutes; memory, /health and answers are judged"
    parser.add_argument("--attack", action="store_true", help=attack_help)
    pool_help = "--requests over three upstreams of which each fails 10 %% of the time, instead"
    parser.add_argument("--pool", action="store_true", help=pool_help)
    options = parser.parse_args()
    open_files_limit()
    if options.pool:
        return _show(pool(300 if options.smoke else options.requests, _tell))
    if options.attack:
        return _show(attacks(0.05 if options.smoke else 1.0, _tell, timed=not options.smoke))
    load = Load(options.streams, options.seconds, options.requests, options.rate)
    if options.smoke:
        load, options.limit = Load(streams=20, seconds=1, requests=200), 5
    first, report_port, other_port = provider(), free_port(), free_port()
    base_url = f"http://127.0.0.1:{first.port}/v1"
    proxies = _proxy(base_url, report_port), _proxy(base_url, other_port, MAX_CONCURRENCY=str(options.limit))
    with running(first, *proxies) as (direct, proxy, limited):
        soak = Soak(direct, proxy, report_port)
        for number in (1, 2):
            _tell(f"warm-up {number}: {load.streams} streams for {load.seconds} s, {load.requests} requests")
            warm = run(soak.round(load))
        _tell("the round that counts")
        rows = promises(load, warm, run(soak.round(load)), timed=not options.smoke)
        _tell("overloaded")
        rows += run(overload(direct, limited, options.limit))
    _show(rows)


def _show(rows: list[Row]) -> None:
    """Print the table, and exit."""
    print(table(rows))
    print(f"\n{machine()}")
    sys.exit(any(row.kept is False for row in rows))


if __name__ == "__main__":
    main()
