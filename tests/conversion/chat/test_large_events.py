"""Large events of a stream are converted beside the event loop, and come out as any others do."""

import json

from ccproxy_middleware.conversion.chat import StreamConverter
from ccproxy_middleware.conversion.context import Context

TEXT = 'as "they" said ' * 30_000


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


def test_end_of_a_large_event_takes_long_and_nothing_else_does() -> None:
    converter = StreamConverter(Context("claude"), "req_1")
    assert not converter.takes_long(event("a" * 100_000))
    large = event(TEXT)
    assert converter.takes_long(large)
    for at in range(0, len(large) - 2, 32_000):
        piece = large[:-2][at : at + 32_000]
        assert not converter.takes_long(piece)
        assert converter.feed(piece) == []
    assert converter.takes_long(b"\n\n")
    frames = b"".join(converter.feed(b"\n\n"))
    assert not converter.takes_long(event("a"))
    told = [json.loads(line[6:]) for line in frames.split(b"\n") if line.startswith(b"data: ")]
    assert "".join(one["delta"]["text"] for one in told if one["type"] == "content_block_delta") == TEXT
