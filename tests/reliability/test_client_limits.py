"""What a client may take of the server before its request is whole and while it reads the answer: time and bytes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy.serving.limits import Limits, address_of
from ccproxy.serving.protocol import limited_protocol
from support.clients.raw_client import RawClient, connected, head, whole
from support.providers.scripted import ScriptedProvider
from support.reliability import Row
from support.serving.process import WAYS, request_body, started
from support.serving.servers import eventually, serve

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
QUICK = Limits(head_seconds=0.3, client_seconds=0.3, idle_seconds=0.6, close_seconds=0.3)
POST = head("/", "content-length: 10")
CHUNKED = head("/", "transfer-encoding: chunked")


class Echo:
    """An app that answers with what it has read; ``/unread`` answers at once, ``/slow`` when the test lets it.

    ``/stream`` and ``/whole`` send more than a client's buffers take. ``seen`` are bodies and ``left`` the requests
    whose client has gone.
    """

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.left = 0
        self.running = 0
        self.go = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.running -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        message: Message = {"more_body": scope["path"] != "/unread"}
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message.get("body", b"")
        self.seen.append(body)
        self.headers.append(list(scope["headers"]))
        if scope["path"] == "/slow":
            await asyncio.to_thread(self.go.wait, 20)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            gone = asyncio.ensure_future(receive())
            while not gone.done():
                await send({"type": "http.response.body", "body": bytes(MB), "more_body": True})
                await asyncio.sleep(0)
            self.left += 1
        elif scope["path"] == "/whole":
            body = bytes(16 * MB)
        await send({"type": "http.response.body", "body": body})


@contextmanager
def echo(limits: Limits = QUICK) -> Iterator[tuple[str, Echo]]:
    app = Echo()
    with serve(app, lifespan="off", http=limited_protocol(limits)) as server:
        yield server.url, app
        assert server.errors == []


@asynccontextmanager
async def sent(limits: Limits, *pieces: bytes | float) -> AsyncIterator[tuple[RawClient, Echo]]:
    """A client that has sent these pieces, with pauses between them."""
    with echo(limits) as (url, app):
        async with connected(url) as client:
            for piece in pieces:
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                else:
                    await client.send(piece)
            yield client, app


class Refusal(NamedTuple):
    name: str
    pieces: tuple[bytes | float, ...]
    status: int
    type: str = "invalid_request_error"


LONG = b"a" * 80_000
MANY = b"".join(b"x-%d: a\r\n" % n for n in range(200))
OPEN = b"POST / HTTP/1.1\r\nhost: x\r\n"
ONE = b"1\r\na\r\n"
REFUSALS = [
    Refusal("half of a header and no more", (OPEN + b"x-a",), 408, "timeout_error"),
    Refusal("a header byte by byte", (OPEN, *(b"a", 0.1) * 6), 408, "timeout_error"),
    Refusal("a part of a body and no more", (POST + b"12345",), 408, "timeout_error"),
    Refusal("a body byte by byte", (head("/", "content-length: 99"), *(b"a", 0.1) * 6), 408, "timeout_error"),
    Refusal("no end of the chunks", (CHUNKED + ONE,), 408, "timeout_error"),
    Refusal("a long header", (OPEN + b"x: " + LONG + b"\r\n\r\n",), 431),
    Refusal("a long header without an end", (OPEN + b"x: ", *[LONG] * 6), 431),
    Refusal("a long name of a header", (OPEN + LONG + b": x\r\n\r\n",), 431),
    Refusal("a long target", (b"GET /" + LONG + b" HTTP/1.1\r\nhost: x\r\n\r\n",), 431),
    Refusal("a long target without an end", (b"GET /", *[LONG] * 6), 431),
    Refusal("many headers", (OPEN + MANY + b"\r\n",), 431),
    Refusal("many headers without an end", (OPEN, *[MANY] * 6), 431),
    Refusal("many trailers", (CHUNKED + ONE + b"0\r\n" + MANY + b"\r\n",), 431),
    Refusal("a long trailer", (CHUNKED + ONE + b"0\r\nx: " + LONG + b"\r\nx-b: c\r\n\r\n",), 431),
    Refusal("a long trailer without an end", (CHUNKED + ONE + b"0\r\nx: ", *[LONG] * 6), 431),
    Refusal("a long chunk extension", (CHUNKED + b"1;", *[LONG] * 6), 431),
    Refusal("two host headers", (head("/", "host: other", method="GET"),), 400),
    Refusal("no host header", (b"GET / HTTP/1.1\r\n\r\n",), 400),
    Refusal("a host header with a blank", (b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n",), 400),
    Refusal("what is not HTTP", (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",), 400),
    Refusal("two lengths", (head("/", "content-length: 1", "content-length: 2"),), 400),
    Refusal("a length and chunks", (head("/", "content-length: 1", "transfer-encoding: chunked"),), 400),
    Refusal("a chunk without a size", (CHUNKED + b"x\r\n",), 400),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
async def test_refused_request(case: Refusal) -> None:
    async with sent(QUICK, *case.pieces) as (client, app):
        answer = await client.answer()
        assert (answer.status, answer.json()["error"]["type"]) == (case.status, case.type), answer.body
        assert answer.headers["connection"] == "close"
        assert answer.json()["request_id"] == answer.headers["request-id"]
        assert await client.rest() == b""
        await eventually(lambda: not app.running)
    assert app.seen == []


class Silence(NamedTuple):
    name: str
    pieces: tuple[bytes | float, ...]
    answers: int = 1


GET = head("/", method="GET")
SILENCES = [
    Silence("nothing", (), answers=0),
    Silence("blank lines only", (b"\r\n", 0.1, b"\r\n"), answers=0),
    Silence("nothing after an answer", (GET,)),
    Silence("blank lines only after an answer", (GET, 0.2, b"\r\n", 0.2, b"\r\n")),
    Silence("a part of a body after the answer", (head("/unread", "content-length: 99"), 0.1, b"1", 0.1, b"1")),
]


@pytest.mark.parametrize("case", SILENCES, ids=lambda case: case.name)
async def test_silent_connection_is_closed(case: Silence) -> None:
    async with sent(QUICK, *case.pieces) as (client, _):
        rest = await client.rest()
        assert rest.count(b"HTTP/1.1") == rest.count(b"HTTP/1.1 200") == case.answers


async def test_many_silent_connections_are_closed_and_others_answered() -> None:
    with echo() as (url, _):
        clients = [asyncio.open_connection(*url.removeprefix("http://").split(":")) for _ in range(300)]
        opened = await asyncio.gather(*clients)
        async with connected(url) as client:
            await client.send(GET)
            assert (await client.answer()).status == 200
        assert await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in opened)), 20) == [b""] * 300
        for _, writer in opened:
            writer.close()


async def test_slow_upload_that_moves_is_read() -> None:
    upload = head("/", "content-length: 20")
    async with sent(Limits(client_seconds=1.0, least_rate=5), upload, *(b"a", 0.1) * 20) as (client, app):
        assert (await client.answer()).status == 200
    assert app.seen == [b"a" * 20]


@pytest.mark.parametrize("path", ["/stream", "/whole"])
async def test_client_that_takes_nothing_is_left(path: str) -> None:
    with echo() as (url, app):
        async with connected(url, receive_buffer=4096) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(head(path, method="GET"))
            await eventually(lambda: app.seen)
            await eventually(lambda: not app.running)
            await asyncio.sleep(1.5)  # the app is done with a whole answer at once
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            assert len(await client.rest()) < 16 * MB
        assert app.left == (path == "/stream")


async def test_client_that_reads_slowly_gets_all() -> None:
    with echo() as (url, _):
        async with connected(url, receive_buffer=4096) as client:
            await client.send(head("/whole", "connection: close", method="GET"))
            size = 0
            while data := await client.reader.read(256 * 1024):
                size += len(data)
                await asyncio.sleep(0.02)
    assert size > 16 * MB


async def test_answer_that_takes_long_is_waited_for() -> None:
    async with sent(QUICK, head("/slow", method="GET")) as (client, app):
        await asyncio.sleep(1)
        app.go.set()
        assert (await client.answer()).status == 200


BODY = b"0123456789"
REQUEST_IN_BODY = head("/hidden", method="GET")


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "foo"])
@pytest.mark.parametrize("packets", ["one", "two", "bytes"])
@pytest.mark.parametrize("framing", ["length", "chunked", "none"])
async def test_upgrade_is_ignored_and_the_body_read(upgrade: str, packets: str, framing: str) -> None:
    body = b"" if framing == "none" else REQUEST_IN_BODY
    lines = {"length": [f"content-length: {len(body)}"], "chunked": ["transfer-encoding: chunked"], "none": []}[framing]
    request = head("/", "connection: Upgrade, HTTP2-Settings", f"upgrade: {upgrade}", "http2-settings: AAMA", *lines)
    content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if framing == "chunked" else body
    both = request + content
    pieces = {"one": [both], "two": [request, content], "bytes": [both[n : n + 1] for n in range(len(both))]}[packets]
    async with sent(Limits(), *pieces) as (client, app):
        assert (await client.answer()).body == body
        await client.send(both + GET)  # the connection goes on
        assert [(await client.answer()).body for _ in range(2)] == [body, b""]
    assert app.seen == [body, body, b""]


async def test_trailers_are_no_headers() -> None:
    async with sent(Limits(), CHUNKED + ONE + b"0\r\nx-api-key: k\r\nx-b: c\r\n\r\n") as (client, app):
        assert (await client.answer()).body == b"a"
        await client.send(GET)
        assert (await client.answer()).status == 200
    assert {name for names in app.headers for name, _ in names} == {b"host", b"transfer-encoding"}


@pytest.mark.parametrize("bad", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", POST + b"1"])
async def test_bad_request_does_not_disturb_the_answer_before_it(bad: bytes) -> None:
    async with sent(QUICK, head("/slow", method="GET") + bad) as (client, app):
        await asyncio.sleep(0.5)
        app.go.set()
        first, second = await client.answer(), await client.answer()
        assert (first.status, second.status) == (200, 408 if bad.startswith(POST) else 400)
        assert await client.rest() == b""


async def test_requests_before_their_answers_are_limited() -> None:
    async with sent(Limits(waiting_requests=3), head("/slow", method="GET") + GET * 1000) as (client, app):
        app.go.set()
        answers = [await client.answer() for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 200, 429]
        assert await client.rest() == b""


async def test_connections_of_an_address_are_limited_and_come_back() -> None:
    with echo(Limits(per_address=2)) as (url, _):
        async with connected(url) as first, connected(url):
            async with connected(url) as third:
                answer = await third.answer()
            assert (answer.status, answer.json()["error"]["type"]) == (429, "rate_limit_error")
            await first.send(GET)
            assert (await first.answer()).status == 200
        statuses = [await _status(url) for _ in range(100)]  # the server may see late that they have gone
        assert statuses[-1] == 200


async def _status(url: str) -> int:
    async with connected(url) as client:
        await client.send(GET)
        return (await client.answer()).status


def test_addresses_of_one_customer_are_one() -> None:
    assert address_of("127.0.0.1") == address_of("::ffff:127.0.0.1")
    assert address_of("2001:db8::1") == address_of("2001:db8::ffff:2") != address_of("2001:db8:0:1::1")
    assert address_of("fe80::1%eth0") == address_of("fe80::2")


@pytest.mark.parametrize("way", WAYS)
async def test_limits_are_kept_however_the_proxy_is_started(way: str, tmp_path: Path) -> None:
    provider = ScriptedProvider()
    settings = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "c", "CLIENT_TIMEOUT": "1"}
    body = json.dumps(request_body()).encode()
    lines = ("x-api-key: c", "connection: Upgrade", "upgrade: h2c")
    with serve(provider, lifespan="off") as server, started(way, tmp_path, server.url, **settings) as proxy:
        async with connected(proxy.url) as client:
            await client.send(whole(body, "/v1/messages", *lines))
            assert (await client.answer()).status == 200
        for pieces, status in {
            (OPEN, *[MANY] * 6): 431,
            (head("/v1/messages", "x-api-key: c", "content-length: 9"),): 408,
            (b"GET / HTTP/1.1\r\n\r\n",): 400,
        }.items():
            async with connected(proxy.url) as client:
                for piece in pieces:
                    await client.send(piece)
                assert (await client.answer()).status == status
        assert proxy.terminate() == 0
    assert "Traceback" not in proxy.output.read_text()


def rows() -> list[Row]:
    """For docs/reliability.md."""
    refused = []
    for case in REFUSALS:
        seen = f"{case.status} `{case.type}`"
        refused.append(Row(f"sends {case.name}", seen, seen, f"{test_refused_request.__name__}[{case.name}]"))
    closed = []
    for silence in SILENCES:
        seen, test = "the connection is closed", test_silent_connection_is_closed.__name__
        closed.append(Row(f"sends {silence.name}", seen, seen, f"{test}[{silence.name}]"))
    others = {
        "reads nothing for `CLIENT_TIMEOUT`": (
            "the connection is closed, the provider's work is cancelled",
            test_client_that_takes_nothing_is_left,
        ),
        "reads slowly": ("the answer", test_client_that_reads_slowly_gets_all),
        "offers another protocol by `Upgrade`": ("the answer", test_upgrade_is_ignored_and_the_body_read),
        "sends a bad request before it has its answer": (
            "the answer, then the refusal",
            test_bad_request_does_not_disturb_the_answer_before_it,
        ),
        "sends many requests before it has its answers": (
            "the answers to the first 17, then 429 `rate_limit_error`",
            test_requests_before_their_answers_are_limited,
        ),
        "has more than `MAX_CONNECTIONS_PER_ADDRESS` connections": (
            "429 `rate_limit_error`",
            test_connections_of_an_address_are_limited_and_come_back,
        ),
    }
    return [*refused, *closed, *(Row(fault, seen, seen, shows.__name__) for fault, (seen, shows) in others.items())]
