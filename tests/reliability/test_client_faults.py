"""The client leaves, stalls or sends too much: nothing goes on at the provider, nothing hangs, nothing is kept."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from support.clients.raw_client import RawClient, connected, head, whole
from support.providers.openai_answers import JSON_HEADERS
from support.providers.scripted import Answer, Endless, Raw, Reply, ScriptedProvider, Silence
from support.reliability import Row
from support.serving.proxied import proxied
from support.serving.servers import eventually

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
FOREVER = 60.0  # seconds; nobody waits that long
REQUEST: dict[str, Any] = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
QUESTION = json.dumps(REQUEST).encode()
STREAMED = json.dumps({**REQUEST, "stream": True}).encode()
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'


@contextmanager
def asked(*answers: Answer) -> Iterator[tuple[str, ScriptedProvider]]:
    """A proxy in front of a provider that gives these answers; nothing may be left of them at the end."""
    provider = ScriptedProvider(answers)
    with proxied(provider) as url:
        yield url, provider
    assert provider.active == 0


class Phase(NamedTuple):
    """When a client leaves: what the provider does until then, and whether the client has read some of the answer."""

    moment: str
    answer: Answer
    streamed: bool
    reads: bool = False

    @property
    def body(self) -> bytes:
        return STREAMED if self.streamed else QUESTION


PHASES = [
    Phase("before the provider's headers", Silence(), streamed=False),
    Phase("before the provider's headers", Silence(), streamed=True),
    Phase("before the first event", Raw([FOREVER]), streamed=True),
    Phase("after a comment, before the first event", Raw([b": wait\n\n", FOREVER]), streamed=True),
    Phase("within the first event", Raw([DELTA[:20], FOREVER]), streamed=True),
    Phase("in mid-stream, in a pause", Raw([DELTA, FOREVER]), streamed=True, reads=True),
    Phase("in mid-stream, while more comes", Endless(), streamed=True, reads=True),
    Phase("in mid-answer", Raw([b'{"choices": [', FOREVER], headers=JSON_HEADERS), streamed=False),
]
LEAVING: dict[str, Callable[[RawClient], None]] = {"closes": RawClient.close, "resets": RawClient.reset}


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: f"{phase.moment}-{'stream' if phase.streamed else 'json'}")
async def test_leaving_client_cancels_the_providers_work(phase: Phase, leave: str) -> None:
    with asked(phase.answer) as (url, provider):
        async with connected(url) as client:
            await client.send(whole(phase.body))
            await eventually(lambda: provider.active)
            if phase.reads:
                await client.reader.readuntil(b"Hello" if isinstance(phase.answer, Raw) else b"text_delta")
            LEAVING[leave](client)
            await eventually(lambda: provider.disconnects and not provider.active)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("leave", LEAVING)
async def test_leaving_within_the_request_asks_nobody(leave: str) -> None:
    with asked(Reply("Hi")) as (url, provider):
        async with connected(url) as client:
            await client.send(whole(QUESTION)[:-10])
            await asyncio.sleep(0.05)
            LEAVING[leave](client)
        assert await works(url)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_leaving_after_the_answer_disturbs_nothing(streamed: bool) -> None:
    with asked(Reply("Hi"), Reply("Hi")) as (url, provider):
        async with connected(url) as client:
            await client.send(whole(STREAMED if streamed else QUESTION))
            assert (await client.answer()).status == 200
            client.reset()
        assert await works(url)
    assert provider.disconnects == []


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_half_closed_connection_counts_as_left(streamed: bool) -> None:
    """uvicorn closes a connection whose client has shut its side down: asyncio's transports do so by default."""
    with asked(Silence()) as (url, provider):
        async with connected(url) as client:
            await client.send(whole(STREAMED if streamed else QUESTION))
            await eventually(lambda: provider.active)
            client.writer.write_eof()
            assert await client.rest() == b""
            await eventually(lambda: provider.disconnects and not provider.active)


async def test_half_closed_connection_within_the_request_asks_nobody() -> None:
    with asked() as (url, provider):
        async with connected(url) as client:
            await client.send(whole(QUESTION)[:-10])
            client.writer.write_eof()
            assert await client.rest() == b""
    assert provider.requests == []


async def test_reader_that_reads_nothing_holds_the_provider_back() -> None:
    with asked(Endless(interval=0, size=64 * 1024)) as (url, provider):
        async with connected(url, receive_buffer=64 * 1024) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(whole(STREAMED))
            await eventually(lambda: provider.active)
            seen = -1
            while provider.requests[0].sent != seen:  # until a quarter of a second brings nothing more
                seen = provider.requests[0].sent
                await asyncio.sleep(0.25)
                assert provider.requests[0].sent < 64 * MB
            assert seen > 0
            client.reset()
            await eventually(lambda: provider.disconnects and not provider.active)


async def test_slow_upload_is_waited_for_and_holds_nobody_up() -> None:
    request = whole(QUESTION)
    with asked(Reply("Hi"), Reply("Hi")) as (url, provider):
        async with connected(url) as client:
            for n in range(0, len(request), 20):
                await client.send(request[n : n + 20])
                await asyncio.sleep(0.01)
                if n == 100:
                    assert await works(url)
            assert (await client.answer()).status == 200
    assert [json.loads(r.raw)["messages"] for r in provider.requests] == [REQUEST["messages"]] * 2


async def test_body_over_the_limit_is_refused_by_its_length_before_it_is_sent() -> None:
    with asked(Reply("Hi")) as (url, provider):
        async with connected(url) as client:
            await client.send(head("/v1/messages", f"content-length: {33 * MB}"))
            answer = await client.answer()
        assert (answer.status, answer.json()["error"]["type"]) == (413, "request_too_large")
        assert provider.requests == []
        assert await works(url)


async def test_body_over_the_limit_is_refused_in_mid_upload() -> None:
    piece = b"%x\r\n" % MB + b" " * MB + b"\r\n"
    with asked() as (url, provider):
        async with connected(url) as client:
            await client.send(head("/v1/messages", "transfer-encoding: chunked"))
            answer = asyncio.create_task(client.answer())
            sent = 0
            while not answer.done() and sent < 100:
                await client.send(piece)
                sent += 1
                await asyncio.sleep(0)
            got = await answer
        assert (got.status, got.json()["error"]["type"]) == (413, "request_too_large")
        assert 32 < sent < 100
    assert provider.requests == []


async def test_compressed_body_over_the_limit_is_refused() -> None:
    bomb = gzip.compress(bytes(200 * MB), 1)
    with asked() as (url, provider):
        async with connected(url) as client:
            await client.send(whole(bomb, "/v1/messages", "content-encoding: gzip"))
            answer = await client.answer()
    assert (answer.status, answer.json()["error"]["type"]) == (413, "request_too_large")
    assert provider.requests == []


async def test_body_is_asked_for_with_100_continue() -> None:
    request = whole(QUESTION, "/v1/messages", "expect: 100-continue")
    with asked(Reply("Hi")) as (url, _):
        async with connected(url) as client:
            await client.send(request[: -len(QUESTION)])
            assert await client.answer_head() == (100, {})
            await client.send(QUESTION)
            assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    ("line", "status"), [(f"content-length: {33 * MB}", 413), ("content-encoding: br", 415)], ids=["size", "encoding"]
)
async def test_refused_body_is_not_asked_for(line: str, status: int) -> None:
    lines = ["expect: 100-continue", line, *(["content-length: 5"] if status == 415 else [])]
    with asked() as (url, _):
        async with connected(url) as client:
            await client.send(head("/v1/messages", *lines))
            assert (await client.answer()).status == status


async def works(url: str) -> bool:
    """Whether the proxy answers another client."""
    async with connected(url) as client:
        await client.send(whole(QUESTION))
        return (await client.answer()).status == 200


CANCELLED = "nobody is there to see it; the provider's work is cancelled"
NOT_ASKED = "nobody is there to see it; the provider is not asked"


def rows() -> list[Row]:
    """For docs/reliability.md."""
    test = test_leaving_client_cancels_the_providers_work.__name__
    moments = {phase.moment: {other.streamed for other in PHASES if other.moment == phase.moment} for phase in PHASES}
    cancelled = [
        Row(f"leaves {moment}", CANCELLED if False in kinds else "", CANCELLED if True in kinds else "", test)
        for moment, kinds in moments.items()
    ]
    others = {
        "leaves before its request is whole": (NOT_ASKED, test_leaving_within_the_request_asks_nobody),
        "leaves after the answer": ("nothing is disturbed", test_leaving_after_the_answer_disturbs_nothing),
        "shuts its side of the connection down after the request": (
            "the connection is closed, the provider's work is cancelled",
            test_half_closed_connection_counts_as_left,
        ),
        "shuts its side of the connection down within the request": (
            "the connection is closed, the provider is not asked",
            test_half_closed_connection_within_the_request_asks_nobody,
        ),
        "uploads slowly": ("the answer", test_slow_upload_is_waited_for_and_holds_nobody_up),
        "announces a body over 32 MB": (
            "413 `request_too_large`, before the body is sent",
            test_body_over_the_limit_is_refused_by_its_length_before_it_is_sent,
        ),
        "uploads a body over 32 MB in chunks": (
            "413 `request_too_large`, as soon as the limit is passed",
            test_body_over_the_limit_is_refused_in_mid_upload,
        ),
        "sends 200 MB compressed to less": (
            "413 `request_too_large`",
            test_compressed_body_over_the_limit_is_refused,
        ),
        "waits for `100 Continue`": ("100, then the answer", test_body_is_asked_for_with_100_continue),
        "waits for `100 Continue` with a body that is refused": (
            "413 or 415, without a 100",
            test_refused_body_is_not_asked_for,
        ),
    }
    held = "the provider is read no faster than the client reads"
    idle = Row("reads nothing", "", held, test_reader_that_reads_nothing_holds_the_provider_back.__name__)
    return [*cancelled, idle, *(Row(fault, seen, seen, shows.__name__) for fault, (seen, shows) in others.items())]
