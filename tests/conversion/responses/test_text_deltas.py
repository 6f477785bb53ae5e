"""Events that bring text alone are read without parsing them whole, and as if they were."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.conversion.responses.event_reader import TextDeltas
from ccproxy_middleware.conversion.responses.stream import StreamConverter
from support.streams.chunks import REQUEST_ID, blocks, sse
from support.streams.grammar import check_stream


def delta(text: str, number: int = 1, **more: Any) -> bytes:
    event = {
        "type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_1", "output_index": 0,
        "content_index": 0, "delta": text, "logprobs": [], **more,
    }  # fmt: skip
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["b", 'with "quotes" and \\ and \n', "é\u2028\U0001f600", '","logprobs":[]}', "}"])
def test_text_of_an_event_like_the_learned_one(text: str) -> None:
    deltas = TextDeltas()
    deltas.learn(delta("first", obfuscation="xyz"), "first")
    assert deltas.text(delta(text, 99, obfuscation="")) == text


@pytest.mark.parametrize(
    "other",
    [
        delta("b", item_id="msg_2"),
        delta("b", output_index=1),
        delta("b", content_index=1),
        delta("b", type="response.refusal.delta"),
        delta("b", more=1),
        delta("b")[:-1],
        delta("b") + b"x",
        delta("b").replace(b'"b"', b'"\\ud83d"'),
        delta("b").replace(b'"b"', b"1"),
        b"[DONE]",
    ],
)
def test_nothing_of_an_event_that_is_another_one(other: bytes) -> None:
    deltas = TextDeltas()
    deltas.learn(delta("first"), "first")
    assert deltas.text(other) is None


def test_text_that_tells_of_a_delta_itself_is_not_learned() -> None:
    deltas = TextDeltas()
    text = '"delta":"x"'
    deltas.learn(delta(text), text)
    assert deltas.text(delta("b")) in (None, "b")


@pytest.mark.parametrize("stop", [(), ("END",)], ids=["plain", "stop sequence"])
def test_stream_of_many_deltas_is_one_block(stop: tuple[str, ...]) -> None:
    profile = resolve_profile("openai", {})
    context = Context(model="m", profile=profile, upstream_model="u", local_stops=stop, stop_sequences=stop)
    converter = StreamConverter(context, REQUEST_ID)
    texts = [f"word {n} " for n in range(30)]
    done = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "".join(texts) + "end"}
    end = {"type": "response.completed", "response": {"status": "completed", "output": []}}
    events = [*(delta(text, n).decode() for n, text in enumerate(texts)), json.dumps(done), json.dumps(end)]
    frames = [frame for event in events for frame in converter.feed(sse(event, done=False))]
    assert blocks(check_stream(b"".join(frames))) == [["text", "".join(texts) + "end"]]
