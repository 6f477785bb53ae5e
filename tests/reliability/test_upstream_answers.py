"""The provider answers over a good connection, but what it says is odd or wrong: what both kinds of client see."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.outcomes import Answered, Broken, Refused, Watcher, seen_on_the_wire
from support.providers.faulty import OK, SSE, Behaviour, Connection, answers_in_packets
from support.providers.faulty import chunk as http_chunk
from support.providers.upstream_faults import HI, STOP, Fault, completion, events, stream_of, streamed, watched, whole
from support.reliability import Row
from support.streams.chunks import chunk, text

MEGABYTE = 1024 * 1024
TINY_EVENTS = 100_000

ANSWERED = Answered()
NOT_JSON = Refused(502, "api_error", "not JSON")
ENDED = Refused(502, "api_error", "ended before completion")
CUT = Broken("api_error", "ended before completion")
NO_ANSWER = Refused(502, "api_error")
NONSENSE = "not chat completion chunks"

BUSY = {"error": {"message": "busy", "type": "overloaded_error", "code": None}}
OVERLOADED = Refused(529, "overloaded_error", "busy")
BUSY_BODY = whole(json.dumps(BUSY).encode())
GOOD = whole(completion())
LINES = events()
MALFORMED = '{"choices":[{"index":0,"delta":{"content":"lost'


def said(*chunks: Any, done: bool = True) -> Behaviour:
    """A stream of these chunks, which are sent as they are where they are strings."""
    return stream_of(events(*chunks, done=done))


def made(make: Callable[[], Behaviour]) -> Behaviour:
    """A behaviour whose bytes are so many that they are made only when they are sent."""

    async def behaviour(connection: Connection) -> None:
        await make()(connection)

    return behaviour


def typed(body: bytes, type_: bytes) -> Behaviour:
    """A whole answer under a content-type, of its own or not; with none if it is empty."""
    return whole(body, OK + (b"content-type: " + type_ + b"\r\n" if type_ else b""))


def message(text: str = "Hi", finish: Any = "stop", **fields: Any) -> Behaviour:
    """A whole answer with one choice that has these fields besides."""
    told = {"role": "assistant", "content": text}
    return whole(completion(choices=[{"index": 0, "message": told, "finish_reason": finish, **fields}]))


def failing(reason: str, seen: tuple[int, str]) -> Fault:
    """An answer whose finish reason says that it is none."""
    streamed_seen = Broken(seen[1])
    return Fault(
        f"finish_reason {reason}", message(finish=reason), Refused(*seen), said(HI, chunk(finish=reason)), streamed_seen
    )


BODIES = [
    Fault("200 with an error", BUSY_BODY, OVERLOADED, BUSY_BODY, OVERLOADED),
    Fault("an empty body", whole(b""), NOT_JSON, stream_of(), ENDED),
    Fault("HTML", whole(b"<html>Hi</html>"), NOT_JSON, whole(b"<html>Hi</html>"), ENDED),
    Fault("JSON cut short", whole(completion()[:-9]), NOT_JSON, whole(completion()[:-9]), NOT_JSON),
    Fault("JSON of another kind", whole(b"[1]"), NO_ANSWER, whole(b"[1]"), NO_ANSWER),
    Fault(
        "no choices",
        whole(completion(choices=[])),
        NO_ANSWER,
        said(chunk(choices=[]), done=False),
        Broken("api_error", text=""),
    ),
    streamed("a whole answer instead of a stream", GOOD, ANSWERED),
    Fault("a stream instead of a whole answer", stream_of(LINES), NOT_JSON, None, None),
    Fault("content-type text/html", typed(completion(), b"text/html"), ANSWERED, typed(LINES, b"text/html"), ANSWERED),
    Fault(
        "the content-type of the other kind",
        typed(completion(), b"text/event-stream"),
        ANSWERED,
        typed(LINES, b"application/json"),
        ANSWERED,
    ),
    Fault("no content-type", typed(completion(), b""), ANSWERED, typed(LINES, b""), ANSWERED),
    Fault(
        "bytes that are not UTF-8",
        whole(completion("H?").replace(b"H?", b"H\xff")),
        Answered("H\ufffd"),
        stream_of(events(text("H?"), STOP).replace(b"H?", b"H\xff")),
        Answered("H\ufffd"),
    ),
]

BROKEN_CHOICE = {"index": 0, "delta": {}, "error": {"message": "busy", "code": 503}}

ERRORS = [
    streamed("an error as the first event", said(BUSY, done=False), OVERLOADED),
    streamed("an error between two events", said(HI, BUSY, text(" there"), STOP), Broken("overloaded_error", "busy")),
    streamed(
        "an error as the last event, after the finish",
        said(HI, STOP, BUSY, done=False),
        Broken("overloaded_error", "busy"),
    ),
    Fault(
        "an error in the choice",
        message("", error={"message": "busy", "code": 503}),
        OVERLOADED,
        said(HI, chunk(choices=[BROKEN_CHOICE])),
        Broken("overloaded_error", "busy"),
    ),
    failing("error", (502, "api_error")),
    failing("network_error", (502, "api_error")),
    failing("insufficient_system_resource", (529, "overloaded_error")),
    streamed("malformed JSON in one event", said(HI, MALFORMED, STOP), Broken("api_error", "cut off and lost")),
    streamed(
        "malformed JSON in three events in a row", said(HI, *[MALFORMED] * 3, STOP), Broken("api_error", NONSENSE)
    ),
    streamed(
        "malformed JSON in the first three events",
        said(*[MALFORMED] * 3, HI, STOP),
        Refused(502, "api_error", NONSENSE),
    ),
]

ENDS = [
    streamed("no [DONE]", said(HI, STOP, done=False), ANSWERED),
    Fault("no finish_reason", message(finish=None), ANSWERED, said(HI), ANSWERED),
    streamed("neither [DONE] nor a finish_reason", said(HI, done=False), CUT),
    streamed("[DONE] alone", said("[DONE]"), NO_ANSWER),
    streamed(
        "two finishes: the first counts", said(HI, chunk(finish="length"), STOP), Answered(stop_reason="max_tokens")
    ),
    streamed("content after the finish", said(HI, STOP, text(" there")), Answered("Hi there")),
    streamed("events after [DONE]", stream_of(LINES, events(text("lost"))), ANSWERED),
    streamed("the last event lacks its blank line", stream_of(events(HI, STOP, done=False)[:-2]), ANSWERED),
]

HALF_E = events(text("H\u00e9"), STOP).replace(b"\\u00e9", b"\xc3\xa9").partition(b"\xa9")

FORMS = [
    streamed("lines end with CR LF", stream_of(LINES.replace(b"\n", b"\r\n")), ANSWERED),
    streamed("lines end with CR", stream_of(LINES.replace(b"\n", b"\r")), ANSWERED),
    streamed(
        "CR and LF in different packets",
        answers_in_packets(
            SSE + http_chunk(events(HI, done=False)[:-1] + b"\r"), http_chunk(b"\n\r\n" + events(STOP)) + b"0\r\n\r\n"
        ),
        ANSWERED,
    ),
    streamed("a byte order mark", stream_of(b"\xef\xbb\xbf" + LINES), ANSWERED),
    streamed(
        "comments, and fields that nobody reads",
        stream_of(b": ping\n\n:\n\nid: 7\nretry: 9\n\nevent: x\n" + LINES),
        ANSWERED,
    ),
    streamed("an event of several data lines", stream_of(LINES.replace(b", ", b",\ndata: ")), ANSWERED),
    streamed("no space after data:", stream_of(LINES.replace(b"data: ", b"data:")), ANSWERED),
    streamed(
        "a character cut in two by packets",
        answers_in_packets(SSE + http_chunk(HALF_E[0]), http_chunk(HALF_E[1] + HALF_E[2]) + b"0\r\n\r\n"),
        Answered("Hé"),
    ),
    streamed("line separators of Unicode in the text", said(text("a\u2028b\x85c"), STOP), Answered("a\u2028b\x85c")),
]

LONG = "x" * 10 * MEGABYTE
TOO_LONG = "x" * 20 * MEGABYTE
TOO_LARGE = "over 16777216 bytes"
TINY = events(text("x"), done=False)

SIZES = [
    Fault(
        "10 MB in one event",
        made(lambda: message(LONG)),
        Answered(LONG),
        made(lambda: said(text(LONG), STOP)),
        Answered(LONG),
    ),
    Fault(
        "20 MB in the first event",
        made(lambda: message(TOO_LONG)),
        Answered(TOO_LONG),
        made(lambda: said(text(TOO_LONG), STOP)),
        Refused(502, "api_error", TOO_LARGE),
    ),
    streamed(
        "20 MB in an event after others",
        made(lambda: said(HI, text(TOO_LONG), STOP)),
        Broken("api_error", TOO_LARGE),
    ),
    streamed("1,000 tiny events in a packet", stream_of(TINY * 1000, events(STOP)), Answered("x" * 1000)),
]

FLOOD = streamed(
    f"{TINY_EVENTS:,} tiny events",
    made(lambda: stream_of(TINY * TINY_EVENTS, events(STOP))),
    Answered("x" * TINY_EVENTS),
)

FAULTS = BODIES + ERRORS + ENDS + FORMS + SIZES


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    with watched([*FAULTS, FLOOD]) as watcher:
        yield watcher


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS])
def test_answer(watcher: Watcher, fault: Fault) -> None:
    assert watcher.surprises(fault.name, fault.expected) == {}


def test_flood(watcher: Watcher) -> None:
    """On the socket alone: the SDK takes seconds to add up so many events, whoever sends them."""
    assert seen_on_the_wire(watcher.url, FLOOD.name, stream=True) == FLOOD.stream_seen


def rows() -> list[Row]:
    return [*(fault.row(f"test_answer[{fault.name}]") for fault in FAULTS), FLOOD.row("test_flood")]
