"""Answers recorded from real servers: llama.cpp, with and without its tool grammar, and llama-cpp-python."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anthropic.types import Message

from ccproxy_middleware.conversion.anthropic.message import message_events
from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.toolkit.json import loads
from support.clients.sdk import accumulate
from support.paths import DATA
from support.streams.chunks import blocks, convert, ending

WIRE = DATA / "wire"
STREAMS = sorted(WIRE.glob("*/*stream*.http"))
WHOLE = sorted(set(WIRE.glob("*/*.http")) - set(STREAMS))
CONTEXT = Context(model="m", tools=frozenset({"get_weather", "get_time"}), estimate_input=lambda: 50)


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def http_chunks(response: bytes) -> Iterator[bytes]:
    """The chunks of a response with ``transfer-encoding: chunked``, as the server sent them."""
    rest = response.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length:
            yield rest[:length]
        rest = rest[length + 2 :]


@pytest.mark.parametrize("path", STREAMS, ids=name_of)
def test_recorded_stream(path: Path) -> None:
    reads = list(http_chunks(path.read_bytes()))
    events = convert(CONTEXT, *reads)
    end = ending(events)
    found = blocks(events)
    if path.stem in ("stream_len", "logprobs_stream"):
        assert end["stop_reason"] == "max_tokens"
    else:
        assert end["stop_reason"] == ("tool_use" if any(block[0] == "tool_use" for block in found) else "end_turn")
    assert end["output_tokens"] > 0
    assert end["input_tokens"] + end["cache_read_input_tokens"] > 0
    body = b"".join(reads)
    for size in (1, 7, 100):
        pieces = [body[n : n + size] for n in range(0, len(body), size)]
        assert blocks(convert(CONTEXT, *pieces)) == found
    converter = StreamConverter(CONTEXT, "req_0")
    Message.model_validate(accumulate(b"".join(converter.feed(body))))


@pytest.mark.parametrize("server", ["llama.cpp-tools", "llama-cpp-python"])
def test_recorded_tool_call(server: str) -> None:
    path = WIRE / server / "tools_named_stream.http"
    (block,) = blocks(convert(CONTEXT, *http_chunks(path.read_bytes())))
    assert block[0] == "tool_use"
    assert loads(block[3]) == {"city": "Paris"}


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_recorded_answer(path: Path) -> None:
    message = convert_response(loads(path.read_bytes().partition(b"\r\n\r\n")[2]), CONTEXT)
    Message.model_validate(message)
    streamed = accumulate(b"".join(message_events(message)))
    assert streamed["content"] == message["content"]
    assert streamed["usage"]["output_tokens"] == message["usage"]["output_tokens"] > 0


def test_recordings_are_there() -> None:
    assert len(STREAMS) == 14
    assert len(WHOLE) == 15
