"""Tool calls in a stream, in all the ways in which servers send them."""

import re
from typing import Any

import pytest

from ccproxy_middleware.conversion.anthropic.signatures import decode_signature
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import PROFILES
from support.steps import count_steps
from support.streams.chunks import REQUEST_ID, blocks, call, calls, chunk, convert, ending, signatures, sse, text
from support.streams.grammar import check_stream

MADE_UP = re.compile(r"toolu_[A-Za-z0-9]{24}")
CONTEXT = Context(model="m", tools=frozenset({"f", "g", "Bash", "get_weather"}))
A, B = '{"a":1}', '{"b":2}'


def tools(*chunks: dict[str, Any], context: Context = CONTEXT) -> list[list[str]]:
    """The blocks of a stream that ends well; ids that are made up become ``*``."""
    events = convert(context, sse(*chunks, chunk(finish="tool_calls")))
    assert ending(events)["stop_reason"] == "tool_use"
    return [
        [kind, "*" if kind == "tool_use" and MADE_UP.fullmatch(rest[0]) else rest[0], *rest[1:]]
        for kind, *rest in blocks(events)
    ]


def f(arguments: str = A, id: str = "c1") -> list[str]:
    return ["tool_use", id, "f", arguments]


def g(arguments: str = B, id: str = "c2") -> list[str]:
    return ["tool_use", id, "g", arguments]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        pytest.param(
            [
                [call("", name="f", id="c1", index=0), call("", name="g", id="c2", index=1)],
                [call('{"a"', index=0), call('{"b"', index=1)],
                [call(":1}", index=0), call(":2}", index=1)],
            ],
            [f(), g()],
            id="parallel calls interleaved by index",
        ),
        pytest.param(
            [
                [call('{"a"', name="f", id="c1", index=0)],
                [call(B, name="g", id="c2", index=1)],
                [call('{"c":3}', name="f", id="c3", index=2)],
                [call(":1}", index=0)],
            ],
            [f(), g(), f('{"c":3}', "c3")],
            id="later calls wait for the first in their order",
        ),
        pytest.param(
            [[call("", id="c1", index=0)], [call(name="f", index=0)], [call(A, index=0)]],
            [f()],
            id="late name",
        ),
        pytest.param(
            [[call('{"a"', id="c1", index=0)], [call(":1}", index=0)], [call(name="f", index=0)]],
            [f()],
            id="arguments before the name",
        ),
        pytest.param(
            [[call(name="get_", id="c1", index=0)], [call(name="weather", index=0)], [call(A, index=0)]],
            [["tool_use", "c1", "get_weather", A]],
            id="name in fragments",
        ),
        pytest.param(
            [
                [call('{"a"', name="f", id="c1", index=0)],
                [call(":1", name="", id="", index=0)],
                [call("}", index=0)],
            ],
            [f()],
            id="empty id and name on later fragments",
        ),
        pytest.param(
            [
                [call('{"a"', name="f", id="c1", index=0)],
                [call(":1}", name="f", id="c1", index=0)],
                [call("", name="f", id="c1", index=0)],
                [call("", name="f", index=0)],
            ],
            [f()],
            id="id and name repeated, also behind the end",
        ),
        pytest.param([[call({"a": 1}, name="f", id="c1", index=0)]], [f()], id="arguments as an object"),
        pytest.param([[call([1], name="f", id="c1", index=0)]], [f("[1]")], id="arguments as a list"),
        pytest.param(
            [[call(name="f", id="c1", index=0, function={"name": "f", "arguments": None})]],
            [f("{}")],
            id="null",
        ),
        pytest.param([[call(" \n", name="f", id="c1", index=0)]], [f(" \n{}")], id="blank arguments"),
        pytest.param(
            [[call("{}", name="f", id="c1", index=0)], [call('{"a"', index=0)], [call(":1}", index=0)]],
            [f()],
            id="placeholder object before the real one",
        ),
        pytest.param(
            [
                [call("{}", name="f", id="c1", index=0)],
                [call("\n", index=0)],
                [call(B, name="g", id="c2", index=1)],
            ],
            [f("{}"), g()],
            id="empty object that is meant",
        ),
        pytest.param(
            [[call(A, name="f", id="c1", index=0)], [call(A, index=0)]],
            [f()],
            id="the whole object once more",
        ),
        pytest.param(
            [[call(A, name="f", id="c1", index=0)], [call(B, name="g", id="c1", index=0)]],
            [f(), g(id="*")],
            id="id repeated with a new name",
        ),
        pytest.param(
            [[call(A, name="f", id="call_0", index=0)], [call(B, name="g", id="call_0", index=1)]],
            [f(id="call_0"), g(id="*")],
            id="id repeated at another index",
        ),
        pytest.param(
            [[call(A, name="f", index=0)], [call(B, name="g", index=0)], [call(B, name="g", index=0)]],
            [f(id="*"), g(id="*"), g(id="*")],
            id="whole calls at one index without ids",
        ),
        pytest.param(
            [
                [call('{"a"', name="f", id="c1")],
                [call(":1}")],
                [call('{"b"', name="g", id="c2")],
                [call(":2}", id="c2")],
            ],
            [f(), g()],
            id="no index",
        ),
        pytest.param(
            [
                [call('{"a"', name="f", id="c1", index=0)],
                [call('{"b"', name="g", id="c2", index=0)],
                [call(":1}", id="c1", index=0)],
                [call(":2}", id="c2", index=0)],
            ],
            [f(), g()],
            id="one index, told apart by ids",
        ),
        pytest.param(
            [[call("", name="f", id="a1", index=0)], [call('{"a"', id="a2", index=0)], [call(":1}", id="a3", index=0)]],
            [f(id="a1")],
            id="another id on every fragment",
        ),
        pytest.param(
            [
                [call(A, name="f", id="c1", index=0)],
                [call('{"b"', name="g", id="c2", index=0)],
                [call(":2}", id="c2", index=1)],
            ],
            [f(), g()],
            id="tail under another index",
        ),
        pytest.param(
            [
                [call(A, name="f", id="c1", index=0)],
                [call('{"b"', name="g", id="c2", index=0)],
                [call(":2}", index=1)],
            ],
            [f(), g()],
            id="tail under another index without an id",
        ),
        pytest.param(
            [
                [call(A, name="f", id="c1", index=0)],
                [call('{"b"', name="g", id="c2", index=1)],
                [call(":2}")],
            ],
            [f(), g()],
            id="tail without index and id",
        ),
        pytest.param(
            [
                [call('{"a"', name="f", id="c1", index=0)],
                [call(B, name="g", id="c2", index=1)],
                [call(":1}")],
            ],
            [f(), g()],
            id="tail of the only call that is not whole",
        ),
        pytest.param(
            [[call("", name="f", id="c1", index=0)], [call('{"a"', id="c1", index=1)], [call(":1}", id="c1", index=2)]],
            [f()],
            id="index grows under one id",
        ),
        pytest.param(
            [[call("", name="f", index=0)], [call("", name="g", index=0)]],
            [f("{}", "*"), g("{}", "*")],
            id="two calls without arguments and ids at one index",
        ),
        pytest.param(
            [[call("{}", name="f")], [call("{}", name="f")]],
            [f("{}", "*"), f("{}", "*")],
            id="two calls of one tool without anything to tell them apart",
        ),
        pytest.param(
            [[call("", name="f", id="x", index=0)], [call("", name="g", id="x", index=1)], [call(B, id="x", index=1)]],
            [f("{}", "x"), g(id="*")],
            id="one id for two calls",
        ),
        pytest.param(
            [[call('{"a"', name="f", id="c1", index=0)], [call(":1}", index=0)], [call(A, name="f", id="c1", index=0)]],
            [f()],
            id="announced again with its arguments whole",
        ),
        pytest.param(
            [[call(A, name="f", id="c1", index=0)], [call('{"a"', id="c1", index=0)], [call(": 1}", id="c1", index=0)]],
            [f()],
            id="object repeated in fragments",
        ),
        pytest.param(
            [
                [call(A, name="f", id="c1", index=0)],
                [call('{"a"', name="f", id="c1", index=0)],
                [call(":3}", name="f", id="c1", index=0)],
            ],
            [f(), f('{"a":3}', "*")],
            id="another object is another call",
        ),
        pytest.param(
            [[call(A, name="f", id="c1", index=0)], [call("", id="c9", index=0)], [call("", id="", name="", index=4)]],
            [f()],
            id="blank fragments behind a whole call",
        ),
        pytest.param(
            [[call(A, name="f", id="c1", index=0)], [{"index": 1, "function": {"name": None, "arguments": ""}}]],
            [f()],
            id="item that says nothing",
        ),
        pytest.param([[call(A, name="f", id="c1", index="0")]], [f()], id="index of a wrong type"),
        pytest.param([[call(A, name="f", id=7, index=0)]], [f(id="*")], id="id of a wrong type"),
        pytest.param([[call(A, name="f", id="bad id!", index=0)]], [f(id="*")], id="illegal id"),
        pytest.param(
            [[call(A, name="f", id="c1", index=0)], [call("  \n", index=0)]],
            [f(A + "  \n")],
            id="space behind",
        ),
        pytest.param(
            [[call(A, name="bash", id="c1", index=0)]],
            [["tool_use", "c1", "Bash", A]],
            id="name in lower case",
        ),
        pytest.param([[call(A, name="other", id="c1", index=0)]], [["tool_use", "c1", "other", A]], id="unknown name"),
        pytest.param(
            [
                [{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "f", "input": 'a "b'}}],
                [{"index": 0, "custom": {"input": '"\n'}}],
                [call(B, name="g", id="c2", index=1)],
            ],
            [f('{"input":"a \\"b\\"\\n"}'), g()],
            id="custom call",
        ),
    ],
)
def test_tool_calls(deltas: list[list[dict[str, Any]]], expected: list[list[str]]) -> None:
    assert tools(*(calls(*items) for items in deltas)) == expected


def test_argument_fragments_are_passed_on_as_they_come() -> None:
    fragments = ['{"a', '": "', "x\\", 'ny"', "}"]
    items = [call(fragment, name="f" if n == 0 else None, index=0) for n, fragment in enumerate(fragments)]
    events = convert(CONTEXT, sse(*(calls(item) for item in items), chunk(finish="tool_calls")))
    deltas = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert deltas == fragments


def test_call_after_the_whitespace_that_ends_another_opens_at_once() -> None:
    converter = StreamConverter(CONTEXT, REQUEST_ID)
    first = call(A, name="f", id="c1", index=0)
    second = call(B, name="g", id="c2", index=1)
    frames = converter.feed(sse(calls(first), calls(call("\n", index=0)), calls(second), done=False))
    assert blocks(check_stream(b"".join(frames), complete=False)) == [f(A + "\n"), g()]


def test_id_of_the_history_is_replaced() -> None:
    context = Context(model="m", used_tool_ids=frozenset({"call_0"}))
    assert tools(calls(call(A, name="f", id="call_0", index=0)), context=context) == [f(id="*")]


def test_shortened_name_is_restored() -> None:
    context = Context(model="m", tool_names={"long_1234": "a_long_name"}, tools=frozenset({"a_long_name"}))
    assert tools(calls(call(A, name="long_1234", id="c1")), context=context) == [["tool_use", "c1", "a_long_name", A]]


def test_name_that_matches_two_tools_but_for_case_is_kept() -> None:
    context = Context(model="m", tools=frozenset({"Read", "READ"}))
    assert tools(calls(call(A, name="read", id="c1")), context=context) == [["tool_use", "c1", "read", A]]


def test_text_during_an_unfinished_call_waits_till_the_end() -> None:
    found = tools(
        calls(call('{"a"', name="f", id="c1", index=0)),
        text("and"),
        text(" "),
        calls(call(":1}", index=0)),
        calls(call(B, name="g", id="c2", index=1)),
        calls(call("", index=1)),
    )
    assert found == [f(), g(), ["text", "and "]]


def test_waiting_text_comes_before_later_text() -> None:
    chunks = [
        calls(call('{"a"', name="f", id="c1", index=0)),
        text("one "),
        calls(call(":1}", index=0)),
        text("two"),
    ]
    assert tools(*chunks) == [f(), ["text", "one two"]]


def test_text_after_a_whole_call_opens_its_block_at_once() -> None:
    chunks = [text("x"), calls(call(A, name="f", id="c1", index=0)), text("\n"), text("y"), text("\nz")]
    assert tools(*chunks, calls(call(B, name="g", id="c2", index=1))) == [
        ["text", "x"],
        f(),
        ["text", "y\nz"],
        g(),
    ]


def test_reasoning_between_calls() -> None:
    context = Context(model="m", thinking="show")
    found = tools(
        calls(call('{"a"', name="f", id="c1", index=0)),
        chunk({"reasoning": "early"}),
        calls(call(":1}", index=0)),
        chunk({"reasoning": " late"}),
        calls(call(B, name="g", id="c2", index=1)),
        context=context,
    )
    assert found == [f(), ["thinking", "early late"], g()]


def test_legacy_function_call_beside_tool_calls_is_ignored() -> None:
    """llama-cpp-python sends every fragment twice, and repeats id and name on each."""
    fragments = ['{"', 'a":', "1}", ""]
    deltas = [
        {
            "content": None,
            "function_call": {"name": "f", "arguments": fragment},
            "tool_calls": [call(fragment, name="f", id="c1", index=0, type="function")],
        }
        for fragment in fragments
    ]
    assert tools(*(chunk(delta) for delta in deltas)) == [f()]


def test_legacy_function_call_after_tool_calls_is_ignored() -> None:
    found = tools(calls(call(A, name="f", id="c1")), chunk({"function_call": {"name": "f", "arguments": A}}))
    assert found == [f()]


@pytest.mark.parametrize(
    ("reason", "stop_reason"),
    [
        ("length", "max_tokens"),
        ("model_length", "model_context_window_exceeded"),
        ("content_filter", "refusal"),
    ],
)
def test_cut_call_is_not_repaired(reason: str, stop_reason: str) -> None:
    cut = '{"p": "a", "t": "lo'
    events = convert(CONTEXT, sse(calls(call(cut, name="f", id="c1", index=0)), chunk(finish=reason)))
    assert blocks(events) == [f(cut)]
    assert ending(events)["stop_reason"] == stop_reason


def test_calls_finish_with_stop_or_not_at_all() -> None:
    for last in ([chunk(finish="stop")], []):
        events = convert(CONTEXT, sse(calls(call(A, name="f", id="c1", index=0)), *last))
        assert ending(events)["stop_reason"] == "tool_use"


def test_finish_with_tool_calls_but_without_calls_is_end_turn() -> None:
    events = convert(CONTEXT, sse(text("x"), chunk(finish="tool_calls")))
    assert ending(events)["stop_reason"] == "end_turn"


def gemini_call(signature: str | None, id: str, vendor: str = "google", index: int | None = None) -> dict[str, Any]:
    extra = {"extra_content": {vendor: {"thought_signature": signature}}} if signature else {}
    return call(A, name="f", id=id, index=index, **extra)


@pytest.mark.parametrize("thinking", ["show", "off"])
def test_gemini_signatures_ride_before_their_calls(thinking: Any) -> None:
    context = Context(model="m", profile=PROFILES["gemini"], thinking=thinking, used_tool_ids=frozenset({"c2"}))
    events = convert(
        context,
        sse(
            text("x"),
            calls(gemini_call("S1", "c1"), gemini_call(None, "c3"), gemini_call("S2", "c2", "vertex")),
            chunk(finish="stop"),
        ),
    )
    kinds = [block[0] for block in blocks(events)]
    assert kinds == ["text", "thinking", "tool_use", "tool_use", "thinking", "tool_use"]
    id_ = blocks(events)[-1][1]
    assert MADE_UP.fullmatch(id_)
    envelopes = [decode_signature(signature) for signature in signatures(events)]
    assert envelopes == [{"p": "gemini", "calls": {"c1": "S1"}}, {"p": "gemini", "calls": {id_: "S2"}}]


def test_gemini_signature_joins_the_open_thinking_block() -> None:
    context = Context(model="m", profile=PROFILES["gemini"], thinking="show")
    events = convert(context, sse(chunk({"reasoning": "hm"}), calls(gemini_call("S1", "c1"))))
    assert [block[0] for block in blocks(events)] == ["thinking", "tool_use"]
    (signature,) = signatures(events)
    assert decode_signature(signature) == {"p": "gemini", "f": "reasoning", "calls": {"c1": "S1"}}


def test_gemini_signature_that_comes_late_rides_at_the_end_once() -> None:
    context = Context(model="m", profile=PROFILES["gemini"])
    late = call("", index=0, extra_content={"google": {"thought_signature": "S1"}})
    events = convert(context, sse(calls(call(A, name="f", id="c1", index=0)), calls(late), calls(late)))
    assert [block[0] for block in blocks(events)] == ["tool_use", "thinking"]
    assert [decode_signature(s) for s in signatures(events)] == [{"p": "gemini", "calls": {"c1": "S1"}}]


def test_gemini_signature_is_dropped_where_it_is_not_sent_back() -> None:
    assert tools(calls(gemini_call("S1", "c1"))) == [f()]


def test_openrouter_details_ride_unasked_only_before_calls() -> None:
    context = Context(model="m", profile=PROFILES["openrouter"])
    details = [{"type": "reasoning.encrypted", "data": "ZZ", "id": "r1", "index": 0}]
    thought = chunk({"reasoning_details": details})
    events = convert(context, sse(thought, text("x"), calls(call(A, name="f", id="c1")), chunk(finish="stop")))
    assert [block[0] for block in blocks(events)] == ["text", "thinking", "tool_use"]
    assert [decode_signature(s) for s in signatures(events)] == [{"p": "openrouter", "details": details}]
    events = convert(context, sse(thought, text("x"), chunk(finish="stop")))
    assert [block[0] for block in blocks(events)] == ["text"]


def test_reasoning_content_cannot_ride_unasked() -> None:
    context = Context(model="m", profile=PROFILES["deepseek"])
    assert tools(chunk({"reasoning_content": "hm"}), calls(call(A, name="f", id="c1")), context=context) == [f()]


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        pytest.param([call(A, id="c1", index=0)], "without a name", id="no name"),
        pytest.param([call(A, name="", id="c1", index=0)], "without a name", id="empty name"),
        pytest.param(
            [call(A, id="c1", index=0), call(B, name="g", id="c2", index=1)],
            "without a name",
            id="no name, then a call",
        ),
        pytest.param([call("", id="c1", index=0)], "without a name", id="nothing but an id"),
        pytest.param(
            [call(A, name="f", id="c1", index=0), call('"CHI"}', index=0)], "belong to no tool call", id="more behind"
        ),
        pytest.param(
            [call(A, name="f", id="c1", index=0), call('{"a"', index=0), call(":3}", index=0)],
            "belong to no tool call",
            id="another object without a name",
        ),
        pytest.param(
            [call(A, name="f", id="c1", index=0), call('{"a"', name="f", id="c1", index=0)],
            "belong to no tool call",
            id="half an object behind",
        ),
        pytest.param([call(A, name="f" * 600, id="c1"), call("", name="g" * 600, id="c2")], None, id="long names"),
        pytest.param(
            [call("", name="f" * 600, id="c1"), call("", name="g" * 600, id="c1")], "over 1000", id="name too long"
        ),
    ],
)
@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_call_that_cannot_be_assigned_is_an_error_that_shows(
    deltas: list[dict[str, Any]], words: str | None, finish: str
) -> None:
    end = ending(convert(CONTEXT, sse(*(calls(item) for item in deltas), chunk(finish=finish))))
    if words is None:
        assert end["stop_reason"] == "tool_use"
    else:
        assert (end["type"], words in end["message"]) == ("api_error", True)


def test_call_that_was_cut_in_the_middle_of_its_name_goes() -> None:
    events = convert(CONTEXT, sse(text("x"), calls(call("", id="c1", index=0)), chunk(finish="length")))
    assert (blocks(events), ending(events)["stop_reason"]) == ([["text", "x"]], "max_tokens")


@pytest.mark.parametrize(
    ("arguments", "expected"), [(A, ("tool_use", None)), ('{"a":"EN', ("stop_sequence", "END"))], ids=["whole", "cut"]
)
def test_whole_call_beats_a_stop_sequence_that_upstream_met(arguments: str, expected: tuple[str, str | None]) -> None:
    context = Context(model="m", stop_sequences=("END",), tools=frozenset({"f"}))
    last = chunk(finish="stop")
    last["choices"][0]["stop_reason"] = "END"
    events = convert(context, sse(calls(call(arguments, name="f", id="c1", index=0)), last))
    assert (ending(events)["stop_reason"], ending(events)["stop_sequence"]) == expected
    assert blocks(events) == [f(arguments)]


def many(kind: str, n: int) -> list[dict[str, Any]]:
    first = call('{"code":"', name="f", id="c0", index=0)
    match kind:
        case "calls":
            return [call("{}", name="f", id=f"c{i}", index=i) for i in range(n)]
        case "calls without an index":
            return [call("{}", name="f", id=f"c{i}") for i in range(n)]
        case "unfinished calls":
            return [call('{"a', name="f", id=f"c{i}", index=i) for i in range(n)]
        case "fragments {}":
            return [first, *(call("{}", index=0) for _ in range(n)), call('"}', index=0)]
        case "fragments x} of two calls":
            return [first, call(A, name="g", id="c1", index=1), *(call("x}", index=0) for _ in range(n))]
        case "named fragments":
            return [first, *(call("x}", name="f", id="c0", index=0) for _ in range(n)), call('"}', index=0)]
        case "blank fragments":
            return [call(" ", name="f", id="c0", index=0), *(call(" ", name="f", index=0) for _ in range(n))]
        case _:
            calls_ = [call(A, name="f", id=f"c{i}", index=i) for i in range(1, n)]
            return [first, *calls_, *(call("x", index=n + i) for i in range(n))]


@pytest.mark.parametrize(
    "kind",
    [
        "calls",
        "calls without an index",
        "unfinished calls",
        "fragments {}",
        "fragments x} of two calls",
        "named fragments",
        "blank fragments",
        "stray fragments behind many calls",
    ],
)
def test_work_grows_with_the_number_of_fragments_and_not_with_its_square(kind: str) -> None:
    def steps(n: int) -> int:
        raw = sse(*(calls(item) for item in many(kind, n)), chunk(finish="length"))
        return count_steps(lambda: convert(CONTEXT, raw))

    assert steps(1200) < 2.6 * steps(600)
