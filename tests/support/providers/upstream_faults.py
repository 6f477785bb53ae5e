"""Faults of a provider, each with what a client is to see of it, and a proxy in front of a provider that has them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..outcomes import Outcome, Watcher, watching
from ..reliability import Row
from ..serving.proxied import proxy
from ..streams.chunks import chunk, sse
from .faulty import OK, SSE, Behaviour, answers_once, chosen, faulty, sized
from .faulty import chunk as http_chunk

EVENT_STREAM = OK + b"content-type: text/event-stream\r\n"


@dataclass(frozen=True)
class Fault:
    """How a provider behaves when it is asked without and with a stream, and what the client is to see.

    Without a behaviour the question does not arise: no comment can stand in an answer that is not streamed.
    """

    name: str
    json: Behaviour | None
    json_seen: Outcome | None
    stream: Behaviour | None
    stream_seen: Outcome | None

    @property
    def expected(self) -> dict[bool, Outcome]:
        """What is to be seen without (False) and with a stream (True)."""
        seen = {False: self.json_seen, True: self.stream_seen}
        return {stream: outcome for stream, outcome in seen.items() if outcome is not None}

    def row(self, test: str) -> Row:
        """Its line in the documentation."""
        return Row(self.name, str(self.json_seen or ""), str(self.stream_seen or ""), test)


def both(name: str, behaviour: Behaviour, seen: Outcome) -> Fault:
    """A fault that has nothing to do with streams."""
    return Fault(name, behaviour, seen, behaviour, seen)


def streamed(name: str, behaviour: Behaviour, seen: Outcome) -> Fault:
    """A fault that only a stream can have."""
    return Fault(name, None, None, behaviour, seen)


@contextmanager
def watched(faults: Sequence[Fault], **settings: Any) -> Iterator[Watcher]:
    """A proxy in front of a provider that has the fault which a request's model names."""
    by_name = {fault.name: fault for fault in faults}

    def choose(request: Any) -> Behaviour:
        fault = by_name[request["model"]]
        behaviour = fault.stream if request.get("stream") else fault.json
        assert behaviour is not None
        return behaviour

    with (
        faulty(chosen(choose)) as provider,
        proxy(provider.url, **{"max_retries": 0, **settings}) as url,
        watching(url) as watcher,
    ):
        yield watcher


def completion(text: str = "Hi", **fields: Any) -> bytes:
    """The body of a good answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": usage, **fields}
    return json.dumps(answer).encode()


def events(*chunks: Any, done: bool = True) -> bytes:
    """The body of a stream; ``Hi`` and its finish where no chunks are given."""
    return sse(*(chunks or (HI, STOP)), done=done)


HI = chunk({"role": "assistant", "content": "Hi"})
STOP = chunk(finish="stop")


def whole(body: bytes, head: bytes = OK + b"content-type: application/json\r\n") -> Behaviour:
    """An answer with its length; the connection stays open for the next request."""
    return answers_once(sized(body, head))


def stream_of(*pieces: bytes, head: bytes = SSE) -> Behaviour:
    """A chunked stream of these pieces, with its proper end."""
    return answers_once(head + b"".join(map(http_chunk, filter(None, pieces))) + b"0\r\n\r\n")
