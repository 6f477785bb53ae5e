"""Answers in other forms than OpenAI's, whole and streamed: choices, items of content, events, envelopes."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError
from support.streams.chunks import blocks, call, calls, chunk, convert, ending, sse, text

PLAIN = Context(model="m", thinking="show", tools=frozenset({"f"}))
CALL = call("{}", name="f", id="c1")
STOP = chunk(finish="stop")
RAW = json.dumps(text("b"))

ITEMS = [
    ([{"type": "output_text", "text": "a"}], "", "a"),
    ([{"type": "of_next_year", "text": "a"}, {"text": "b"}], "", "ab"),
    ([{"type": "markdown", "content": "a"}, {"type": "html", "html": "b"}], "", "ab"),
    ([{"type": "text", "text": {"value": "a", "annotations": []}}], "", "a"),
    ([{"type": "refusal", "refusal": "no"}], "", "no"),
    ([{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}, {"type": "audio", "transcript": "a"}], "", "a"),
    ({"type": "text", "text": "a"}, "", "a"),
    ([{"type": "reasoning", "text": "t"}, {"type": "text", "text": "a"}], "t", "a"),
    ([{"type": ["odd"], "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}, None, 5], "", "a"),
]


@pytest.mark.parametrize(("items", "thoughts", "answer"), ITEMS)
def test_text_of_items_of_any_type_is_kept(items: Any, thoughts: str, answer: str) -> None:
    expected = [["thinking", thoughts]] * bool(thoughts) + [["text", answer]]
    assert blocks(convert(PLAIN, sse(chunk({"content": items}), STOP))) == expected
    assert whole({"choices": [{"message": {"content": items}, "finish_reason": "stop"}]}) == expected


def whole(body: Any) -> list[list[str]]:
    message = convert_response(body, PLAIN)
    return [
        [block["type"], block.get("text") or block.get("thinking") or block["name"]] for block in message["content"]
    ]


def choice(index: Any, finish: str, **message: Any) -> dict[str, Any]:
    return {"index": index, "message": message, "finish_reason": finish}


def test_calls_in_a_choice_of_their_own_are_not_lost_when_the_first_announces_them() -> None:
    body = {"choices": [choice(0, "tool_calls", content="a"), choice(1, "tool_calls", tool_calls=[CALL])]}
    assert whole(body) == [["text", "a"], ["tool_use", "f"]]
    chunks = [text("a"), chunk(finish="tool_calls")]
    for arguments in ({"name": "f", "arguments": '{"a"'}, {"arguments": ":1}"}):
        delta = {"tool_calls": [{"index": 0, "function": arguments}]}
        chunks.append({"choices": [{"index": 1, "delta": delta}]})
    found = blocks(
        convert(PLAIN, sse(*chunks, {"choices": [{"index": 1, "delta": {}, "finish_reason": "tool_calls"}]}))
    )
    assert [found[0], found[1][2:]] == [["text", "a"], ["f", '{"a":1}']]


def test_other_choices_are_no_part_of_the_answer() -> None:
    for indexes in ((0, 1), ("0", "1"), (1, 2)):
        assert whole(
            {"choices": [choice(indexes[0], "stop", content="a"), choice(indexes[1], "stop", content="b")]}
        ) == [["text", "a"]]
    body = {"choices": [choice(0, "tool_calls", tool_calls=[CALL]), choice(1, "tool_calls", tool_calls=[CALL])]}
    assert whole(body) == [["tool_use", "f"]]


@pytest.mark.parametrize(
    "event",
    [
        json.dumps(text("a")) + RAW,
        json.dumps(text("a")) + "data: " + RAW,
        json.dumps(text("a")) + "\ndata: " + RAW,
        json.dumps(text('a}{"')) + RAW + "data: [DONE]",
    ],
)
def test_every_event_of_several_in_one_is_read(event: str) -> None:
    raw = f"data: {event}\n\n".encode() + sse(STOP)
    ((_, found),) = blocks(convert(PLAIN, raw))
    assert found in ("ab", 'a}{"b')


def test_stream_without_blank_lines_is_read() -> None:
    raw = sse(text("a"), text("b"), STOP).replace(b"\n\n", b"\n")
    assert blocks(convert(PLAIN, raw)) == [["text", "ab"]]


def test_whole_event_right_behind_one_that_was_cut_off_is_read() -> None:
    assert blocks(convert(PLAIN, sse(text("a"), '{"id":"1","object":"chat.c' + RAW, STOP))) == [["text", "ab"]]


def test_part_of_an_event_is_not_taken_for_a_whole_one() -> None:
    piece = json.dumps(calls({**CALL, "index": 0}))
    cut = piece[: piece.index("}") + 2]
    assert "lost" in ending(convert(PLAIN, sse(text("a"), cut, STOP)))["message"]


def test_stream_that_ends_with_something_odd_and_no_reason_is_an_error() -> None:
    assert ending(convert(PLAIN, sse(text("a"), "[ERROR] the worker died")))["type"] == "api_error"
    assert ending(convert(PLAIN, sse(text("a"), "HEARTBEAT", STOP)))["stop_reason"] == "end_turn"


ENVELOPES = [
    lambda inner: {"result": inner, "success": True, "errors": []},
    lambda inner: {"response": inner},
    lambda inner: {"code": 0, "data": {"data": inner}},
    lambda inner: {"output": inner, "request_id": "1"},
]


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_answer_comes_out_of_any_envelope(envelope: Any) -> None:
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    assert whole(envelope(body)) == [["text", "a"]]
    assert blocks(convert(PLAIN, sse(envelope(text("a")), envelope(STOP)))) == [["text", "a"]]


def test_usage_beside_dashscopes_output_counts() -> None:
    body = {"output": {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}}
    message = convert_response({**body, "usage": {"prompt_tokens": 7, "completion_tokens": 3}}, PLAIN)
    assert message["usage"]["output_tokens"] == 3


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"data": {"error": {"message": "bad", "code": 429}}}, 429, "bad"),
        ({"base_resp": {"status_code": "1008", "status_msg": "insufficient balance"}}, 402, "insufficient balance"),
        ({"data": {"choices": [], "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}}, 429, "rate limit"),
        ({"success": False, "errors": [{"message": "no such thing"}], "result": None}, 502, "no such thing"),
    ],
)
def test_error_comes_out_of_its_envelope(body: Any, status: int, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        convert_response(body, PLAIN)
    assert (caught.value.status, caught.value.message) == (status, words)


@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_calls_at_the_end_of_thoughts_that_were_never_closed_are_calls(field: str) -> None:
    written = 'I look.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    profile = resolve_profile("generic", {"think_tags": "on"})
    context = Context(model="m", thinking="off", tools=frozenset({"f"}), profile=profile)
    given = f"<think>{written}" if field == "content" else written
    message = convert_response(
        {"choices": [{"message": {"content": None, field: given}, "finish_reason": "stop"}]}, context
    )
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    assert message["stop_reason"] == "tool_use"
    events = convert(context, sse(chunk({field: given[:20]}), chunk({field: given[20:]}), STOP))
    (shown, called) = blocks(events)
    assert (shown, called[2], json.loads(called[3])) == (["text", "I look.\n"], "f", {"a": 1})
    assert ending(events)["stop_reason"] == "tool_use"
    cut = convert(context, sse(chunk({field: given}), chunk(finish="length")))
    assert blocks(cut) == []
