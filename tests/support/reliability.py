"""The tables of docs/reliability.md, made from what the tests in tests/reliability assert.

Each module of that folder that MODULES names has a function ``rows() -> list[Row]``: one row for each fault, in the
order in which they are to be read. A row is made from the very values that its test asserts, so that the page can't
say another thing: build ``Row("a gap", str(expected.json), str(expected.stream), "test_gap[a gap]")`` out of the
table that parametrises the test, not beside it. Where a fault is the same with and without a stream, ``json`` and
``stream`` are the same text and the page shows it once. ``test`` is the name of a function in that module, which may
be followed by the parameter's id in square brackets. Texts are one line of Markdown; a ``|`` is escaped here.

``rows()`` must not start servers or need fixtures: it is called to write the page.

    cd tests && python -m support.reliability
"""

import importlib
from dataclasses import dataclass
from types import ModuleType

from .paths import ROOT

PAGE = ROOT / "docs" / "reliability.md"

MODULES = {
    "test_upstream_connections": "The provider can't be reached",
    "test_upstream_faults": "The connection to the provider fails",
    "test_upstream_statuses": "The provider answers with an error",
    "test_upstream_answers": "The provider's answer is odd or wrong",
    "test_client_faults": "The client fails",
    "test_client_bodies": "The client's request is odd or wrong",
    "test_client_limits": "The client takes too long or sends too much",
    "test_life": "The process ends",
}
"""The modules and their headings, in the order of the page."""


@dataclass(frozen=True)
class Row:
    """One fault, what a client sees of it without and with ``stream: true``, and the test that shows it."""

    fault: str
    json: str
    stream: str
    test: str


def page() -> str:
    """The whole of docs/reliability.md."""
    parts = [_INTRODUCTION]
    for name, heading in MODULES.items():
        table = _table(importlib.import_module(f"reliability.{name}"))
        parts.append(f"## {heading}\n\n`tests/reliability/{name}.py`\n\n{table}")
    return "\n".join(parts)


_INTRODUCTION = """\
# Reliability

This page lists what a client sees when something fails. The tables are generated from the tests: each line consists of the values
that the named test asserts, through the whole proxy on real sockets. For the provider's faults, the tests use both Anthropic's own
SDK and a client that reads the raw socket.

- If a failure happens before the first byte, the client gets an HTTP error status with Anthropic's error object.
- If it happens later, the client gets an `error` event, and the body is left incomplete, so no client can take it for a complete
  answer. The text from before the failure is delivered.
- "the answer" is a complete message, or a complete stream with its events in the order of Anthropic's API. An empty cell means that
  the fault can't happen with this kind of request.
- No fault of a provider or a client leaves a traceback in the log.

The tables show the provider's faults with `MAX_RETRIES=0`. By default the proxy retries failed connections and temporary errors
(408, 429, 500, 502, 503, 504, 529) before a client sees them.
"""


def _table(module: ModuleType) -> str:
    rows: list[Row] = module.rows()
    lines = ["| fault | not streamed | streamed | test |", "| --- | --- | --- | --- |"]
    for row in rows:
        function = row.test.partition("[")[0]
        if not callable(getattr(module, function, None)):
            raise ValueError(f"{module.__name__} has no {function}")
        stream = "the same" if row.stream == row.json else row.stream
        quote = "``" if "`" in row.test else "`"
        cells = (row.fault, row.json, stream, f"{quote}{row.test}{quote}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
