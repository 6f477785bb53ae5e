"""Arguments that miss their schema only in how a value is written, whole and streamed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.conversion.anthropic.arguments import may_need_repair, repaired
from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import Profile, resolve_profile
from support.streams.chunks import blocks, call, calls, chunk, convert, sse


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


ARRAY = {"type": "array", "items": {"type": "object"}}
INTEGERS = {"type": "array", "items": {"type": "integer"}}
TODOS = [{"content": "a", "status": "pending"}]


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        (ARRAY, json.dumps(TODOS), TODOS),
        (ARRAY, " [] ", []),
        ({"type": "object"}, '{"a":1}', {"a": 1}),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "-12 ", -12),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "array", "items": {"type": "integer"}}, ["1", 2], [1, 2]),
        (schema(a={"type": "boolean"}), {"a": "true"}, {"a": True}),
        (schema(a={"type": "boolean"}), '{"a": "true"}', {"a": True}),
        # null beside it, as pydantic writes what may be left out, and references
        ({"type": ["integer", "null"]}, "5", 5),
        ({"type": ["integer", "null"]}, "null", None),
        ({"anyOf": [ARRAY, {"type": "null"}]}, json.dumps(TODOS), TODOS),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "null", None),
        ({"$ref": "#/properties/ints"}, '["1"]', [1]),
        ({"anyOf": [{"$ref": "#/properties/ints"}, {"type": "null"}]}, '["1"]', [1]),
        ({"type": "array", "items": {"$ref": "#/properties/ints/items"}}, ["1"], [1]),
        ({"type": "integer", "enum": [1, 5]}, "5", 5),
        ({"type": "boolean", "const": True}, "true", True),
        # left alone
        ({"type": ["string", "null"]}, "null", "null"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "null", "null"),
        ({"anyOf": [ARRAY, {"type": "object"}]}, "[1]", "[1]"),
        ({"type": "integer", "enum": [1, 2]}, "5", "5"),
        ({"$ref": "#/nowhere"}, "[1]", "[1]"),
        ({"$ref": "https://example.com/a.json"}, "[1]", "[1]"),
        ({"$ref": "#/properties/text"}, "[1]", "[1]"),
        (ARRAY, '{"a":1}', '{"a":1}'),
        (ARRAY, "[1, 2", "[1, 2"),
        ({"type": "object"}, "[1]", "[1]"),
        ({"type": "integer"}, "5.5", "5.5"),
        ({"type": "integer"}, "0x10", "0x10"),
        ({"type": "integer"}, "007", "007"),
        ({"type": "integer"}, "1" * 40, "1" * 40),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": "string"}, "[1]", "[1]"),
        ({"type": ["string", "array"]}, "[1]", "[1]"),
        ({"anyOf": [{"type": "array"}, {"type": "string"}]}, "[1]", "[1]"),
        ({"type": "integer", "enum": ["5"]}, "5", "5"),
        ({}, "[1]", "[1]"),
        (None, "[1]", "[1]"),
        ("odd", "[1]", "[1]"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_value_becomes_what_the_schema_asks_for(kind: Any, written: Any, read: Any, stream: bool) -> None:
    tool = {"name": "f", "input_schema": schema(v=kind, text={"type": "string"}, ints=INTEGERS)}
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    context = convert_request(request, Profile()).context
    assert run(context, {"v": written, "other": "1"}, stream) == {"v": read, "other": "1"}


def run(context: Context, arguments: Any, stream: bool) -> Any:
    text = json.dumps(arguments)
    if not stream:
        message = {"tool_calls": [call(text, name="f", id="c1")]}
        answer = convert_response({"choices": [{"message": message, "finish_reason": "tool_calls"}]}, context)
        return answer["content"][0]["input"]
    cut = len(text) // 2
    chunks = [calls(call(text[:cut], name="f", id="c1", index=0)), calls(call(text[cut:], index=0))]
    ((_, _, _, written),) = blocks(convert(context, sse(*chunks, chunk(finish="tool_calls"))))
    return json.loads(written)


@pytest.mark.parametrize(
    "written",
    [None, "null", " null ", ["nu", "ll"], "[]", ["[", "]"], '""', '"null"', "None", list("undefined"), '"{}"'],
)
@pytest.mark.parametrize("stream", [False, True])
def test_null_means_no_arguments(written: Any, stream: bool) -> None:
    context = Context(model="m", tools=frozenset({"f"}))
    pieces = written if isinstance(written, list) else [written]
    if stream:
        chunks = [calls(call(piece, name="f" if n == 0 else None, id="c1", index=0)) for n, piece in enumerate(pieces)]
        ((_, _, _, arguments),) = blocks(convert(context, sse(*chunks, chunk(finish="tool_calls"))))
        assert json.loads(arguments) == {}
    else:
        whole = None if written is None else "".join(pieces)
        message = {"tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": whole}}]}
        answer = convert_response({"choices": [{"message": message, "finish_reason": "tool_calls"}]}, context)
        assert answer["content"][0]["input"] == {}


@pytest.mark.parametrize("schemas", [{}, {"f": schema(n={"type": "integer"})}])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_object_inside_a_string_is_read_when_it_is_streamed(schemas: dict[str, Any], size: int) -> None:
    context = Context(model="m", tools=frozenset({"f"}), tool_schemas=schemas)
    text = json.dumps(json.dumps({"command": 'say "hi"'}))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    chunks = [calls(call(piece, name="f" if n == 0 else None, id="c1", index=0)) for n, piece in enumerate(pieces)]
    ((_, _, _, arguments),) = blocks(convert(context, sse(*chunks, chunk(finish="tool_calls"))))
    assert json.loads(arguments) == {"command": 'say "hi"'}


def test_placeholder_gives_way_when_the_real_arguments_follow() -> None:
    context = Context(model="m", tools=frozenset({"f"}))
    for placeholder in ("[]", '""', "null"):
        chunks = [calls(call(placeholder, name="f", id="c1", index=0)), calls(call('{"a":1}', index=0))]
        ((_, _, _, arguments),) = blocks(convert(context, sse(*chunks, chunk(finish="tool_calls"))))
        assert json.loads(arguments) == {"a": 1}


def test_groks_entities_are_read() -> None:
    schema_ = schema(command={"type": "string"})
    written = {"command": "source .env &amp;&amp; echo &quot;done&quot;", "list": ["&lt;"]}
    read = {"command": 'source .env && echo "done"', "list": ["<"]}
    assert repaired(written, schema_, resolve_profile("xai", {})) == read
    assert repaired(written, schema_, Profile()) is written


def test_call_that_was_cut_off_is_passed_on_as_it_came() -> None:
    context = Context(model="m", tools=frozenset({"f"}), tool_schemas={"f": schema(n={"type": "integer"})})
    cut = '{"p": "a", "n": "1'
    events = convert(context, sse(calls(call(cut, name="f", id="c1", index=0)), chunk(finish="length")))
    assert blocks(events) == [["tool_use", "c1", "f", cut]]


def test_only_tools_with_other_than_strings_are_held() -> None:
    assert not may_need_repair(schema(a={"type": "string"}, b={"enum": ["x"]}))
    assert may_need_repair(schema(a={"type": "string"}, b={"type": "integer"}))
    assert may_need_repair(schema(a=schema(b={"type": "boolean"})))


names = st.sampled_from(["type", "items", "properties", "a"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "items", "properties", "a"]), inner)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "type"]), json_values), json_values)
def test_no_schema_and_no_input_breaks_it(input_: dict[str, Any], odd: Any) -> None:
    may_need_repair(odd)
    assert repaired(input_, odd, Profile()).keys() == input_.keys()


@given(st.dictionaries(st.sampled_from(["a", "b"]), json_values))
def test_valid_values_stay_as_they_are(input_: dict[str, Any]) -> None:
    def kind(value: Any) -> dict[str, Any]:
        names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
        return {"type": names[type(value)]} if value is not None else {}

    fitting = schema(**{name: kind(value) for name, value in input_.items()})
    assert repaired(input_, fitting, Profile()) == input_
