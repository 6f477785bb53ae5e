"""Text in which something has to be found first: think tags and stop sequences, cut anywhere."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from support.streams.chunks import REQUEST_ID, blocks, call, calls, chunk, convert, ending, sse, text
from support.streams.grammar import check_stream

PLAIN = Context(model="m")
CALL = calls(call('{"a":1}', name="f", id="c1", index=0))
TOOL_USE = ["tool_use", "c1", "f", '{"a":1}']
STOP = chunk(finish="stop")


def reasoning(thought: str) -> dict[str, Any]:
    return chunk({"reasoning_content": thought})


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (["<think>a</think>b"], [["thinking", "a"], ["text", "b"]]),
        ([" \n<think>\n", " a ", "\n</think>\n", "\n b"], [["thinking", "a"], ["text", "b"]]),
        (["<think>a < b </thin", "g></think>", "c"], [["thinking", "a < b </thing>"], ["text", "c"]]),
        (["<think></think>b"], [["text", "b"]]),
        (["<think>a\n"], [["thinking", "a"], ["text", "a"]]),
        (["<think>a</thi"], [["thinking", "a</thi"], ["text", "a</thi"]]),
        (["<thin", "king>"], [["text", "<thinking>"]]),
        (["<thi"], [["text", "<thi"]]),
        (["x<think>a</think>"], [["text", "x<think>a</think>"]]),
        (["\n x"], [["text", "\n x"]]),
    ],
)
def test_think_tags(chunks: list[str], expected: list[list[str]]) -> None:
    profile = resolve_profile("generic", {"think_tags": "auto"})
    context = Context(model="m", profile=profile, thinking="show")
    content = "".join(chunks)
    for parts in (chunks, [content], list(content)):
        assert blocks(convert(context, sse(*map(text, parts), STOP))) == expected
    hidden = Context(model="m", profile=profile)
    visible = [block for block in expected if block[0] == "text"]
    assert blocks(convert(hidden, sse(*map(text, chunks), STOP))) == visible


@pytest.mark.parametrize("content", ["a</think>b", "<think>a</think>b", "\n<think> a\n</think>\n\nb"])
def test_think_tags_on_means_that_the_prompt_opens_them(content: str) -> None:
    profile = resolve_profile("generic", {"think_tags": "on"})
    context = Context(model="m", profile=profile, thinking="show")
    for parts in ([content], list(content)):
        assert blocks(convert(context, sse(*map(text, parts), STOP))) == [["thinking", "a"], ["text", "b"]]


@pytest.mark.parametrize("mode", ["on", "auto"])
def test_think_tags_are_text_where_a_field_holds_the_reasoning(mode: str) -> None:
    context = Context(model="m", profile=resolve_profile("generic", {"think_tags": mode}), thinking="show")
    found = blocks(convert(context, sse(text("\n"), reasoning("r"), text("<think>x"), STOP)))
    assert found == [["thinking", "r"], ["text", "\n<think>x"]]


def test_call_inside_think_tags() -> None:
    context = Context(model="m", profile=resolve_profile("generic", {"think_tags": "auto"}), thinking="show")
    found = blocks(convert(context, sse(text("<think>a\n"), CALL, text("b</think>c"), STOP)))
    assert found == [["thinking", "a"], TOOL_USE, ["thinking", "b"], ["text", "c"]]


@pytest.mark.parametrize(
    ("stops", "content", "visible", "matched"),
    [
        (["END"], "a END b", "a ", "END"),
        (["END"], "a EN", "a EN", None),
        (["END"], "EENDx", "E", "END"),
        (["abc", "b"], "xabc", "xa", "b"),
        (["bc", "abc"], "xabc", "x", "abc"),
        (["aab"], "aaab", "a", "aab"),
        (["END"], "END", "", "END"),
        (["\n\n"], "a\n\nb", "a", "\n\n"),
    ],
)
def test_local_stop_sequence(stops: list[str], content: str, visible: str, matched: str | None) -> None:
    context = Context(model="m", stop_sequences=tuple(stops), local_stops=tuple(stops))
    for parts in ([content], list(content)):
        events = convert(context, sse(*map(text, parts), STOP))
        assert blocks(events) == ([["text", visible]] if visible else [])
        assert ending(events)["stop_sequence"] == matched
        assert ending(events)["stop_reason"] == ("stop_sequence" if matched else "end_turn")


def test_local_stop_sequence_ends_at_once() -> None:
    converter = StreamConverter(Context(model="m", local_stops=("END",)), REQUEST_ID)
    frames = converter.feed(sse(text("a END"), done=False))
    assert converter.finished
    assert check_stream(b"".join(frames))[-1]["type"] == "message_stop"
    assert converter.feed(sse(text("b"), STOP)) == converter.finish() == converter.ping() == []


def test_start_of_a_stop_sequence_is_text_when_a_call_follows() -> None:
    context = Context(model="m", local_stops=("END",))
    assert blocks(convert(context, sse(text("a E"), CALL, text("ND"), STOP))) == [
        ["text", "a E"],
        TOOL_USE,
        ["text", "ND"],
    ]


def test_upstream_names_the_stop_sequence() -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]}
    events = convert(Context(model="m", stop_sequences=("END",)), sse(text("a"), last))
    assert ending(events)["stop_sequence"] == "END"
    assert ending(convert(PLAIN, sse(text("a"), last)))["stop_reason"] == "end_turn"


def test_stop_sequence_in_what_was_held_back_for_a_tag() -> None:
    context = Context(model="m", profile=resolve_profile("generic", {"think_tags": "auto"}), local_stops=("<",))
    for follower in (chunk({"refusal": "No."}), CALL, reasoning("r"), STOP):
        events = convert(context, sse(text("<th"), follower, chunk({"content": "a", "refusal": "b"})))
        assert blocks(events) == []
        assert ending(events)["stop_sequence"] == "<"


def test_nothing_but_halves_and_stop_sequences() -> None:
    first = r'{"choices":[{"delta":{"content":"END\ud83d"}}]}'
    assert ending(convert(Context(model="m", local_stops=("END",)), sse(first)))["stop_sequence"] == "END"
