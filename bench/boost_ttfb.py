"""How long a final answer of the planner's takes through boost: from its first SUMMARY token to the client's.

``python bench/boost_ttfb.py [--requests 100]`` serves a planner and the whole proxy on real sockets and prints the
median and the slowest, in milliseconds.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.providers.scripted import ScriptedProvider
from support.serving.boosted import boosted, question

PIECES = ["ANALYSIS:\n", "All is known.\n", "\n", "SUMM", "ARY", ":", " It"]  # the last one is the first token


class Planner(ScriptedProvider):
    """Streams PIECES at once, then waits until it is told to end; ``sent`` is when the last of them left."""

    sent = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in PIECES:
            type(self).sent = time.monotonic()
            await send({"type": "http.response.body", "body": _event({"content": piece}), "more_body": True})
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": _event({}, "stop") + b"data: [DONE]\n\n"})


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def measure(url: str, client: httpx.Client, number: int) -> float:
    """Milliseconds from the planner's token to the client's."""
    body = question(f"Question {number}", stream=True)  # a new one each time: plans are cached
    with client.stream("POST", url + "/v1/messages", json=body) as response:
        received = b""
        arrived = 0.0
        for chunk in response.iter_raw():
            received += chunk
            if not arrived and b"text_delta" in received:
                arrived = time.monotonic()
    return (arrived - Planner.sent) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100)
    count = parser.parse_args().requests
    with boosted(Planner(), ScriptedProvider([])) as running, httpx.Client(timeout=20, trust_env=False) as client:
        times = sorted(measure(running.url, client, number) for number in range(count + 1))
    median, p95 = statistics.median(times), times[int(len(times) * 0.95) - 1]
    sys.stdout.write(f"{len(times)} requests: median {median:.1f} ms, 95% {p95:.1f} ms, slowest {times[-1]:.1f} ms\n")


if __name__ == "__main__":
    main()
