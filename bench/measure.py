"""How a row of the table is measured: what is compared takes turns, and medians count."""

import statistics
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import uvloop

from .client import Answer, closed_loop, request_bytes
from .processes import Server

Result = TypeVar("Result")


@dataclass
class Row:
    """One line of the table. ``kept``: whether the target is kept; None where nothing can be said.

    columns: what was measured, by who it was measured on.
    """

    work: str
    target: str
    measured: str
    kept: bool | None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How much is done. ``rounds`` of each comparison; ``share`` of the requests of a full run."""

    rounds: int = 5
    share: float = 1.0

    def count(self, full: int) -> int:
        return max(2, round(full * self.share))


def run(work: Coroutine[Any, Any, Result]) -> Result:
    return uvloop.run(work)


def load(server: Server, bodies: bytes | Sequence[bytes], *, count: int, concurrency: int) -> list[Answer]:
    """So many requests by so many clients, each with a good answer. Several bodies take turns."""
    url = server.url + "/v1/messages"
    requests = [request_bytes(url, body) for body in ([bodies] if isinstance(bodies, bytes) else bodies)]
    answers = run(closed_loop(url, requests, count=count, concurrency=concurrency))
    for answer in answers:
        if answer.status != 200 or not answer.complete:
            raise RuntimeError(f"{server.name}: status {answer.status}, {bytes(answer.body[:300])!r}")
    return answers


def cpu_per_unit(server: Server, work: Callable[[Server], int]) -> float:
    """Microseconds of the server's CPU time for each unit of work; ``work`` returns how many it was."""
    before = server.cpu()
    units = work(server)
    return (server.cpu() - before) / units * 1e6


def compare(servers: Sequence[Server], work: Callable[[Server], int], plan: Plan) -> list[list[float]]:
    """Rounds of CPU time per unit, one number for each server; before them one round that doesn't count."""
    measurable = [server for server in servers if server.pid is not None]
    for server in measurable:
        work(server)
    return [[cpu_per_unit(server, work) for server in measurable] for _ in range(plan.rounds)]


def ratio_row(work: str, limit: float, servers: Sequence[Server], rounds: Sequence[Sequence[float]]) -> Row:
    """A row of the ratio of the second server's CPU time to the first's: the median of the rounds' ratios."""
    ratio = statistics.median(ours / max(floor, 0.01) for floor, ours, *_ in rounds)
    measurable = [server for server in servers if server.pid is not None]
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    columns = {
        server.name: f"{time:,.{0 if time >= 100 else 1}f} us" for server, time in zip(measurable, medians, strict=True)
    }
    return Row(work, f"CPU <= {limit:g} x floor", f"{ratio:.2f} x", ratio <= limit, columns)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of the values doesn't exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| work | target | measured | kept | of it |", "|---|---|---|---|---|"]
    for row in rows:
        kept = {True: "yes", False: "**no**", None: ""}[row.kept]
        columns = ", ".join(f"{name} {value}" for name, value in row.columns.items())
        lines.append(f"| {row.work} | {row.target} | {row.measured} | {kept} | {columns} |")
    return "\n".join(lines)
