"""Tool calls that come as text, in the model's own form."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_middleware.conversion.apis import APIS, convert_request
from ccproxy_middleware.conversion.context import Api, Context
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from ccproxy_middleware.conversion.text_calls import TextCalls
from support.text_calls import (
    BARE_FORMS,
    JSON_FORMS,
    TEXT_FORMS,
    TOOLS,
    Told,
    chunk,
    context,
    qwen,
    streamed,
    whole,
)

SCHEMAS = {str(tool["name"]): tool["input_schema"] for tool in TOOLS}
APIS_ASKED: tuple[Api, ...] = ("chat", "responses")
CONTEXTS: dict[Api, Context] = {api: context(api) for api in APIS_ASKED}
QWEN = qwen("Bash", '{"command": "ls"}')
LS = ("Bash", {"command": "ls"})


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def check(text: str, expected: Told, *, sizes: tuple[int, ...] = (1, 2, 3, 7, 1000)) -> None:
    """The same of both APIs, whole and cut in any way."""
    for api, known in CONTEXTS.items():
        assert whole(text, known) == expected, api
        for size in sizes:
            assert streamed(cut(text, size), known) == expected, (api, size)


@pytest.mark.parametrize("before", ["", "I look.\n\n", "a < b, [x]\n```py\nx = {}\n```\n  "])
@pytest.mark.parametrize("form", JSON_FORMS)
def test_call_with_json_is_a_call(form: str, before: str) -> None:
    write = JSON_FORMS[form]
    check(before + write("Bash", '{"command": "ls"}'), (before, [LS], "tool_use"))
    nested = '{"lines": [1, {"a": "}\\"</tool_call>"}], "count": -2.5e3, "map": {}, "all": null, "path": "\\u00e9<"}'
    values = {"lines": [1, {"a": '}"</tool_call>'}], "count": -2500.0, "map": {}, "all": None, "path": "é<"}
    check(before + write("Edit", nested) + "\n", (before, [("Edit", values)], "tool_use"))


@pytest.mark.parametrize("form", BARE_FORMS)
def test_json_is_a_call_where_it_is_the_whole_answer(form: str) -> None:
    text = BARE_FORMS[form]("Bash", '{"command": "ls"}')
    check(text, ("", [LS], "tool_use"))
    check(f"{text}\n", ("", [LS], "tool_use"))
    assert whole(f" \n{text}", CONTEXTS["chat"])[1:] == ([LS], "tool_use")
    for other in (f"Here:\n{text}", f"{text}\nThat is it.", f"```json\n{text}\n```", f"{text},"):
        check(other, (other, [], "end_turn"))


@pytest.mark.parametrize("before", ["", "I look.\n\n"])
@pytest.mark.parametrize("form", TEXT_FORMS)
def test_values_in_text_have_the_types_of_the_schema(form: str, before: str) -> None:
    write = TEXT_FORMS[form]
    check(before + write("Bash", command='{"a": [1]}'), (before, [("Bash", {"command": '{"a": [1]}'})], "tool_use"))
    values = {
        "path": "a\n\n b<c>", "lines": "[1, 2]", "all": "True", "count": "12", "map": '{"a": "1"}', "maybe": "null",
        "unknown": "7",
    }  # fmt: skip
    typed = {"lines": [1, 2], "all": True, "count": 12, "map": {"a": "1"}, "maybe": None}
    check(before + write("Edit", **values), (before, [("Edit", {**values, **typed})], "tool_use"))
    odd = {"lines": "[1", "count": "many", "all": "perhaps"}
    check(write("Edit", **odd), ("", [("Edit", odd)], "tool_use"))
    check(write("BashOutput"), ("", [("BashOutput", {})], "tool_use"))


def test_types_do_not_depend_on_the_repair_of_the_servers_calls() -> None:
    known = context(repair_arguments=False)
    text = TEXT_FORMS["qwen-coder"]("Edit", count="3")
    assert whole(text, known) == streamed(cut(text, 5), known) == ("", [("Edit", {"count": 3})], "tool_use")


def test_deepseek_says_which_values_are_json() -> None:
    call = (
        '<｜DSML｜tool_calls><｜DSML｜invoke name="Edit"><｜DSML｜parameter name="lines" string="false">[1]'
        '</｜DSML｜parameter><｜DSML｜parameter name="path" string="false">12</｜DSML｜parameter>'
        '<｜DSML｜parameter name="other" string="false">true</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜tool_calls>'
    )
    check(call, ("", [("Edit", {"lines": [1], "path": "12", "other": True})], "tool_use"))


SEVERAL = [
    f"{QWEN}\n{QWEN}",
    "<function_calls>\n" + TEXT_FORMS["invoke-bare"]("Bash", command="ls") * 2 + "\n</function_calls>",
    '[TOOL_CALLS][{"name": "Bash", "arguments": {"command": "ls"}}, {"name": "Bash", "arguments": {"command": "ls"}}]',
    '[TOOL_CALLS]Bash[ARGS]{"command": "ls"}[TOOL_CALLS]Bash[ARGS]{"command": "ls"}',
    "<|python_tag|>" + "; ".join(['{"name": "Bash", "parameters": {"command": "ls"}}'] * 2),
    '{"name": "Bash", "parameters": {"command": "ls"}}; {"name": "Bash", "parameters": {"command": "ls"}}',
    QWEN + TEXT_FORMS["qwen-coder"]("Bash", command="ls"),
]


@pytest.mark.parametrize("text", SEVERAL)
def test_several_calls_are_several(text: str) -> None:
    check(text, ("", [LS, LS], "tool_use"))


TEXTS = [
    pytest.param(f"```\n{QWEN}\n```", id="in-a-fence"),
    pytest.param(f"~~~~ xml\n```\n{QWEN}", id="in-a-fence-of-tildes"),
    pytest.param(f"````\n```\n{QWEN}\n", id="in-a-longer-fence"),
    pytest.param(f"   ```\n{QWEN}", id="in-a-fence-that-is-open"),
    pytest.param(f"Like this:\n\n    {QWEN}", id="in-an-indented-block"),
    pytest.param(f"You write {QWEN}", id="in-mid-sentence"),
    pytest.param(f"> {QWEN}", id="in-a-quotation"),
    pytest.param(f"- {QWEN}", id="in-a-list"),
    pytest.param(f"`{QWEN}`", id="in-backticks"),
    pytest.param(f"{QWEN}\nThat is how it is written.", id="text-behind"),
    pytest.param(f"{QWEN}.", id="a-dot-behind"),
    pytest.param(QWEN.replace("Bash", "Unknown"), id="tool-that-is-not-offered"),
    pytest.param(QWEN.replace("Bash", "bash"), id="tool-in-another-case"),
    pytest.param(f"{QWEN}\n{QWEN.replace('Bash', 'Unknown')}", id="one-of-two-is-not-offered"),
    pytest.param("<function=Bashes>{}</function>", id="longer-name"),
    pytest.param("[TOOL_CALLS]Bashes{}", id="longer-name-behind-a-mark"),
    pytest.param("<tool_call>\n{broken\n</tool_call>", id="broken-json"),
    pytest.param('<tool_call>\n{"name": "Bash", "arguments": {"a": 01}}\n</tool_call>', id="broken-number"),
    pytest.param('<tool_call>\n{"name": "Bash", "arguments": {"a": "\n"}}\n</tool_call>', id="broken-string"),
    pytest.param('<tool_call>\n{"name": "Bash", "arguments": {"a": 1,}}\n</tool_call>', id="comma-too-many"),
    pytest.param('<tool_call>\n{"name": "Bash", "arguments": [1]}\n</tool_call>', id="no-object"),
    pytest.param('{"name": "Bash"}', id="json-without-arguments"),
    pytest.param('{"name": "Bash", "parameters": {}, "age": 7}', id="json-of-something-else"),
    pytest.param('[TOOL_CALLS] are what Mistral writes', id="text-about-a-mark"),
    pytest.param('<|python_tag|>print("Bash")', id="code-behind-a-mark"),
    pytest.param(QWEN[:-5], id="cut"),
    pytest.param(
        '<tool_call>{"name": "Bash", "arguments": {"a": ' + "[" * 300 + "]" * 300 + "}}</tool_call>", id="too-deep"
    ),
    pytest.param("Use <tool_call", id="half-a-tag"),
    pytest.param("<tool_call>", id="a-tag-alone"),
    pytest.param("<function=", id="a-beginning-alone"),
    pytest.param("</tool_calls>\n<|im_end|>", id="marks-around-nothing"),
    pytest.param("a < b and c > d", id="signs"),
    pytest.param("[\n<\n{\n", id="first-characters"),
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_other_text_stays_text(text: str) -> None:
    check(text, (text, [], "end_turn"), sizes=(1, 5, 1000))


def test_call_behind_what_looked_like_one_is_a_call() -> None:
    before = '<tool_call>\n{"name": "Unknown", "arguments": {}}\n</tool_call>\n'
    check(f"{before}{QWEN}", (before, [LS], "tool_use"))
    check(f"```\nx\n```\n```\n{QWEN}\n```\n{QWEN}", (f"```\nx\n```\n```\n{QWEN}\n```\n", [LS], "tool_use"))


HOLDS = {
    "<tool_call>\n": '{"name": "Unknown"',
    "<tool_call>": "x",
    "<function=Ba": "r",
    "<invoke name=": "'",
    '<tool_call>{"name": "Bash", "arguments": ': "x,",
    "[TOOL_CALLS]": "[1",
    '{"name": "Bash", "': 'age":',
    "<tool_call>\n" * 3: "Hello",
    f"{QWEN}\n": "A",
}


@pytest.mark.parametrize("beginning", HOLDS)
def test_what_can_be_no_call_any_more_is_shown_at_once(beginning: str) -> None:
    calls = TextCalls(SCHEMAS, "all")
    shown = "".join(map(calls.feed, beginning))
    assert (shown, calls.holds) == ("", True)
    assert "".join(map(calls.feed, HOLDS[beginning])).startswith(beginning)


def test_text_passes_as_it_comes() -> None:
    calls = TextCalls(SCHEMAS, "all")
    pieces = ["Hel", "lo, ", "a<b\n", " ", "x", "\n\n``", "`\n<tool", "_call>\n"]
    assert [calls.feed(piece) for piece in pieces] == pieces


def read(**options: Any) -> dict[str, bool]:
    forms = resolve_profile("generic", options).text_forms
    if forms is None:
        return {}
    found = {}
    for name, write in {**JSON_FORMS, **BARE_FORMS}.items():
        calls = TextCalls(SCHEMAS, forms)
        calls.feed(write("Bash", "{}"))
        found[name] = bool(calls.finish()[1])
    return found


def test_switches_say_which_forms_are_read() -> None:
    assert all(read(text_tool_calls="auto").values())
    assert all(read(text_tool_calls="auto", text_calls=False).values())
    tags = {name for name, is_call in read().items() if is_call}
    assert tags == {"qwen", "llama-function"}
    assert read(text_calls=False) == read(text_tool_calls="off") == {}
    assert read(text_tool_calls="off", text_calls=True) == {}


def test_calls_stay_text_where_the_switch_is_off() -> None:
    for api in CONTEXTS:
        off = context(api, text_tool_calls="off")
        assert whole(QWEN, off) == streamed([QWEN], off) == (QWEN, [], "end_turn")


def test_calls_stay_text_where_the_client_wants_none() -> None:
    for api in CONTEXTS:
        none = context(api, choice={"type": "none"})
        assert whole(QWEN, none) == streamed([QWEN], none) == (QWEN, [], "end_turn")


def test_text_beside_calls_that_the_server_has_read_stays_text() -> None:
    call = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "Bash", "arguments": '{"command": "pwd"}'}}]}
    expected = (QWEN, [("Bash", {"command": "pwd"})], "tool_use")
    assert whole(QWEN, context(), "tool_calls", **call) == expected
    assert streamed([QWEN], context(), "tool_calls", call) == expected


def test_shortened_name_becomes_the_clients_again() -> None:
    name = "mcp__" + "x" * 80
    tools = [{"name": name, "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}]

    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    converted = convert_request(request, resolve_profile("generic", {"text_tool_calls": "auto"}))
    short = converted.body["tools"][0]["function"]["name"]
    text = TEXT_FORMS["qwen-coder"](short, n="4")
    assert short != name
    assert (
        whole(text, converted.context)
        == streamed(cut(text, 9), converted.context)
        == ("", [(name, {"n": 4})], "tool_use")
    )


def test_nothing_is_lost_when_a_stop_sequence_ends_the_text() -> None:
    for api in CONTEXTS:
        stopping = context(api, stops=("END",))
        text = "<tool_call>\n{"
        assert whole(text + "END more", stopping) == (text, [], "stop_sequence")
        assert streamed([text, "END more"], stopping) == (text, [], "stop_sequence")


def test_text_that_comes_before_a_refusal_or_a_cut_is_shown() -> None:
    assert streamed(["<tool_call>\n{"], context(), "length") == ("<tool_call>\n{", [], "max_tokens")
    assert streamed(["<tool_call>"], context(), "stop", {"refusal": "No."})[0] == "<tool_call>No."


def test_held_text_is_bounded() -> None:
    calls = TextCalls(SCHEMAS, "all")
    assert calls.feed("<function=Bash><parameter=command>") == ""
    shown = "".join(calls.feed("x" * 100_000) for _ in range(12))
    assert len(shown) > 1_000_000
    rest, found = calls.finish()
    assert (len(shown) + len(rest), found) == (len("<function=Bash><parameter=command>") + 1_200_000, [])


HOSTILE = [
    "<parameter=a>", "<tool_call>", "<function=Bash>", " ", "\n", "</function>", '<invoke name="Bash">', "{", "<",
    "<tool_call>\n", "<function=Bash>\n<parameter=a>\n", '<tool_call>{"name":"Bash","arguments":{"a":"\n', "[[\n",
    "```\n", "[TOOL_CALLS]\n",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_is_read_in_proportion_to_its_length(piece: str) -> None:
    """Each is given back whole; what would take a square of time would not come to its end here."""
    beginning = "<tool_call><function=Bash>"
    calls = TextCalls(SCHEMAS, "all")
    shown = calls.feed(beginning) + "".join(calls.feed(piece * 10) for _ in range(5000))
    rest, found = calls.finish()
    assert (len(shown) + len(rest), found) == (len(beginning) + 50_000 * len(piece), [])


def test_answer_of_a_call_alone_is_an_answer_without_a_reason_to_stop() -> None:
    converter = APIS["chat"].stream(context(), "req_1")
    frames = converter.feed(chunk({"content": QWEN})) + converter.feed(b"data: [DONE]\n\n")
    assert converter.error is None
    assert b'"tool_use"' in b"".join(frames)


# Any text, cut anywhere

NAMES = st.sampled_from(["Bash", "Edit", "BashOutput", "Other"])
VALUES = st.text(st.sampled_from('ab \n"\\<>{}`é｜'), max_size=12)
ARGUMENTS = st.sampled_from(
    ['{"command": "ls"}', "{}", '{"path": "a\\n", "count": 3}', '{"a": [1, {"b": null}]}', "{", "[1]", '{"a": 1,}']
)
JSON_CALLS = st.builds(
    lambda form, name, arguments: form(name, arguments),
    st.sampled_from([*JSON_FORMS.values(), *BARE_FORMS.values()]),
    NAMES,
    ARGUMENTS,
)
TEXT_CALLS = st.builds(
    lambda form, name, command: form(name, command=command), st.sampled_from([*TEXT_FORMS.values()]), NAMES, VALUES
)
PROSE = st.one_of(
    st.text(st.sampled_from("ab <>[]{}`~\n\t\"'=/|｜"), max_size=20),
    st.sampled_from(
        [
            "\n",
            "```\n",
            "```",
            "    ",
            "<tool_call>",
            "</tool_call>",
            "[TOOL_CALLS]",
            "<function=Bash>",
            "{",
            '{"name": ',
        ]
    ),
)
TEXT = st.lists(st.one_of(JSON_CALLS, TEXT_CALLS, PROSE), max_size=5).map("".join)


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(TEXT)
    places = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=30)))
    return text, [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@settings(max_examples=400, deadline=None)
@given(cut_texts())
def test_answer_is_the_same_however_its_text_is_cut(given: tuple[str, list[str]]) -> None:
    text, pieces = given
    together = TextCalls(SCHEMAS, "all")
    shown = together.feed(text)
    rest, calls = together.finish()
    assert text.startswith(shown + rest)
    assert calls or shown + rest == text
    apart = TextCalls(SCHEMAS, "all")
    shown_apart = "".join(map(apart.feed, pieces))
    rest_apart, calls_apart = apart.finish()
    assert (shown_apart + rest_apart, calls_apart) == (shown + rest, calls)


@settings(max_examples=150, deadline=None)
@given(cut_texts(), st.sampled_from(["chat", "responses"]))
def test_client_gets_the_same_whole_and_streamed(given: tuple[str, list[str]], api: Api) -> None:
    text, pieces = given
    if text:
        expected_text, *expected = whole(text, CONTEXTS[api])
        found_text, *found = streamed([piece for piece in pieces if piece], CONTEXTS[api])
        assert found == expected
        assert found_text.strip() == expected_text.strip()
