"""Which chunks of an answer say something."""

import pytest

from ccproxy.forwarding.idle import EventContent, not_blank

ALIVE = [
    b": ping\n\n",
    b":\n\n",
    b"\n\n\n",
    b"\r\n\r\n",
    b"   \n",
    b": OPENROUTER PROCESSING\r\n\r\n",
    b"event: ping\ndata: {}\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"retry: 3000\nid: 7\n\n",
    b"data:\n\n",
    b": " + b"x" * 1000 + b"\n\n",
]
SAID = [
    b'data: {"choices":[]}\n\n',
    b"data: [DONE]\n\n",
    b'data:{"a":1}\n\n',
    b"data\n\n",
    b"what is this\n\n",
    b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 200 + b'"}}]}\n\n',
    b'\xef\xbb\xbfdata: {"choices":[]}\n\n',
]


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize(
    ("text", "expected"), [*((text * 3, False) for text in ALIVE), (b"".join(ALIVE), False), *((t, True) for t in SAID)]
)
def test_event_is_told_from_what_keeps_a_stream_alive(text: bytes, expected: bool, size: int) -> None:
    is_content = EventContent()
    assert any([is_content(text[start : start + size]) for start in range(0, len(text), size)]) is expected


def test_event_is_found_after_any_number_of_comments() -> None:
    is_content = EventContent()
    assert not any(is_content(b": ping\n\n: pi") or is_content(b"ng\n\n") for _ in range(100))
    assert is_content(SAID[0])
    assert not is_content(b": ping\n\n")


def test_little_is_held_when_a_line_has_no_end() -> None:
    is_content = EventContent()
    for _ in range(100):
        is_content(b":" * 1000)
    assert len(is_content._begun) <= 1


@pytest.mark.parametrize(("chunk", "expected"), [(b" ", False), (b"\r\n\t ", False), (b" {", True), (b"0", True)])
def test_blanks_say_nothing(chunk: bytes, expected: bool) -> None:
    assert not_blank(chunk) is expected
