"""Rows of CPU time: the proxy against the floor."""

import statistics
from collections.abc import Sequence

from .. import bodies
from ..contestants import FASTAPI, Contestants
from ..measure import Plan, Row, compare, load, ratio_row
from ..processes import Server

_AT_ONCE = 500  # chunks
_CLIENTS = 8


def small_request(plan: Plan, there: Contestants) -> list[Row]:
    """A request of about 300 bytes, not streamed."""

    def work(server: Server) -> int:
        return len(load(server, bodies.small(), count=plan.count(2000), concurrency=_CLIENTS))

    there.follow("/json")
    row = ratio_row("small request (300 B)", 1.4, there.servers, compare(there.servers, work, plan))
    before = there.accepted()
    work(there.servers[1])
    opened = there.accepted() - before
    target = f"<= {_CLIENTS} for {_CLIENTS} clients"
    return [row, Row("connections to the provider", target, str(opened), opened <= _CLIENTS)]


def claude_code_request(plan: Plan, there: Contestants) -> list[Row]:
    """Claude Code's own requests, not streamed: the same one again and again, and sessions, turn by turn."""
    rows = []
    there.follow("/json")
    for size in (100, 200):
        sessions = bodies.claude_code_sessions(size * 1000)
        rows += _claude_code(f"Claude Code request ({size} KB)", sessions[-1:], plan, there)
        rows += _claude_code(f"Claude Code sessions ({size} KB)", sessions, plan, there)
    return rows


def _claude_code(name: str, requests: Sequence[bytes], plan: Plan, there: Contestants) -> list[Row]:
    """These requests against the floor, and against a proxy that is built as most are."""

    def work(server: Server) -> int:
        count = plan.count(100 if server.name == FASTAPI else 500)
        return len(load(server, requests, count=count, concurrency=_CLIENTS))

    rounds = compare(there.servers, work, plan)
    row = ratio_row(name, 1.7, there.servers, rounds)
    if FASTAPI not in row.columns:
        return [row]
    peer = list(row.columns).index(FASTAPI)
    ratio = statistics.median(times[peer] / times[1] for times in rounds)
    return [row, Row(f"{name} against a peer", "CPU <= 1/12 of it", f"1/{ratio:.1f}", ratio >= 12)]


def streamed_chunk(plan: Plan, there: Contestants) -> list[Row]:
    """A chunk of text, of 500 that come without delay."""

    def work(server: Server) -> int:
        count = plan.count(20 if server.name == FASTAPI else 200)
        return _AT_ONCE * len(load(server, bodies.small(stream=True), count=count, concurrency=4))

    there.follow(f"/burst/{_AT_ONCE}")
    return [ratio_row(f"streamed chunk ({_AT_ONCE} at once)", 2.0, there.servers, compare(there.servers, work, plan))]
