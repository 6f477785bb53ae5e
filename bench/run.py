"""Measure the proxy against the floor and print the table of targets: ``python -m bench.run``.

The table is also written to ``bench/RESULTS.md``, with the machine, the date and the versions.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .contestants import Contestants, contestants
from .machine import machine
from .measure import Plan, Row, table
from .processes import Server, open_files_limit
from .rows.apis import apis
from .rows.cpu import claude_code_request, small_request, streamed_chunk
from .rows.inside import growth, layer
from .rows.routing import routing
from .rows.time import first_delta, paced_streams, process, two_workers

RESULTS = Path(__file__).with_name("RESULTS.md")

ROWS: dict[str, Callable[[Plan, Contestants], list[Row]]] = {
    "small": small_request,
    "claude-code": claude_code_request,
    "stream": streamed_chunk,
    "first-delta": first_delta,
    "paced": paced_streams,
    "workers": two_workers,
    "growth": growth,
    "process": process,
    "layer": layer,
    "apis": apis,
    "routing": routing,
}


def peer(text: str) -> Server:
    """``name=URL`` or ``name=URL,pid``."""
    name, _, rest = text.partition("=")
    url, _, pid = rest.partition(",")
    if not name or not url.startswith("http://") or (pid and not pid.isdigit()):
        raise argparse.ArgumentTypeError("give it as name=http://host:port or name=http://host:port,pid")
    return Server(name, url.rstrip("/"), int(pid) if pid else None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--only", action="append", choices=ROWS, help="measure this alone; may be repeated")
    parser.add_argument("--smoke", action="store_true", help="do a little of everything, to see that it runs")
    parser.add_argument("--provider-port", type=int, help="where the provider listens, so that peers can ask it")
    parser.add_argument(
        "--peer",
        action="append",
        type=peer,
        default=[],
        metavar="NAME=URL[,PID]",
        help="measure another proxy too, in front of the provider at --provider-port; CPU time only with its pid",
    )
    arguments = parser.parse_args()
    open_files_limit()
    share = 0.005 if arguments.smoke else 1.0
    plan = Plan(rounds=1 if arguments.smoke else 5, share=share)
    rows: list[Row] = []
    with contestants(arguments.peer, others=not arguments.smoke, port=arguments.provider_port) as there:
        for name in arguments.only or ROWS:
            began = time.monotonic()
            print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
            rows += ROWS[name](plan, there)
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if arguments.smoke:  # too little to say anything of it
        rows = [replace(row, kept=None) for row in rows]
    print(table(rows))
    print(f"\n{machine()}")
    if not arguments.smoke and not arguments.only:
        text = (Path(__file__).with_name("README.md")).read_text().partition("## How to read")[2].strip()
        RESULTS.write_text(f"# Results\n\n{machine()}\n\n{table(rows)}\n\n{text}\n")


if __name__ == "__main__":
    main()
