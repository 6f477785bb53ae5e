"""A provider that answers as no honest one does: ``python -m bench.hostile PORT MEGABYTES``.

The request's model says how, by a name of ``ANSWERS``; what has no end otherwise ends after so many MB, or when the
proxy closes the connection. Any other model has one completion.
"""

import asyncio
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import uvloop

_JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
_SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_MB = 1024 * 1024
_KEEPS_WAITING = 3.0  # seconds, for ``slow``


def _event(delta: object, finish: str | None = None) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return (
        b"data: "
        + json.dumps({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()
        + b"\n\n"
    )


def _end(reason: str) -> bytes:
    return _event({}, reason) + b"data: [DONE]\n\n"


def completion() -> Iterator[bytes]:
    message = {"role": "assistant", "content": "OK"}
    body = json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    yield _JSON + f"content-length: {len(body)}\r\n\r\n{body}".encode()


def whole_json(megabytes: int) -> Iterator[bytes]:
    yield _JSON + b'\r\n{"choices":[{"message":{"content":"'
    yield from (b"a" * _MB for _ in range(megabytes))


def gzip(megabytes: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join([*(packer.compress(bytes(_MB)) for _ in range(megabytes)), packer.flush()])
    yield _JSON + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def blank_lines(megabytes: int) -> Iterator[bytes]:
    yield _SSE
    yield from (b"\n" * _MB for _ in range(megabytes))


def comments(megabytes: int) -> Iterator[bytes]:
    yield _SSE
    yield from (b": x\n\n" * (_MB // 5) for _ in range(megabytes))


def one_event(megabytes: int) -> Iterator[bytes]:
    yield _SSE + b"data: "
    yield from (b"a" * _MB for _ in range(megabytes))


def text(megabytes: int) -> Iterator[bytes]:
    yield _SSE
    yield from (_event({"content": "a" * 100}) * (_MB // 200) for _ in range(megabytes))
    yield _end("stop")


def whitespace(megabytes: int) -> Iterator[bytes]:
    yield _SSE
    yield from (_event({"content": " " * 1000}) * (_MB // 1100) for _ in range(megabytes // 5))
    yield _end("stop")


def halves(megabytes: int) -> Iterator[bytes]:
    yield _SSE
    yield from (_event({"content": "@"}).replace(b"@", rb"\ud83d") * (_MB // 150) for _ in range(megabytes // 10))
    yield _end("stop")


def tool_calls(megabytes: int) -> Iterator[bytes]:
    yield _SSE
    for n in range(megabytes * 100):
        function = {"name": "f", "arguments": "{}"}
        yield _event({"tool_calls": [{"index": n, "id": f"i{n}", "type": "function", "function": function}]})
    yield _end("tool_calls")


def fragments(megabytes: int) -> Iterator[bytes]:
    call = {"index": 0, "id": "i", "type": "function", "function": {"name": "f", "arguments": '{"a":"'}}
    yield _SSE + _event({"tool_calls": [call]})
    piece = _event({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
    yield from (piece * 1000 for _ in range(megabytes // 5))
    yield _event({"tool_calls": [{"index": 0, "function": {"arguments": '"}'}}]}) + _end("tool_calls")


ANSWERS: dict[str, Callable[[int], Iterator[bytes]]] = {
    name.__name__: name
    for name in (
        whole_json, gzip, blank_lines, comments, one_event, text, whitespace, halves, tool_calls, fragments,
    )
}  # fmt: skip


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        start = await reader.readexactly(min(length, 200))
        for left in range(length - len(start), 0, -_MB):
            await reader.readexactly(min(left, _MB))
        model = start.partition(b'"model":"')[2].partition(b'"')[0].decode()
        if model == "slow":
            await asyncio.sleep(_KEEPS_WAITING)
        answer = ANSWERS.get(model)
        for piece in completion() if answer is None else answer(int(sys.argv[2])):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def main() -> None:
    async with await asyncio.start_server(_serve, "127.0.0.1", int(sys.argv[1]), limit=4 * _MB) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
