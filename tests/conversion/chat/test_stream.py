"""Text, reasoning and ends of a stream, and the converter's own states."""

import json
import tracemalloc
from time import process_time
from typing import Any

import anthropic
import pytest

from ccproxy_middleware.conversion.anthropic.signatures import decode_signature
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import PROFILES, resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError
from ccproxy_middleware.toolkit.sse import MAX_EVENT_BYTES
from support.clients.sdk import accumulate
from support.streams.chunks import REQUEST_ID, blocks, call, calls, chunk, convert, ending, signatures, sse, text
from support.streams.grammar import check_stream

PLAIN = Context(model="m", estimate_input=lambda: 7)
THINKING = Context(model="m", thinking="show")
CALL = calls(call('{"a":1}', name="f", id="c1", index=0))
TOOL_USE = ["tool_use", "c1", "f", '{"a":1}']
STOP = chunk(finish="stop")


def reasoning(thought: str, **delta: Any) -> dict[str, Any]:
    return chunk({"reasoning_content": thought, **delta})


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(
            [text("a"), reasoning("r"), text("b")], [["text", "a"], ["thinking", "r"], ["text", "b"]], id="in turn"
        ),
        pytest.param(
            [reasoning("r"), text("\n\n"), reasoning("s"), text("\nx")],
            [["thinking", "rs"], ["text", "\n\n\nx"]],
            id="whitespace waits",
        ),
        pytest.param([reasoning("r"), text("\n")], [["thinking", "r"], ["text", "r"]], id="thinking is all there is"),
        pytest.param([text("\n"), text(" ")], [["text", "\n "]], id="whitespace is all there is"),
        pytest.param([reasoning("r"), text("\n"), CALL], [["thinking", "r"], TOOL_USE], id="whitespace before a call"),
        pytest.param([text("a"), text("\n"), CALL], [["text", "a\n"], TOOL_USE], id="whitespace in text"),
        pytest.param([CALL, text("\n")], [TOOL_USE], id="whitespace behind a call"),
        pytest.param(
            [reasoning("r", reasoning="x", content="a")], [["thinking", "r"], ["text", "a"]], id="two fields at once"
        ),
        pytest.param(
            [reasoning("r"), chunk({"reasoning": "r"}), text("a")], [["thinking", "r"], ["text", "a"]], id="two fields"
        ),
        pytest.param(
            [chunk({"reasoning_text": "r"}), text("a")], [["thinking", "r"], ["text", "a"]], id="reasoning_text"
        ),
        pytest.param(
            [chunk({"reasoning": 5, "content": 5, "refusal": [], "tool_calls": {}, "role": None})], [], id="wrong types"
        ),
        pytest.param([chunk({"tool_calls": [None, 5], "function_call": "f"})], [], id="wrong types of calls"),
        pytest.param([chunk("x"), chunk(), {"choices": None}, {"choices": [None, 5]}, {}], [], id="odd chunks"),
        pytest.param([{"choices": [{"delta": {"content": "a"}}]}], [["text", "a"]], id="choice without an index"),
        pytest.param([chunk({"audio": {"transcript": "hi"}})], [["text", "hi"]], id="audio transcript"),
        pytest.param(
            [chunk({"audio": {"transcript": "hi"}, "content": "a"})], [["text", "a"]], id="audio beside content"
        ),
        pytest.param(
            [chunk({"content": [{"type": "text", "text": "a"}, {"type": "reference"}, "x"]})],
            [["text", "ax"]],
            id="list",
        ),
        pytest.param([text("a"), STOP, text("b")], [["text", "ab"]], id="content after the finish"),
        pytest.param([text("a"), "not json", text("b")], [["text", "ab"]], id="malformed event"),
        pytest.param(["5", "[]", text("a"), "x", "y", text("b")], [["text", "ab"]], id="two malformed events in a row"),
        pytest.param([text("\u2028a\x85")], [["text", "\u2028a\x85"]], id="line separators inside a string"),
    ],
)
def test_blocks(chunks: list[Any], expected: list[list[str]]) -> None:
    assert blocks(convert(THINKING, sse(*chunks, STOP))) == expected


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([r'"a\ud83d"', r'"\ude00b"'], "a\N{GRINNING FACE}b"),
        ([r'"a\uD83D\uDE00"', '"b"'], "a\N{GRINNING FACE}b"),
        ([r'"a\ud83d"', '"b"'], "a\ufffdb"),
        ([r'"\ude00"', '"b"'], "\ufffdb"),
        ([r'"a\ud83d"'], "a\ufffd"),
    ],
)
@pytest.mark.parametrize("before", [[], ['"x"', '"y"']], ids=["at_once", "in_the_middle"])
def test_halves_of_a_surrogate_pair(chunks: list[str], expected: str, before: list[str]) -> None:
    events = [f'{{"choices":[{{"index":0,"delta":{{"content":{text}}}}}]}}' for text in [*before, *chunks]]
    read = "".join(json.loads(text) for text in before) + expected
    assert blocks(convert(PLAIN, sse(*events, STOP))) == [["text", read]]


def test_halves_of_a_surrogate_pair_in_arguments() -> None:
    events = [
        r'{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\":\"\ud83d"}}]}}]}',
        r'{"choices":[{"delta":{"content":"x"}}]}',
        r'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\ude00\"}"}}]}}]}',
    ]
    assert blocks(convert(PLAIN, sse(*events, STOP)))[0] == [
        "tool_use",
        "c1",
        "f",
        '{"a":"\N{GRINNING FACE}"}',
    ]


def test_invalid_utf8_becomes_replacement_characters() -> None:
    raw = sse(text("aXb"), STOP).replace(b"aXb", b"a\xffb")
    assert blocks(convert(PLAIN, raw)) == [["text", "a\ufffdb"]]


@pytest.mark.parametrize(
    ("reason", "stop_reason"),
    [
        ("stop", "end_turn"), ("eos", "end_turn"), ("end", "end_turn"), ("STOP", "end_turn"), ("odd", "end_turn"),
        ("tool_calls", "end_turn"), ("length", "max_tokens"), ("max_tokens", "max_tokens"),
        ("model_length", "model_context_window_exceeded"), ("content_filter", "refusal"), ("SAFETY", "refusal"),
        ("sensitive", "refusal"), ("recitation", "refusal"), ("content_filter: PROHIBITED_CONTENT", "refusal"),
    ],
)  # fmt: skip
def test_finish_reason(reason: str, stop_reason: str) -> None:
    end = ending(convert(PLAIN, sse(text("a"), chunk(finish=reason))))
    assert end["stop_reason"] == stop_reason
    details = {"type": "refusal", "category": None, "explanation": None}
    assert end["stop_details"] == (details if stop_reason == "refusal" else None)


@pytest.mark.parametrize(
    ("reason", "type"),
    [
        ("error", "api_error"), ("network_error", "api_error"), ("abort", "api_error"), ("aborted", "api_error"),
        ("MALFORMED_FUNCTION_CALL", "api_error"), ("function_call_filter: MALFORMED_FUNCTION_CALL", "api_error"),
        ("insufficient_system_resource", "overloaded_error"),
    ],
)  # fmt: skip
def test_finish_reason_of_a_failure(reason: str, type: str) -> None:
    events = convert(PLAIN, sse(text("a"), chunk(finish=reason)))
    assert events[-2]["type"] == "content_block_delta"
    assert ending(events)["type"] == type


@pytest.mark.parametrize(
    ("chunks", "done", "type"),
    [
        pytest.param(
            [text("a"), {"error": {"message": "boom", "code": 503}}],
            True,
            "overloaded_error",
            id="error event",
        ),
        pytest.param([text("a"), {"error": "boom"}], True, "api_error", id="error as a string"),
        pytest.param([text("a"), [{"error": {"message": "boom"}}]], True, "api_error", id="error in a list"),
        pytest.param([text("a"), {"object": "error", "message": "boom"}], True, "api_error", id="error at the top"),
        pytest.param([text("a"), {"detail": "boom"}], True, "api_error", id="detail"),
        pytest.param(
            [text("a"), {"choices": [{"error": {"message": "boom"}}]}],
            True,
            "api_error",
            id="error of the choice",
        ),
        pytest.param([text("a"), "x", "y", "z", text("b")], True, "api_error", id="three malformed events"),
        pytest.param(
            [text("a"), {"choices": 5}, "[1]", {"choices": {"a": 1}}],
            True,
            "api_error",
            id="three wrong shapes",
        ),
        pytest.param([text("a")], False, "api_error", id="closed without an end"),
        pytest.param([CALL], False, "api_error", id="closed after a whole call"),
    ],
)
def test_failure_in_mid_stream(chunks: list[Any], done: bool, type: str) -> None:
    raw = sse(*chunks, done=done)
    events = convert(PLAIN, raw)
    assert ending(events)["type"] == type
    assert events[-2]["type"] == "content_block_delta"  # open blocks stay open
    converter = StreamConverter(PLAIN, REQUEST_ID)
    frames = converter.feed(raw) + converter.finish()
    assert converter.error is not None
    assert converter.error.type == type
    with pytest.raises(anthropic.APIStatusError):
        accumulate(b"".join(frames))


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"", 502, id="nothing"),
        pytest.param(b": keep-alive\n\n", 502, id="comments only"),
        pytest.param(b"data: [DONE]\n\n", 502, id="DONE only"),
        pytest.param(sse({"error": {"message": "slow down", "code": 429}}), 429, id="error"),
        pytest.param(sse({"error": {"message": "boom"}}, text("a")), 502, id="error before text"),
        pytest.param(sse("<html>", "x", "y"), 502, id="no JSON"),
        pytest.param(b"data: " + b"x" * MAX_EVENT_BYTES + b"\n\n"[:1], 502, id="too large"),
    ],
)
def test_failure_before_the_start_is_noted_only(raw: bytes, status: int) -> None:
    converter = StreamConverter(PLAIN, REQUEST_ID)
    assert converter.feed(raw) + converter.finish() == []
    assert not converter.started
    assert not converter.finished
    assert converter.error is not None
    assert converter.error.status in (status, 500)
    assert converter.start() == converter.feed(sse(text("a"))) == converter.finish() == []
    assert converter.fail(ApiError(504, "timeout_error", "later")) == []
    assert converter.error.type != "timeout_error"


def test_start_after_a_long_silence() -> None:
    converter = StreamConverter(PLAIN, REQUEST_ID)
    assert converter.ping() == []
    frames = converter.start()
    assert [event["type"] for event in check_stream(b"".join(frames), complete=False)] == [
        "message_start",
        "ping",
    ]
    assert converter.start() == []
    frames += converter.ping() + converter.feed(sse(text("a"))) + converter.ping()
    assert blocks(check_stream(b"".join(frames))) == [["text", "a"]]
    assert converter.finished


def test_failure_after_an_early_start_is_an_event() -> None:
    converter = StreamConverter(PLAIN, REQUEST_ID)
    frames = converter.start() + converter.finish()
    assert check_stream(b"".join(frames))[-1]["error"]["message"] == "upstream stream ended before completion"


def test_fail() -> None:
    error = ApiError(504, "timeout_error", "too slow")
    converter = StreamConverter(PLAIN, REQUEST_ID)
    frames = converter.feed(sse(text("a"), done=False)) + converter.fail(error)
    events = check_stream(b"".join(frames))
    assert events[-1] == {
        "type": "error",
        "error": {"type": "timeout_error", "message": "too slow"},
    }
    assert converter.finished
    assert converter.error is error
    assert converter.fail(ApiError(502, "api_error", "x")) == frames[-1:]


def test_fail_after_the_end_is_nothing() -> None:
    converter = StreamConverter(PLAIN, REQUEST_ID)
    converter.feed(sse(text("a")))
    assert converter.fail(ApiError(502, "api_error", "x")) == []
    assert converter.error is None


def test_message_start_and_ping_come_with_a_chunk_that_holds_nothing() -> None:
    firsts: list[Any] = [{"choices": [], "prompt_filter_results": []}, chunk({"role": "assistant", "content": ""})]
    for first in firsts:
        frames = StreamConverter(PLAIN, REQUEST_ID).feed(sse(first, done=False))
        events = check_stream(b"".join(frames), complete=False)
        assert [event["type"] for event in events] == ["message_start", "ping"]
        assert events[0]["message"]["usage"]["input_tokens"] == 7


USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([chunk(finish="stop", usage=USAGE)], (100, 20), id="top"),
        pytest.param([{"choices": [{"index": 0, "delta": {}, "usage": USAGE}]}], (100, 20), id="choice"),
        pytest.param([{"choices": [], "x_groq": {"id": "r", "usage": USAGE}}], (100, 20), id="x_groq"),
        pytest.param([chunk(usage={**USAGE, "completion_tokens": 19}), chunk(usage=USAGE)], (100, 20), id="last"),
        pytest.param([chunk(usage=USAGE), chunk(usage=None)], (100, 20), id="null later"),
        pytest.param([chunk(usage={"prompt_tokens": "9", "completion_tokens": None})], (7, 1), id="wrong types"),
        pytest.param([chunk(usage={"prompt_tokens": -1, "completion_tokens": True})], (7, 1), id="no counts"),
        pytest.param(
            [chunk(usage=USAGE), chunk(usage=dict.fromkeys(USAGE, 0))], (100, 20), id="zeros behind the real totals"
        ),
        pytest.param([], (7, 1), id="missing"),
    ],
)
def test_usage(chunks: list[Any], expected: tuple[int, int]) -> None:
    end = ending(convert(PLAIN, sse(text("abc"), STOP, *chunks)))
    assert (end["input_tokens"], end["output_tokens"]) == expected


def test_service_tier_is_told_where_it_was_passed_on() -> None:
    first = {**text("a"), "service_tier": "priority"}
    for profile, tier in ((PROFILES["openai"], "priority"), (PROFILES["generic"], None)):
        events = convert(Context(model="m", profile=profile), sse(first, STOP))
        assert events[0]["message"]["usage"].get("service_tier") == tier


def test_omitted_thinking_has_a_signature_only() -> None:
    events = convert(Context(model="m", thinking="omit"), sse(reasoning("secret"), text("a"), STOP))
    assert blocks(events) == [["thinking", ""], ["text", "a"]]
    (signature,) = signatures(events)
    assert decode_signature(signature) == {"p": "generic", "f": "reasoning_content"}
    assert "secret" not in json.dumps(events)


def test_reasoning_details_are_joined_in_the_envelope() -> None:
    def details(*items: dict[str, Any], **delta: Any) -> dict[str, Any]:
        return chunk({"reasoning_details": list(items), **delta})

    first = {"type": "reasoning.text", "text": "2+", "format": "x", "index": 0}
    events = convert(
        Context(model="m", profile=PROFILES["openrouter"], thinking="show"),
        sse(
            details(first, reasoning="2+"),
            details({"type": "reasoning.text", "text": "2", "index": 0}, reasoning="2"),
            details({"type": "reasoning.text", "text": "", "signature": "S", "index": 0}),
            details({"type": "reasoning.encrypted", "data": "ZZ", "index": 1}),
            text("4"),
            STOP,
        ),
    )
    assert blocks(events) == [["thinking", "2+2"], ["text", "4"]]
    (signature,) = signatures(events)
    assert decode_signature(signature) == {
        "p": "openrouter",
        "f": "reasoning",
        "details": [
            {"type": "reasoning.text", "text": "2+2", "format": "x", "index": 0, "signature": "S"},
            {"type": "reasoning.encrypted", "data": "ZZ", "index": 1},
        ],
    }


def test_refusal_after_text() -> None:
    end = ending(convert(PLAIN, sse(text("a "), chunk({"refusal": "No."}), STOP)))
    assert end["stop_details"]["explanation"] == "No."


def numbered(*indexes: Any, finish: int = -1) -> list[dict[str, Any]]:
    """Chunks with the texts ``a``, ``b``, ... in one choice each, with these indexes; one of them finishes."""
    chunks = [
        {"choices": [{"index": index, "delta": {"content": chr(97 + n)}, "finish_reason": None}]}
        for n, index in enumerate(indexes)
    ]
    chunks[finish]["choices"][0]["finish_reason"] = "stop"
    return chunks


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(numbered(1, 1, 1), "abc", id="from one"),
        pytest.param(numbered(5, 5), "ab", id="any other"),
        pytest.param(numbered(0, 1, 2, 3), "abcd", id="counted up"),
        pytest.param(numbered(0, 1), "ab", id="counted up once"),
        pytest.param(numbered(1, 2, 3), "abc", id="counted up from one"),
        pytest.param(numbered(0, 1, 0), "ac", id="another choice between"),
        pytest.param(numbered(0, 1, 0, 1, 0), "ace", id="another choice again and again"),
        pytest.param(numbered(0, 0, 1, finish=1), "ab", id="another choice behind the end"),
        pytest.param(numbered(None, 0, None), "abc", id="none"),
        pytest.param(
            [{"choices": [*numbered(0)[0]["choices"], *numbered(1)[0]["choices"]]}], "a", id="another beside it"
        ),
        pytest.param(
            [{"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}, STOP], "ab", id="without indexes"
        ),
    ],
)
def test_choice_that_is_the_answer(chunks: list[dict[str, Any]], expected: str) -> None:
    assert blocks(convert(PLAIN, sse(*chunks, done=False))) == [["text", expected]]


def test_message_in_place_of_a_delta_is_the_content() -> None:
    whole = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    assert blocks(convert(PLAIN, sse({"choices": [whole]}))) == [["text", "a"]]
    assert blocks(convert(PLAIN, sse({"choices": [{**whole, "delta": {}}]}))) == [["text", "a"]]
    assert blocks(convert(PLAIN, sse(text("a"), {"choices": [{**whole, "delta": {}}]}))) == [["text", "a"]]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([{"choices": [], "usage": USAGE}], id="usage"),
        pytest.param([chunk({"role": "assistant", "content": ""}), {"choices": [], "usage": USAGE}], id="role"),
        pytest.param([], id="nothing"),
    ],
)
def test_stream_that_is_done_without_an_answer_is_an_error(chunks: list[Any]) -> None:
    converter = StreamConverter(PLAIN, REQUEST_ID)
    frames = converter.feed(sse(*chunks))
    assert converter.error is not None
    assert converter.error.message == "upstream stream ended without an answer"
    if frames:
        assert ending(check_stream(b"".join(frames)))["type"] == "api_error"


@pytest.mark.parametrize(
    ("delta", "options"),
    [
        pytest.param({"content": " " * 50}, {}, id="whitespace"),
        pytest.param({"content": " " * 50}, {"think_tags": "auto"}, id="whitespace before a think tag"),
        pytest.param({"content": " " * 50}, {"think_tags": "on"}, id="whitespace inside think tags"),
        pytest.param({"refusal": "a" * 50}, {}, id="refusal"),
        pytest.param(
            {"reasoning_details": [{"type": "reasoning.text", "text": "a" * 50}]},
            {"reasoning_roundtrip": "reasoning_details"},
            id="reasoning details",
        ),
        pytest.param({"reasoning_content": "a" * 50}, {}, id="reasoning"),
        pytest.param({"content": "a" * 50}, {}, id="text"),
    ],
)
def test_what_a_stream_brings_is_not_copied_again_and_again(delta: dict[str, Any], options: dict[str, Any]) -> None:
    context = Context(model="m", profile=resolve_profile("generic", options), thinking="show")
    raw = sse(chunk(delta), done=False)

    def seconds(n: int) -> float:
        converter = StreamConverter(context, REQUEST_ID)
        converter.feed(sse(chunk({"role": "assistant"}), done=False))
        start = process_time()
        for _ in range(n):
            converter.feed(raw)
        return process_time() - start

    seconds(100)
    few, many = min(seconds(2000) for _ in range(2)), min(seconds(32000) for _ in range(2))
    assert many < 16 * few * 4 + 0.2  # with its square it would be 16 times more


def test_text_is_not_kept_when_it_has_been_handed_on() -> None:
    converter = StreamConverter(PLAIN, REQUEST_ID)
    raw = sse(text("x" * 1000), done=False)
    tracemalloc.start()
    try:
        for _ in range(100):
            converter.feed(raw)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(2000):
            converter.feed(raw)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


@pytest.mark.parametrize("thinking", ["off", "omit", "show"])
def test_reasoning_that_is_all_there_is_is_the_answer(thinking: Any) -> None:
    """vLLM's reasoning parser puts the whole answer there where thinking is switched off."""
    context = Context(model="m", thinking=thinking)
    chunks = [chunk({"role": "assistant", "content": ""}), reasoning("The title"), reasoning(" is X.")]
    found = blocks(convert(context, sse(*chunks, STOP)))
    assert found[-1] == ["text", "The title is X."]
    for reason in ("length", "content_filter"):
        cut = blocks(convert(context, sse(*chunks, chunk(finish=reason))))
        assert [block[0] for block in cut] == ([] if thinking == "off" else ["thinking"])
    with_call = blocks(convert(context, sse(*chunks, CALL, chunk(finish="tool_calls"))))
    assert "text" not in [block[0] for block in with_call]


def test_whole_event_behind_one_that_was_cut_off_is_read() -> None:
    cut = '{"id":"1","object":"chat.c'
    chunks = [text("1"), cut + "data: " + json.dumps(text("11")), text("1"), STOP]
    assert blocks(convert(PLAIN, sse(*chunks))) == [["text", "1111"]]


def test_piece_that_was_lost_makes_the_end_an_error() -> None:
    events = convert(PLAIN, sse(text("a"), '{"id":"1","object":"chat.c', text("b"), STOP))
    assert blocks(events) == [["text", "ab"]]
    assert (ending(events)["type"], "lost" in ending(events)["message"]) == ("api_error", True)
    assert ending(convert(PLAIN, sse(text("a"), "HEARTBEAT", text("b"), STOP)))["stop_reason"] == "end_turn"


def test_completion_comes_out_of_its_envelope() -> None:
    assert blocks(convert(PLAIN, sse({"data": text("a"), "success": True}, STOP))) == [["text", "a"]]
