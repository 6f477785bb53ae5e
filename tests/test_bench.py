"""The benchmark and the soak run, and print what they are to print. Nothing is said of how fast anything is."""

import subprocess
import sys

import pytest

from support.paths import ROOT


@pytest.mark.parametrize(
    ("module", "works"),
    [
        (
            "bench.run",
            [
                "small request (300 B)",
                "Claude Code request (100 KB)",
                "Claude Code sessions (100 KB)",
                "Claude Code request (200 KB)",
                "Claude Code sessions (200 KB)",
                "streamed chunk (500 at once)",
                "first content delta, 16 clients",
                "5 streams of 20 chunks/s",
                "two workers",
                "2,000 messages, doubled",
                "idle memory of a worker",
                "from start to first answer",
                "a layer that passes through",
                "streamed chunk, by Responses",
                "small request, routed over three upstreams",
            ],
        ),
        (
            "bench.soak",
            [
                "20 streams for 1 s, 200 requests",
                "/health under load",
                "lag of the event loop",
                "tasks after the load",
                "files after the load",
                "memory after the load",
                "10 streams at once, MAX_CONCURRENCY=5",
            ],
        ),
        (
            "bench.soak --pool",
            [
                "300 requests over 3 upstreams of which each fails 10 % of the time",
                "answers that are lost or mixed up",
                "requests that were answered twice",
                "failures of the upstreams",
            ],
        ),
        (
            "bench.soak --attack",
            [
                "gzip of millions of values",
                "PDFs that take minutes to read",
                "silent connections",
                "answer: whole json",
            ],
        ),
    ],
)
def test_benchmark_prints_its_table_when_it_does_a_little_of_everything(module: str, works: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *module.split(), "--smoke"], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines()]
    assert [work for work in works if work not in shown] == []
