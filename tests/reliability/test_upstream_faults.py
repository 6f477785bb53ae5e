"""The connection to the provider fails, or what comes over it is not good HTTP: what both kinds of client see."""

import gzip
import zlib
from collections.abc import Iterator

import pytest

from support.outcomes import Answered, Broken, Refused, Watcher
from support.providers import faulty as faults
from support.providers.faulty import (
    OK,
    SSE,
    answers,
    answers_in_packets,
    answers_once,
    chunk,
    keeps_alive,
    resets_after,
    sized,
    trickles,
)
from support.providers.upstream_faults import HI, STOP, Fault, both, completion, events, streamed, watched
from support.reliability import Row
from support.serving.forwarding import TRANSPORTS, TransportName
from support.serving.proxied import PROVIDER_KEY
from support.streams.chunks import text

STALL_LIMIT = 0.3  # REQUEST_TIMEOUT where the provider is silent for longer

ANSWERED = Answered()
BROKE_OFF = Refused(502, "api_error", "broke off")
NOT_HTTP = Refused(502, "api_error", "was not HTTP")
ENDED = Refused(502, "api_error", "ended before completion")
NOT_JSON = Refused(502, "api_error", "not JSON")
TIMED_OUT = Refused(504, "timeout_error", "nothing came for")
BROKEN = Broken("api_error", "broke off")
BAD_HTTP = Broken("api_error", "was not HTTP")
STALLED = Broken("timeout_error", "nothing came for")

JSON_HEAD = OK + b"content-type: application/json\r\n"
SSE_HEAD = OK + b"content-type: text/event-stream\r\n"
CLOSE = b"connection: close\r\n\r\n"
DATA = completion()
EVENTS = events()
HALF = sized(DATA)[:-20]
BEGUN = SSE + chunk(events(HI, done=False))
WHOLE = SSE + chunk(EVENTS) + b"0\r\n\r\n"
HALF_EVENT = chunk(b'data: {"choices":[{"ind')
NO_CONTENT = answers_once(b"HTTP/1.1 204 No Content\r\n\r\n")
NO_CHUNK = b"zz " + PROVIDER_KEY.encode() + b"\r\n"


def coded(name: bytes, data: bytes, head: bytes) -> faults.Behaviour:
    """A whole answer with a content-encoding, for which nobody has asked."""
    return answers_once(sized(data, head + b"content-encoding: " + name + b"\r\n"))


def cut(length: int, data: bytes, head: bytes) -> faults.Behaviour:
    """An answer that announces another length than it has, and then closes."""
    return answers(head + b"content-length: %d\r\n\r\n" % length + data, then_close=True)


FAULTS = [
    both("closes before its headers", faults.closes_before_headers, BROKE_OFF),
    both("resets before its headers", faults.resets_before_headers, BROKE_OFF),
    both("closes within its headers", faults.closes_in_headers, BROKE_OFF),
    both("speaks another protocol", faults.not_http, NOT_HTTP),
    both("headers of 200 kB", answers(sized(DATA, OK + b"x: " + b"y" * 200_000 + b"\r\n")), NOT_HTTP),
    Fault("closes in mid-body", answers(HALF, then_close=True), BROKE_OFF, answers(BEGUN, then_close=True), BROKEN),
    Fault("resets in mid-body", resets_after(HALF), BROKE_OFF, resets_after(BEGUN), BROKEN),
    streamed("closes in mid-event", answers(BEGUN + HALF_EVENT, then_close=True), BROKEN),
    streamed("resets in mid-event", resets_after(BEGUN + HALF_EVENT), BROKEN),
    streamed("closes before the first event", answers(SSE, then_close=True), BROKE_OFF),
    Fault(
        "a chunk without a size, in the same packet as data before it",
        answers_in_packets(JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk(DATA) + NO_CHUNK),
        NOT_HTTP,
        answers_in_packets(SSE, BEGUN.removeprefix(SSE) + NO_CHUNK),
        BAD_HTTP,
    ),
    Fault("content-length too long", cut(9999, DATA, JSON_HEAD), BROKE_OFF, cut(9999, EVENTS, SSE_HEAD), ANSWERED),
    Fault(
        "content-length too short",
        # The connection closes: another request over it could meet the rest of this answer.
        answers_in_packets(sized(DATA[:-9], JSON_HEAD + CLOSE[:-2]), DATA[-9:]),
        Refused(502, "api_error"),
        answers_in_packets(sized(events(HI, done=False), SSE_HEAD + CLOSE[:-2]), events(STOP)),
        Broken("api_error", "ended before completion"),
    ),
    Fault(
        "content-length no number",
        answers(JSON_HEAD + b"content-length: many\r\n\r\n" + DATA),
        NOT_HTTP,
        answers(SSE_HEAD + b"content-length: many\r\n\r\n" + EVENTS),
        NOT_HTTP,
    ),
    Fault(
        "two lengths that differ",
        answers(JSON_HEAD + b"content-length: 9\r\n" + sized(DATA, b"")),
        NOT_HTTP,
        answers(SSE_HEAD + b"content-length: 9\r\n" + sized(EVENTS, b"")),
        NOT_HTTP,
    ),
    Fault(
        "neither a length nor chunks: the body ends as the connection does",
        answers(JSON_HEAD + b"\r\n" + DATA, then_close=True),
        ANSWERED,
        answers(SSE_HEAD + b"\r\n" + EVENTS, then_close=True),
        ANSWERED,
    ),
    Fault(
        "HTTP/1.0",
        answers(JSON_HEAD.replace(b"1.1", b"1.0") + b"\r\n" + DATA, then_close=True),
        ANSWERED,
        answers(SSE_HEAD.replace(b"1.1", b"1.0") + b"\r\n" + EVENTS, then_close=True),
        ANSWERED,
    ),
    Fault(
        "HTTP/1.0, closed in mid-body",
        answers(JSON_HEAD.replace(b"1.1", b"1.0") + b"\r\n" + DATA[:-9], then_close=True),
        NOT_JSON,
        answers(SSE_HEAD.replace(b"1.1", b"1.0") + b"\r\n" + events(HI, done=False), then_close=True),
        Broken("api_error", "ended before completion"),
    ),
    Fault(
        "103 Early Hints first",
        answers_once(b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n" + sized(DATA)),
        ANSWERED,
        answers_once(b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n" + WHOLE),
        ANSWERED,
    ),
    Fault(
        "one byte per packet",
        trickles(sized(DATA, JSON_HEAD + CLOSE[:-2])),
        ANSWERED,
        trickles(sized(EVENTS, SSE_HEAD + CLOSE[:-2])),
        ANSWERED,
    ),
    Fault(
        "gzip although identity was asked",
        coded(b"gzip", gzip.compress(DATA), JSON_HEAD),
        ANSWERED,
        coded(b"gzip", gzip.compress(EVENTS), SSE_HEAD),
        ANSWERED,
    ),
    Fault(
        "deflate although identity was asked",
        coded(b"deflate", zlib.compress(DATA), JSON_HEAD),
        ANSWERED,
        coded(b"deflate", zlib.compress(EVENTS), SSE_HEAD),
        ANSWERED,
    ),
    Fault(
        "gzip that is none",
        coded(b"gzip", DATA, JSON_HEAD),
        BROKE_OFF,
        coded(b"gzip", EVENTS, SSE_HEAD),
        BROKE_OFF,
    ),
    Fault(
        "an unknown content-encoding",
        coded(b"secret", b"\x00\x01" + DATA, JSON_HEAD),
        NOT_JSON,
        coded(b"secret", b"\x00\x01" + EVENTS[::-1], SSE_HEAD),
        ENDED,
    ),
    Fault("204 without a body", NO_CONTENT, NOT_JSON, NO_CONTENT, ENDED),
]

LATE = [
    Fault(
        "headers late, but within REQUEST_TIMEOUT",
        faults.answers_late(sized(DATA), 0.3),
        ANSWERED,
        faults.answers_late(WHOLE, 0.3),
        ANSWERED,
    ),
]

STALLS = [
    both("never answers", faults.never_answers, TIMED_OUT),
    both("headers byte by byte, for longer than REQUEST_TIMEOUT", trickles(SSE, interval=0.05), TIMED_OUT),
    streamed("stalls before the first event", answers(SSE), TIMED_OUT),
    Fault("stalls in mid-body", answers(HALF), TIMED_OUT, answers(BEGUN), STALLED),
    streamed("stalls in mid-event", answers(BEGUN + HALF_EVENT), STALLED),
]


OPEN_JSON = JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n"
NOTHING_SAID = "nothing with content came for"
IDLE = (Refused(504, "timeout_error", NOTHING_SAID), Broken("timeout_error", NOTHING_SAID))
TOO_LONG = Refused(502, "api_error", "over the limit of 1048576 bytes")
MEGABYTE = b"x" * 1024 * 1024
ERROR = b"HTTP/1.1 500 No\r\ncontent-type: text/plain\r\n"
BOMB = gzip.compress(b" " * 20_000_000 + DATA)
LONG_STREAM = SSE + chunk(events(text("x" * 1000), done=False) * 2000) + chunk(events(STOP)) + b"0\r\n\r\n"

LIMITS = [
    Fault(
        "comments or blanks alone, for longer than STREAM_IDLE_TIMEOUT",
        keeps_alive(OPEN_JSON, chunk(b" ")),
        IDLE[0],
        keeps_alive(BEGUN, chunk(b": ping\n\n")),
        IDLE[1],
    ),
    streamed("comments alone before the first event", keeps_alive(SSE, chunk(b": ping\n\n")), IDLE[0]),
    streamed(
        "events of pings alone",
        keeps_alive(BEGUN, chunk(b"event: ping\ndata: {}\n\n")),
        IDLE[1],
    ),
    both("a comment without an end", keeps_alive(SSE + chunk(b":"), chunk(b"x")), IDLE[0]),
    both("blanks alone as an error", keeps_alive(ERROR + b"\r\n", b"\n"), IDLE[0]),
    both("an answer announced as longer than MAX_ANSWER", answers_once(sized(MEGABYTE * 2, JSON_HEAD)), TOO_LONG),
    both("an answer longer than MAX_ANSWER", keeps_alive(OPEN_JSON, chunk(MEGABYTE)), TOO_LONG),
    both("an error announced as longer than MAX_ANSWER", answers_once(sized(MEGABYTE * 2, ERROR)), TOO_LONG),
    both("an error longer than MAX_ANSWER", keeps_alive(ERROR + b"\r\n", MEGABYTE), TOO_LONG),
    both("gzip of more than MAX_ANSWER although identity was asked", coded(b"gzip", BOMB, JSON_HEAD), TOO_LONG),
    streamed("a stream longer than MAX_ANSWER", answers_once(LONG_STREAM), Answered("x" * 2_000_000)),
]


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    name: TransportName = request.param
    return name


@pytest.fixture(scope="module")
def patient(transport: TransportName) -> Iterator[Watcher]:
    with watched(FAULTS + LATE, http_transport=transport) as watcher:
        yield watcher


@pytest.fixture(scope="module")
def impatient(transport: TransportName) -> Iterator[Watcher]:
    with watched(STALLS, http_transport=transport, request_timeout=STALL_LIMIT) as watcher:
        yield watcher


@pytest.fixture(scope="module")
def limited(transport: TransportName) -> Iterator[Watcher]:
    with watched(LIMITS, http_transport=transport, stream_idle_timeout=STALL_LIMIT, max_answer=1) as watcher:
        yield watcher


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in LIMITS])
def test_limit(limited: Watcher, fault: Fault) -> None:
    assert limited.surprises(fault.name, fault.expected) == {}


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS + LATE])
def test_fault(patient: Watcher, fault: Fault) -> None:
    assert patient.surprises(fault.name, fault.expected) == {}


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in STALLS])
def test_stall(impatient: Watcher, fault: Fault) -> None:
    assert impatient.surprises(fault.name, fault.expected) == {}


def rows() -> list[Row]:
    return [
        *(fault.row(f"test_fault[{fault.name}]") for fault in FAULTS + LATE),
        *(fault.row(f"test_stall[{fault.name}]") for fault in STALLS),
        *(fault.row(f"test_limit[{fault.name}]") for fault in LIMITS),
    ]
