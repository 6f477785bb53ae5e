"""The ledger under load: so many requests a second, with it and without, and every row counted.

    python -m bench.ledger                         1,000 requests a second for a minute, by two workers
    python -m bench.ledger --rate 200 --seconds 10

The exit code is 1 where a row is missing, or requests take over 5 % longer at the median. Rounds with a ledger and
without one take turns. Latencies mean something on a quiet machine only, which can do the rate without a queue.
"""

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

from . import bodies
from .client import Connection, connected, request_bytes
from .measure import Row, run, table
from .processes import Command, Server, gunicorn, open_files_limit, provider, running

_ROUNDS = 4  # with a ledger and without, taking turns
_MOST_SLOWER = 1.05
_WAIT = 5.0  # seconds for the last rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=60, help="with a ledger, and as many without")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    open_files_limit()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        rows = measure(path, rate=given.rate, seconds=given.seconds, workers=given.workers)
    print(table(rows))
    return 0 if all(row.kept for row in rows) else 1


def measure(path: Path, *, rate: int, seconds: float, workers: int) -> list[Row]:
    """The rows of the table; the ledger is at ``path``."""
    scripted = provider()
    base_url = f"http://127.0.0.1:{scripted.port}/v1"
    with_ledger = _named(gunicorn(base_url, workers), "ledger", LEDGER=f"sqlite:///{path}", PROVIDER="openai")
    without = _named(gunicorn(base_url, workers), "no ledger", PROVIDER="openai")
    with running(scripted, with_ledger, without) as (_, *proxies):
        times = run(_take_turns(proxies, rate, seconds))
        sent = len(times["ledger"])
        written = _written(path, sent)
    slower = statistics.median(times["ledger"]) / statistics.median(times["no ledger"])
    medians = {name: f"{statistics.median(each) * 1000:.2f} ms" for name, each in times.items()}
    return [
        Row(f"{sent:,} requests, {rate:,} a second", "each has a row", f"{written:,} rows", written == sent),
        Row("a request's time at the median, against one without a ledger", f"at most {_MOST_SLOWER:.2f}",
            f"{slower:.3f}", slower <= _MOST_SLOWER, medians),
    ]  # fmt: skip


def _named(command: Command, name: str, **settings: str) -> Command:
    return replace(command, name=name, environment={**command.environment, **settings})


async def _take_turns(proxies: Sequence[Server], rate: int, seconds: float) -> dict[str, list[float]]:
    """The seconds that each request took, by the name of the proxy."""
    times: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}
    for _ in range(_ROUNDS):
        for proxy in proxies:
            times[proxy.name] += await _at_rate(proxy.url + "/v1/messages", rate, seconds / _ROUNDS)
    return times


async def _at_rate(url: str, rate: int, seconds: float) -> list[float]:
    """Requests at a steady rate, whether or not those before have been answered."""
    request = request_bytes(url, bodies.small("Say hello."))
    count = int(rate * seconds)
    free: list[Connection] = []
    times: list[float] = []
    async with AsyncExitStack() as stack:

        async def one() -> None:
            connection = free.pop() if free else await stack.enter_async_context(connected(url))
            answer = await connection.ask(request)
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}: {bytes(answer.body[:200])!r}")
            times.append(answer.seconds)
            if not connection.lost:
                free.append(connection)

        began = time.perf_counter()
        asked = []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            asked.append(asyncio.create_task(one()))
        await asyncio.gather(*asked)
    return times


def _written(path: Path, expected: int) -> int:
    """How many rows there are, once there are as many as expected, or nothing more comes."""
    end = time.monotonic() + _WAIT
    with closing(sqlite3.connect(path)) as connection:
        while True:
            (count,) = connection.execute("SELECT count(*) FROM cc_boost_exchanges").fetchone()
            if count >= expected or time.monotonic() > end:
                return int(count)
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
