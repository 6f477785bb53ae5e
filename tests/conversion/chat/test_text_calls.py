"""Tool calls that come as text, in the model's own form."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.chat.text_calls import TextCalls
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from support.streams.grammar import check_stream

TOOLS = [
    {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}},
    {
        "name": "Edit",
        "input_schema": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "lines": {"type": "array"}, "all": {"type": "boolean"}},
        },
    },
]

QWEN = '<tool_call>\n{"name": "Bash", "arguments": {"command": "ls"}}\n</tool_call>'
CODER = "<tool_call>\n<function=Bash>\n<parameter=command>\nls\n</parameter>\n</function>\n</tool_call>"
CODER_BARE = "<function=Bash>\n<parameter=command>\nls\n</parameter>\n</function>"
DSML = (
    '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="Bash">\n<｜DSML｜parameter name="command" string="true">ls'
    "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
)
INVOKE = (
    '<function_calls>\n<invoke name="Bash">\n<parameter name="command">ls</parameter>\n</invoke>\n</function_calls>'
)
LS = ("Bash", {"command": "ls"})
CALLS = [
    pytest.param(QWEN, "", [LS], id="qwen"),
    pytest.param(CODER, "", [LS], id="qwen-coder"),
    pytest.param(CODER_BARE, "", [LS], id="qwen-coder-without-outer-tag"),
    pytest.param(DSML, "", [LS], id="deepseek"),
    pytest.param(INVOKE, "", [LS], id="invoke"),
    pytest.param(f"I look.\n\n{QWEN}\n", "I look.\n\n", [LS], id="behind-text"),
    pytest.param(f"{QWEN}\n{QWEN}", "", [LS, LS], id="two"),
    pytest.param(f"a < b, <b>x</b> <tool> {CODER}", "a < b, <b>x</b> <tool> ", [LS], id="behind-other-tags"),
    pytest.param(
        "<tool_call>\n<function=Edit>\n<parameter=path>\na\n</parameter>\n<parameter=lines>\n[1, 2]\n</parameter>\n"
        "<parameter=all>\ntrue\n</parameter>\n</function>\n</tool_call>",
        "", [("Edit", {"path": "a", "lines": [1, 2], "all": True})], id="types-of-the-schema",
    ),
    pytest.param(
        '<function=Bash>\n<parameter=command>\n{"a": [1]}\n</parameter>\n</function>', "",
        [("Bash", {"command": '{"a": [1]}'})], id="json-that-is-a-string",
    ),
    pytest.param(
        '<｜DSML｜tool_calls><｜DSML｜invoke name="Edit"><｜DSML｜parameter name="lines" string="false">[1]'
        "</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜tool_calls>",
        "", [("Edit", {"lines": [1]})], id="deepseek-json",
    ),
]  # fmt: skip

TEXTS = [
    pytest.param(f"```\n{QWEN}\n```", id="in-a-fence"),
    pytest.param(f"{QWEN}\nThat is how it is written.", id="text-behind"),
    pytest.param(QWEN.replace("Bash", "Unknown"), id="tool-that-is-not-offered"),
    pytest.param(f"{QWEN}\n{QWEN.replace('Bash', 'Unknown')}", id="one-of-two-is-not-offered"),
    pytest.param("<tool_call>\n{broken\n</tool_call>", id="broken-json"),
    pytest.param('<tool_call>\n{"name": "Bash", "arguments": [1]}\n</tool_call>', id="no-object"),
    pytest.param(QWEN[:-5], id="cut"),
    pytest.param(
        '<tool_call>{"name": "Bash", "arguments": {"a": ' + "[" * 300 + "]" * 300 + "}}</tool_call>", id="too-deep"
    ),
    pytest.param("Use <tool_call", id="half-a-tag"),
    pytest.param("<tool_call>", id="a-tag-alone"),
    pytest.param("<function=", id="a-beginning-alone"),
    pytest.param("a < b and c > d", id="signs"),
]


def context(provider: str = "generic", stops: tuple[str, ...] = (), **options: Any) -> Context:
    request = {
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": TOOLS,
        "stop_sequences": list(stops),
    }  # fmt: skip
    return convert_request(request, resolve_profile(provider, {**options, "stop_limit": 0})).context


def whole(text: str, context: Context, finish: str = "stop", **message: Any) -> tuple[str, list[Any], str]:
    choice = {"index": 0, "message": {"content": text, **message}, "finish_reason": finish}
    answer = convert_response({"choices": [choice]}, context)
    return told(answer["content"], answer["stop_reason"])


def told(blocks: list[Any], reason: str) -> tuple[str, list[Any], str]:
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    return text, [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"], reason


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


def streamed(
    pieces: list[str], context: Context, finish: str = "stop", then: dict[str, Any] | None = None
) -> tuple[str, list[Any], str]:
    converter = StreamConverter(context, "req_1")
    frames: list[bytes] = []
    for piece in pieces:
        frames += converter.feed(event({"content": piece}))
    if then is not None:
        frames += converter.feed(event(then))
    frames += converter.feed(event({}, finish)) + converter.feed(b"data: [DONE]\n\n")
    assert converter.error is None
    events = check_stream(b"".join(frames))
    blocks: list[dict[str, Any]] = []
    for one in events:
        if one["type"] == "content_block_start":
            blocks.append({**one["content_block"], "json": ""})
        elif one["type"] == "content_block_delta":
            delta = one["delta"]
            blocks[-1]["text"] = blocks[-1].get("text", "") + delta.get("text", "")
            blocks[-1]["json"] += delta.get("partial_json", "")
    for block in blocks:
        block["input"] = json.loads(block["json"] or "{}")
    return told(blocks, events[-2]["delta"]["stop_reason"])


@pytest.mark.parametrize(("text", "shown", "calls"), CALLS)
def test_call_in_the_text_is_a_call(text: str, shown: str, calls: list[Any]) -> None:
    assert whole(text, context()) == (shown, calls, "tool_use")
    for size in (1, 2, 3, 7, 1000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert streamed(pieces, context()) == (shown, calls, "tool_use")


@pytest.mark.parametrize("text", TEXTS)
def test_other_text_stays_text(text: str) -> None:
    assert whole(text, context()) == (text, [], "end_turn")
    for size in (1, 5, 1000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert streamed(pieces, context()) == (text, [], "end_turn")


def test_calls_stay_text_where_the_switch_is_off() -> None:
    off = context(text_calls=False)
    assert whole(QWEN, off) == (QWEN, [], "end_turn")
    assert streamed([QWEN], off) == (QWEN, [], "end_turn")


def test_text_beside_calls_that_the_server_has_read_stays_text() -> None:
    call = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "Bash", "arguments": '{"command": "pwd"}'}}]}
    expected = (QWEN, [("Bash", {"command": "pwd"})], "tool_use")
    assert whole(QWEN, context(), "tool_calls", **call) == expected
    assert streamed([QWEN], context(), "tool_calls", call) == expected


def test_nothing_is_lost_when_a_stop_sequence_ends_the_text() -> None:
    stopping = context(stops=("END",))
    text = "<tool_call>\n{"
    assert whole(text + "END more", stopping) == (text, [], "stop_sequence")
    assert streamed([text, "END more"], stopping) == (text, [], "stop_sequence")


def test_text_that_comes_before_a_refusal_or_a_cut_is_shown() -> None:
    assert streamed(["<tool_call>\n{"], context(), "length") == ("<tool_call>\n{", [], "max_tokens")
    assert streamed(["<tool_call>"], context(), "stop", {"refusal": "No."})[0] == "<tool_call>No."


def test_held_text_is_bounded() -> None:
    calls = TextCalls(["Bash"])
    assert calls.feed("<tool_call>") == ""
    shown = "".join(calls.feed("x" * 100_000) for _ in range(12))
    assert len(shown) > 1_000_000
    rest, found = calls.finish()
    assert (len(shown) + len(rest), found) == (len("<tool_call>") + 1_200_000, [])


@pytest.mark.parametrize(
    "piece",
    ["<parameter=a>", "<tool_call>", "<function=Bash>", " ", "\n", "</function>", '<invoke name="Bash">', "{", "<"],
)
def test_hostile_text_is_read_in_proportion_to_its_length(piece: str) -> None:
    """Each is given back whole; what would take a square of time would not come to its end here."""
    calls = TextCalls(["Bash"])
    shown = calls.feed("<tool_call><function=Bash>") + "".join(calls.feed(piece * 10) for _ in range(9000))
    rest, found = calls.finish()
    assert (len(shown) + len(rest), found) == (len("<tool_call><function=Bash>") + 90_000 * len(piece), [])


def test_answer_of_a_call_alone_is_an_answer_without_a_reason_to_stop() -> None:
    converter = StreamConverter(context(), "req_1")
    frames = converter.feed(event({"content": QWEN})) + converter.feed(b"data: [DONE]\n\n")
    assert converter.error is None
    assert b'"tool_use"' in b"".join(frames)
