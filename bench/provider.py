"""A provider that costs next to nothing: OpenAI's chat completions over a bare asyncio protocol.

``python -m bench.provider PORT``. What comes back is said by the script it follows, ``/json`` at first:

======================  ============================================================================================
``/json``               one fixed completion
``/burst/N``            a stream of N text chunks, all written at once
``/paced/N/MS``         a stream of N text chunks, one each MS milliseconds, the first at once
``/echo``               the request's marker as the answer, JSON or a stream as the request wants it
``/echo/N/MS``          the same, streams like ``/paced``, with the marker in every chunk
``/failing/PERCENT``    ``/echo``, of which so many fail before there is any content, in a way of its own each time
======================  ============================================================================================

A marker is ``marker-`` and hexadecimal digits anywhere in the body. ``fault-error``, ``fault-close``, ``fault-cut``
in the body of an ``/echo`` ask for a status 500, for no answer at all, and for an answer that breaks off.

A ``GET`` of ``/follow/`` and a script changes the script, ``/stats`` tells how many requests there were, on how many
connections, and what is open and busy, ``/answered`` which markers ``/failing`` has answered, and ``/close-idle``
closes the connections on which nothing is being answered.
"""

import asyncio
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import httptools
import uvloop

MARKER = re.compile(rb"marker-[0-9a-f]+")
FAULTS = ("error", "close", "cut")

_FAULT = re.compile(rb"fault-(" + "|".join(FAULTS).encode() + rb")")
_SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
_FRAME: dict[str, Any] = {
    "id": "chatcmpl-BuK8Jk3mvTqPzXy1",
    "object": "chat.completion.chunk",
    "created": 1760000000,
    "model": "gpt-4o-2024-08-06",
    "system_fingerprint": "fp_07871e2ad8",
}


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _framed({**_FRAME, "choices": [choice]})


def _framed(payload: Any) -> bytes:
    """One event as a chunk of a chunked body, as a provider that flushes each token sends it."""
    text = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    event = f"data: {text}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


def _answer(payload: Any, status: str = "200 OK") -> bytes:
    body = json.dumps(payload, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _answer({**_FRAME, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


_HELLO = _completion("Hello! How can I help you today?")
_FAILURE = _answer({"error": {"message": "The server had an error", "type": "server_error"}}, "500 Server Error")
_FIRST = _event({"role": "assistant", "content": ""})
_WORD = _event({"content": " word"})
_LAST = _event({}, "stop") + _framed({**_FRAME, "choices": [], "usage": _USAGE}) + _framed("[DONE]") + b"0\r\n\r\n"


def event_stream(words: int) -> list[bytes]:
    """The events of a streamed answer without any framing by HTTP, for use in memory."""
    framed = [_FIRST, *[_WORD] * words, _event({}, "stop")]
    return [piece.partition(b"\r\n")[2].removesuffix(b"\r\n") for piece in framed] + [b"data: [DONE]\n\n"]


_WAYS = ("close", "cut", "500 Server Error", "502 Bad Gateway", "503 Service Unavailable", "529 Overloaded")

answered: list[str] = []
counts: Counter[str] = Counter()
connections: set["Provider"] = set()
script = ["json"]


class Provider(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._url = b""
        self._body = bytearray()
        self._used = False
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's are of no such class
        connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self.busy:
            counts["left"] += 1

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.busy = True
        self._url = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        command, *rest = self._url.decode().strip("/").split("/")
        match command:
            case "follow":
                script[:] = rest
                self._end(_answer({}))
            case "stats":
                busy = sum(connection.busy for connection in connections if connection is not self)
                self._end(_answer({**counts, "open": len(connections) - 1, "busy": busy}))
            case "answered":
                self._end(_answer(answered))
            case "close-idle":
                self._end(_answer({}))
                for connection in list(connections):
                    if not connection.busy and connection is not self:
                        connection.transport.close()
            case _:
                counts["requests"] += 1
                counts["used"] += not self._used
                self._used = True
                self._follow()

    def _follow(self) -> None:
        numbers = [int(part) for part in script[1:]]
        match script[0]:
            case "burst":
                self._end(_SSE + _FIRST + _WORD * numbers[0] + _LAST)
            case "paced":
                self._begin(_WORD, *numbers)
            case "echo":
                self._echo(numbers)
            case "failing":
                self._fail_or_echo(numbers[0])
            case _:
                self._end(_HELLO)

    def _echo(self, numbers: list[int]) -> None:
        found = MARKER.search(self._body)
        marker = found[0].decode() if found else "no marker"
        fault = _FAULT.search(self._body)
        word = _event({"content": f"{marker} "})
        match fault[1] if fault else None:
            case b"error":
                self._end(_FAILURE)
            case b"close":
                self._cut(b"")
            case b"cut" if b'"stream":true' in self._body:
                self._cut(_SSE + _FIRST + word)
            case b"cut":
                self._cut(_completion(marker)[:-20])
            case _ if numbers and b'"stream":true' in self._body:
                self._begin(word, *numbers)
            case _ if b'"stream":true' in self._body:
                self._end(_SSE + _FIRST + word + _LAST)
            case _:
                self._end(_completion(marker))

    def _fail_or_echo(self, percent: int) -> None:
        if random.random() * 100 >= percent:  # noqa: S311
            found = MARKER.search(self._body)
            answered.append(found[0].decode() if found else "no marker")
            return self._echo([])
        counts["failed"] += 1
        streams = b'"stream":true' in self._body
        match random.choice(_WAYS):  # noqa: S311
            case "close":
                self._cut(b"")
            case "cut":
                self._cut(_SSE + _FIRST if streams else _HELLO[:-20])
            case status:
                self._end(_answer({"error": {"message": "The server had an error", "type": "server_error"}}, status))

    def _begin(self, word: bytes, count: int, milliseconds: int) -> None:
        """Write a chunk now and after each interval, without drift."""
        self.transport.write(_SSE + _FIRST + word)
        interval = milliseconds / 1000
        start = self._loop.time()

        def next_chunk(number: int) -> Callable[[], None]:
            def write() -> None:
                if number == count:
                    self._end(_LAST)
                    return
                self.transport.write(word)
                self._timer = self._loop.call_at(start + (number + 1) * interval, next_chunk(number + 1))

            return write

        self._timer = self._loop.call_at(start + interval, next_chunk(1))

    def _end(self, data: bytes) -> None:
        self.busy = False
        self.transport.write(data)

    def _cut(self, data: bytes) -> None:
        self.busy = False
        self.transport.write(data)
        self.transport.close()


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
