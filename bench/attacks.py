"""Requests and answers that are made to fill a proxy's memory or to hold it up: ``python -m bench.soak --attack``.

Each attack has its row: what the client got, the memory of the proxy at its peak, and how long ``/health`` took at
most. One that fails its limits makes the exit code 1. All of it is on loopback and bounded: a few hundred connections,
some 2 GB over the wire, five minutes.
"""

import asyncio
import base64
import gzip
import json
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .client import connected, fetch, request_bytes
from .hostile import ANSWERS
from .measure import Row, run
from .processes import ROOT, Command, Server, free_port, proxy_settings, running, uvicorn

MAX_MEMORY = 300  # MB of the whole process
MAX_HEALTH = 0.1  # seconds
LIMIT = 120.0  # seconds for one attack

_MB = 1024 * 1024
_LEAVES = "left open"


@dataclass(frozen=True)
class Attack:
    """What is sent: requests to ``/v1/messages`` all at once, or what ``work`` does with the proxy's address.

    ``expected``: the outcomes that are right, of which each must be one.
    """

    name: str
    expected: frozenset[str]
    bodies: Callable[[float], Sequence[bytes]] = lambda share: ()
    headers: tuple[tuple[str, str], ...] = ()
    work: Callable[[str, float], Awaitable[Counter[str]]] | None = None


def _message(content: str, **fields: object) -> bytes:
    """A request with this JSON as the content of its message."""
    start = json.dumps({"model": "m", "max_tokens": 5, **fields}, separators=(",", ":"))[:-1]
    return (start + ',"messages":[{"role":"user","content":' + content + "}]}").encode()


def _many_values(share: float) -> list[bytes]:
    return [gzip.compress(_message('"a"', x=[[]] * int(10_000_000 * share)))] * 3


def _blocks(share: float) -> list[bytes]:
    block = '{"type":"text","text":"a"}'
    return [_message("[" + ",".join([block] * int(150_000 * share)) + "]")] * 2


def _turns(share: float) -> list[bytes]:
    message = '{"role":"user","content":"a"}'
    return [
        _message('"a"').replace(b'"messages":[', f'"messages":[{",".join([message] * int(140_000 * share))},'.encode())
    ]


def _text(piece: str, model: str = "m", times: int = 1) -> Callable[[float], list[bytes]]:
    def bodies(share: float) -> list[bytes]:
        size = int(24 * _MB * share)
        return [_message('"' + piece * (size // len(piece.encode())) + '"', model=model)] * times

    return bodies


def _emoji(share: float) -> list[bytes]:
    return [_message('"' + "a" * int(20 * _MB * share) + '\U0001f600"', model="slow")] * 8


def _stops(share: float) -> list[bytes]:
    return [_message('"a"', stop_sequences=[f"q{n}" for n in range(int(400_000 * share))])]


def _references(share: float) -> list[bytes]:
    schema = {
        "type": "object",
        "$defs": {"d": {"type": "string", "description": "d" * 200_000}},
        "properties": {f"p{n}": {"$ref": "#/$defs/d"} for n in range(int(5000 * share))},
    }
    tool = {"name": "t", "description": "t", "input_schema": schema}
    return [_message('"a"', model="gemini-2.5-pro", tools=[tool])] * 2


def _pdf(content: bytes, form: bytes) -> bytes:
    """One page that draws a form, both compressed."""
    packed = [zlib.compress(part, 9) for part in (content, form)]
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</XObject<</X 5 0 R>>>>/Contents 4 0 R>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n%b\nendstream" % (len(packed[0]), packed[0]),
        b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Filter/FlateDecode/Length %d>>stream\n%b\nendstream"
        % (len(packed[1]), packed[1]),
    ]
    out = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%b endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Root 1 0 R/Size 6>>\nstartxref\n%d\n%%%%EOF" % len(out)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + end


def _documents(share: float) -> list[bytes]:
    bodies = []
    for number in range(3):  # each another one, so that nothing is remembered
        pdf = _pdf(b"/X Do " * 60 + b"%%%d\n" % number, b"BT (a) Tj ET " * int(300_000 * share))
        source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(pdf).decode()}
        bodies.append(_message(json.dumps([{"type": "document", "source": source}])))
    return bodies


async def _headers_without_end(url: str, share: float) -> Counter[str]:
    host = url.removeprefix("http://").partition("/")[0].split(":")
    _, writer = await asyncio.open_connection(*host)
    outcomes: Counter[str] = Counter()
    try:
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\n")
        for n in range(int(200_000 * share)):
            writer.write(b"x-%d: %b\r\n" % (n, b"a" * 400))
            await writer.drain()
        outcomes["taken"] += 1
    except OSError:
        outcomes["closed"] += 1
    finally:
        writer.close()
    return outcomes


async def _silent_connections(url: str, share: float) -> Counter[str]:
    """Connections that send half a header; how they end, and whether others are answered meanwhile."""
    host = url.removeprefix("http://").partition("/")[0].split(":")
    opened = [await asyncio.open_connection(*host) for _ in range(int(500 * share) or 1)]
    outcomes: Counter[str] = Counter()
    for _, writer in opened:
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-a")
    outcomes[str((await fetch(url, _message('"a"'))).status)] += 1

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.read(), 30)
            outcomes["closed"] += 1
        except (OSError, TimeoutError):
            outcomes[_LEAVES] += 1
        writer.close()

    await asyncio.gather(*(end(*connection) for connection in opened))
    return outcomes


def _of_provider(name: str) -> Attack:
    """A hostile answer: streams end or are broken off, JSON is refused."""
    fields = {"model": name, "stream": name not in ("whole_json", "gzip"), "tools": [{"name": "f", "input_schema": {}}]}
    words = f"answer: {name.replace('_', ' ')}"
    return Attack(
        words, frozenset(("200", "200, cut off", "502", "504")), lambda share: [_message('"a"', **fields)] * 2
    )


ATTACKS = [
    Attack("gzip of millions of values", frozenset(("400", "413")), _many_values, (("content-encoding", "gzip"),)),
    Attack("text with an emoji, 8 of 20 MB at once", frozenset(("200", "529")), _emoji),
    Attack("text of quotes, 24 MB", frozenset(("200", "529")), _text(r"\"", times=2)),
    Attack("text of emoji, 24 MB", frozenset(("200", "529")), _text("\U0001f600", times=2)),
    Attack("halves of emoji, 24 MB", frozenset(("400", "529")), _text(r"\ud83d", times=2)),
    Attack("many blocks", frozenset(("200", "529")), _blocks),
    Attack("many messages", frozenset(("200",)), _turns),
    Attack("many stop sequences", frozenset(("400",)), _stops),
    Attack("references to a long definition", frozenset(("200", "400")), _references),
    Attack("PDFs that take minutes to read", frozenset(("200", "529")), _documents),
    Attack("headers without an end", frozenset(("closed",)), work=_headers_without_end),
    Attack("silent connections", frozenset(("200", "closed")), work=_silent_connections),
    *map(_of_provider, ANSWERS),
]


async def _ask(url: str, attack: Attack, share: float) -> Counter[str]:
    """What became of the requests."""
    outcomes: Counter[str] = Counter()

    async def one(body: bytes) -> None:
        async with connected(url) as connection:
            answer = await connection.ask(request_bytes(url, body, dict(attack.headers)))
            outcomes[f"{answer.status}" if answer.complete else f"{answer.status}, cut off"] += 1

    await asyncio.gather(*(one(body) for body in attack.bodies(share)))
    return outcomes


async def _attacked(proxy: Server, attack: Attack, share: float) -> Counter[str]:
    """What came of it."""
    url = proxy.url + "/v1/messages"
    try:
        async with asyncio.timeout(LIMIT):
            return await (_ask(url, attack, share) if attack.work is None else attack.work(url, share))
    except TimeoutError:
        return Counter((f"nothing within {LIMIT:g} s",))


@contextmanager
def _watched(url: str) -> Iterator[list[float]]:
    """The seconds that answers of this address took while the block lasted, once it is over."""
    times: list[float] = []
    command = [sys.executable, "-m", "bench.watch", url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as watcher:  # noqa: S603
        assert watcher.stdout is not None  # noqa: S101
        watcher.stdout.readline()
        began = time.monotonic()
        try:
            yield times
        finally:
            waits = time.monotonic() - began
            watcher.kill()
            times += map(float, watcher.stdout.read().splitlines())
    if not times:  # it has waited for its first answer all the time
        times.append(waits)


def _row(proxy: Server, attack: Attack, share: float, *, timed: bool) -> Row:
    """One attack, and whether the proxy has kept its limits."""
    Path(f"/proc/{proxy.pid}/clear_refs").write_text("5")  # the peak of its memory begins anew
    with _watched(proxy.url + "/health") as times:
        outcomes = run(_attacked(proxy, attack, share))
    status = Path(f"/proc/{proxy.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    slowest = max(times)
    right = bool(outcomes) and set(outcomes) <= attack.expected and peak <= MAX_MEMORY
    columns = {"memory": f"{peak:.0f} MB", "/health": f"{slowest * 1000:.0f} ms at most"}
    target = f"{' or '.join(sorted(attack.expected))}; <= {MAX_MEMORY} MB, {MAX_HEALTH * 1000:.0f} ms"
    measured = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(outcomes.items()))
    return Row(attack.name, target, measured, right and (not timed or slowest <= MAX_HEALTH), columns)


def attacks(share: float, tell: Callable[[str], None], *, timed: bool) -> list[Row]:
    """All of them, one after the other, at one proxy. ``share`` of full size; no time counts without ``timed``."""
    port = free_port()
    hostile = Command("provider", ["-m", "bench.hostile", str(port), str(max(10, int(200 * share)))], port, path="/")
    settings = proxy_settings(f"http://127.0.0.1:{port}/v1") | {"MAX_RETRIES": "0", "LOG_LEVEL": "CRITICAL"}
    settings["STREAM_IDLE_TIMEOUT"] = "3"
    rows = []
    with running(hostile, uvicorn("cc-boost", "asgi:app", **settings)) as (_, proxy):
        run(fetch(proxy.url + "/v1/messages", _message('"a"')))
        for attack in ATTACKS:
            tell(f"attack: {attack.name}")
            rows.append(_row(proxy, attack, share, timed=timed))
    return rows
