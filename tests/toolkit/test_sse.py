"""The event stream parser against the standard, with httpx-sse as the oracle."""

import itertools
from collections.abc import Iterable

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.toolkit.sse import MAX_EVENT_BYTES, EventTooLarge, SSEParser, sse_event

LINES = st.one_of(
    st.sampled_from(
        ["data: x", "data:x", "data:  x", "data", "data:", ": comment", ":", "event: e", "id: 1", "retry: 5"]
    ),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8).map("data: {}".format),
    st.sampled_from(["", "", "", "datax: 1", "unknown", " data: x", "data: \u2028\x85\x0b\x0c\x1c"]),
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"])), max_size=25).map(
    lambda lines: "".join(line + end for line, end in lines)
)


def parse(pieces: Iterable[bytes]) -> list[bytes]:
    parser = SSEParser()
    return [data for piece in pieces for data in parser.feed(piece)] + parser.finish()


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in cuts}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def oracle(stream: str) -> list[bytes]:
    """The data of httpx-sse's events; the standard drops an event that lacks its blank line, we don't."""
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream.encode() + b"\n\n")
    return [event.data.encode() for event in EventSource(response).iter_sse() if event.data]


@given(STREAMS, st.lists(st.integers(0, 2000)))
def test_events_are_those_of_httpx_sse_however_cut(stream: str, cuts: list[int]) -> None:
    assert parse(cut(stream.encode(), cuts)) == oracle(stream)


@given(STREAMS)
def test_events_are_the_same_byte_by_byte(stream: str) -> None:
    data = stream.encode()
    assert parse(data[n : n + 1] for n in range(len(data))) == parse([data])


@pytest.mark.parametrize(
    ("pieces", "events"),
    [
        pytest.param([b"\xef\xbb\xbfdata: a\n\n"], [b"a"], id="byte order mark"),
        pytest.param([b"\xef", b"\xbb", b"\xbfdata: a\n\n"], [b"a"], id="byte order mark, cut"),
        pytest.param([b"data: \xef\xbb\xbfa\n\n"], [b"\xef\xbb\xbfa"], id="byte order mark later is text"),
        pytest.param([b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n"], [b"a", b"b"], id="CR LF cut between reads"),
        pytest.param([b"data: a\r\rdata: b\r\r"], [b"a", b"b"], id="CR alone"),
        pytest.param([b"data: a\ndata: b\n\n"], [b"a\nb"], id="several data lines"),
        pytest.param([b"data:a\n\ndata:  b\n\n"], [b"a", b" b"], id="one space at most is dropped"),
        pytest.param([b": OPENROUTER PROCESSING\n\ndata: a\n\n"], [b"a"], id="comment"),
        pytest.param(["data: a\u2028b\u2029c\x85\n\n".encode()], ["a\u2028b\u2029c\x85".encode()], id="U+2028"),
        pytest.param([b"data: a\n\ndata: b"], [b"a", b"b"], id="last event unterminated"),
        pytest.param([b"data: a\n"], [b"a"], id="last blank line missing"),
        pytest.param([b"data: a\r"], [b"a"], id="last line ends with CR"),
        pytest.param([b"\xef\xbb"], [], id="nothing but half a byte order mark"),
        pytest.param([b"event: x\nid: 3\nretry: 1\ndata: a\n\n"], [b"a"], id="other fields"),
        pytest.param([b"", b"\n\n\n\n"], [], id="blank lines only"),
    ],
)
def test_parser(pieces: list[bytes], events: list[bytes]) -> None:
    assert parse(pieces) == events


def test_too_large_event_is_refused() -> None:
    parser = SSEParser()
    parser.feed(b"data: " + b"x" * (MAX_EVENT_BYTES - 6))
    with pytest.raises(EventTooLarge):
        parser.feed(b"x")


def test_large_events_in_turn_are_taken() -> None:
    parser = SSEParser()
    event = b"data: " + b"x" * 1_000_000 + b"\n\n"
    assert sum(len(parser.feed(event)) for _ in range(20)) == 20


def test_event_has_its_event_line() -> None:
    assert sse_event("ping", {"type": "ping"}) == b'event: ping\ndata: {"type":"ping"}\n\n'
