"""Rows of time and memory: the first words, many streams at once, workers, the process itself."""

import asyncio
import os
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from .. import bodies
from ..client import Answer, Connection, by_clients, connected, fetch, request_bytes
from ..contestants import Contestants
from ..measure import Plan, Row, load, quantile, run
from ..processes import PROXY, Server, floor, gunicorn, proxy, running

_DELTA = b'"text_delta"'  # of Anthropic's streams
_WORD = b'" word'  # of the provider's own


def first_delta(plan: Plan, there: Contestants) -> list[Row]:
    """How much later the first words arrive than directly from the provider, with 16 clients."""
    count = plan.count(320)

    async def measure(url: str, mark: bytes) -> list[float]:
        request = request_bytes(url, bodies.small(stream=True))

        async def ask(connection: Connection, _: int) -> Answer:
            await asyncio.sleep(random.random() * 0.05)  # noqa: S311 - clients that march in step meet in a queue
            return await connection.ask(request)

        answers = await by_clients(url, range(count), ask, concurrency=16)
        return [answer.seconds_until(mark) * 1000 for answer in answers]

    there.follow("/paced/10/20")
    targets = {"direct": (there.direct.url + "/v1/chat/completions", _WORD)}
    for server in there.servers:
        targets[server.name] = (server.url + "/v1/messages", _WORD if server.name.startswith("floor") else _DELTA)
    times: dict[str, list[list[float]]] = {name: [] for name in targets}
    for _ in range(plan.rounds):
        for name, (url, mark) in targets.items():
            times[name].append(run(measure(url, mark)))
    rows = []
    for share, limit in ((0.5, 1.0), (0.99, 5.0)):
        medians = {name: statistics.median(quantile(values, share) for values in times[name]) for name in times}
        later = medians["cc-boost"] - medians["direct"]
        columns = {name: f"{value:.2f} ms" for name, value in medians.items()}
        target = f"p{share * 100:g} <= direct + {limit:g} ms"
        rows.append(Row("first content delta, 16 clients", target, f"+{later:.2f} ms", later <= limit, columns))
    return rows


def paced_streams(plan: Plan, there: Contestants) -> list[Row]:
    """Streams of 20 chunks a second on one worker: a thousand, and as many as leave a small machine some air.

    Where a thousand are too many, the floor waits and then finds several chunks in one read: its share of CPU time
    falls just because it is late, and the ratio says little.
    """
    return [*_paced(plan, there, plan.count(1000)), _paced(plan, there, plan.count(200))[-1]]


def _paced(plan: Plan, there: Contestants, streams: int) -> list[Row]:
    seconds = max(1, round(10 * plan.share))

    async def one(server: Server, mark: bytes, number: int) -> tuple[bool, list[float]]:
        url = server.url + "/v1/messages"
        async with connected(url) as connection:
            await asyncio.sleep(number / streams * min(1, seconds / 4))  # they begin one after the other
            answer = await connection.ask(request_bytes(url, bodies.small(stream=True)))
            whole = answer.complete and answer.status == 200 and answer.body.count(mark) == seconds * 20
            return whole, answer.gaps()

    async def all_of(server: Server, mark: bytes) -> list[tuple[bool, list[float]]]:
        return await asyncio.gather(*(one(server, mark, number) for number in range(streams)))

    there.follow(f"/paced/{seconds * 20}/50")
    floor, ours = there.servers[:2]
    cpu: dict[str, list[float]] = {floor.name: [], ours.name: []}
    gaps: dict[str, list[float]] = {floor.name: [], ours.name: []}
    unfinished = 0
    for _ in range(min(plan.rounds, 3)):
        for server, mark in ((floor, _WORD), (ours, _DELTA)):
            before = server.cpu()
            results = run(all_of(server, mark))
            cpu[server.name].append((server.cpu() - before) / streams / seconds / 20 * 1e6)
            gaps[server.name].append(quantile([gap for _, gaps in results for gap in gaps], 0.99) * 1000)
            if server is ours:
                unfinished += sum(not whole for whole, _ in results)
    work = f"{streams:,} streams of 20 chunks/s"
    gap = statistics.median(gaps[ours.name])
    ratio = statistics.median(o / max(f, 0.01) for f, o in zip(*cpu.values(), strict=True))
    return [
        Row(work, "all finish", f"{unfinished} did not", unfinished == 0),
        Row(work, "gap p99 <= 150 ms", f"{gap:.0f} ms", gap <= 150, _medians(gaps, "ms")),
        Row(work, "CPU <= 1.6 x floor", f"{ratio:.2f} x", ratio <= 1.6, _medians(cpu, "us/chunk")),
    ]


def _medians(values: dict[str, list[float]], unit: str) -> dict[str, str]:
    return {name: f"{statistics.median(numbers):.1f} {unit}" for name, numbers in values.items()}


def two_workers(plan: Plan, there: Contestants) -> list[Row]:
    """What a second worker brings, by wrk where it is installed: it takes the least of the cores away."""
    rates: list[list[float]] = []
    there.follow("/json")
    with running(gunicorn(there.direct.url + "/v1", 1), gunicorn(there.direct.url + "/v1", 2)) as servers:
        for server in servers:
            load(server, bodies.small(), count=plan.count(500), concurrency=16)
        for _ in range(plan.rounds):
            rates.append([_rate(server, plan) for server in servers])
    ratio = statistics.median(two / one for one, two in rates)
    cores = os.cpu_count() or 1
    columns = {
        f"{n + 1} worker{'s' * n}": f"{statistics.median(rate[n] for rate in rates):,.0f} requests/s" for n in (0, 1)
    }
    if cores >= 4:
        return [Row("two workers", ">= 1.8 x one", f"{ratio:.2f} x", ratio >= 1.8, columns)]
    measured = f"{ratio:.2f} x (the load takes one of {cores} cores)"
    return [Row("two workers", ">= 1.8 x one", measured, None, columns)]


def _rate(server: Server, plan: Plan) -> float:
    """Requests a second."""
    wrk = shutil.which("wrk")
    if wrk is None or plan.share < 1:  # it measures for whole seconds
        count = plan.count(3000)
        began = time.perf_counter()
        load(server, bodies.small(), count=count, concurrency=32)
        return count / (time.perf_counter() - began)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        body = bodies.small().decode()
        script.write(f'wrk.method = "POST"\nwrk.body = [==[{body}]==]\n')
        script.write('wrk.headers["content-type"] = "application/json"\n')
        script.flush()
        command = [wrk, "-t1", "-c32", "-d4s", "-s", script.name, server.url + "/v1/messages"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None or "Non-2xx" in output:
        raise RuntimeError(output)
    return float(found[1])


def process(plan: Plan, there: Contestants) -> list[Row]:
    """A worker's memory before its first request, and the time from its start to its first answer."""
    there.follow("/json")
    base_url = there.direct.url + "/v1"
    memory: dict[str, list[float]] = {}
    starts: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        for command in (floor(base_url), proxy(base_url)):
            began = time.perf_counter()
            with running(command) as (server,):
                memory.setdefault(server.name, []).append(server.memory("Rss"))
                answer = run(fetch(server.url + "/v1/messages", bodies.small()))
                starts.setdefault(server.name, []).append(time.perf_counter() - began)
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
    rss, start = statistics.median(memory[PROXY]), statistics.median(starts[PROXY])
    seconds = {name: f"{statistics.median(values):.2f} s" for name, values in starts.items()}
    return [
        Row("idle memory of a worker", "<= 60 MB", f"{rss:.0f} MB", rss <= 60, _medians(memory, "MB")),
        Row("from start to first answer", "<= 0.7 s", f"{start:.2f} s", start <= 0.7, seconds),
    ]
