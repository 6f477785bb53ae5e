"""Any JSON Schema, also a broken one, becomes one that the dialect's provider takes."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.providers.profiles import PROFILES
from ccproxy_middleware.conversion.schemas import DIALECTS, fit_format, fit_tool
from support.providers.schema_rules import faults

names = st.sampled_from(["a", "b", "c", "type", "required", "anyOf", "", "a/b", "é"])
words = st.sampled_from(["", "x", "^a$", "[a-z]+", r"^\d+$", "^(?!a).*$", "date-time", "uri", "uuid", "string"])
numbers = st.integers(-2, 5000) | st.sampled_from([0.5, 3.0, 1e300, True])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | words | st.sampled_from([1.5, [], {}, [1], {"a": 1}])
types = st.sampled_from(
    ["string", "integer", "number", "boolean", "null", "object", "array", "", "any", "String", "int", 3, None]
)
references = st.sampled_from(
    [
        "#",
        "#/$defs/a",
        "#/$defs/b",
        "#/$defs/a/properties/b",
        "#/definitions/c",
        "#/properties/a",
        "#/$defs/no",
        "http://x",
    ]
)


broken: st.SearchStrategy[Any] = st.sampled_from([None, True, [], {}, "x", 1])


def keywords(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    named = st.dictionaries(names, schemas, max_size=2)
    listed = st.lists(schemas, max_size=2)
    values: dict[str, st.SearchStrategy[Any]] = {
        "type": types | st.lists(types, max_size=3),
        "required": st.lists(names, max_size=3) | broken,
        "enum": st.lists(scalars, max_size=3) | broken,
        "const": scalars,
        "default": scalars,
        "$ref": references,
        "description": words | broken,
        "nullable": st.booleans(),
        "uniqueItems": st.booleans(),
        **dict.fromkeys(("properties", "$defs", "definitions", "patternProperties"), named),
        **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), listed),
        **dict.fromkeys(("items", "additionalProperties", "not", "if"), schemas),
        **dict.fromkeys(("pattern", "format", "title"), words),
        **dict.fromkeys(
            ("minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "multipleOf"), numbers
        ),
        **dict.fromkeys(("x-own", "minProperties"), scalars),
    }
    weighty = st.sampled_from(["type", "properties", "anyOf", "required", "$ref", "enum", "items", "allOf", "default"])
    keyword = weighty | st.sampled_from(list(values))
    pair = keyword.flatmap(lambda name: st.tuples(st.just(name), values[name]))
    wrong = st.tuples(keyword, broken)
    return st.lists(st.one_of(pair, pair, pair, pair, wrong), max_size=5).map(dict)


subschemas = st.recursive(st.booleans() | st.just({}) | keywords(st.just({})), keywords, max_leaves=8)
schemas = st.builds(
    lambda schema, definitions: {**schema, **definitions},
    keywords(subschemas),
    st.fixed_dictionaries({}, optional={"$defs": st.dictionaries(names, subschemas, max_size=3)}),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(schema=schemas)
def test_any_schema_becomes_one_that_the_provider_takes(dialect: str, schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    fitted = fit_tool(schema, dialect).schema
    assert faults(fitted, dialect) == []
    assert json.dumps(schema) == before
    assert len(json.dumps(fitted)) < 20 * len(before) + 20_000
    again = fit_tool(fitted, dialect)
    assert again.schema is fitted
    assert (again.note, again.changed) == (None, ())


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=50)
@given(schema=schemas)
@example({"patternProperties": {"a": {}}, "anyOf": [{"$ref": "#"}, False]})
@example(
    {"patternProperties": {"a": {}}, "anyOf": [{"$ref": "#"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "null"}}}
)
def test_fitted_schema_of_an_answer_is_fine(dialect: str, schema: dict[str, Any]) -> None:
    fitted = fit_format(schema, dialect).schema
    assert fit_format(fitted, dialect).schema is fitted, fitted


@given(schema=schemas, arguments=st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=3))
def test_arguments_come_back_as_they_are(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    request = {
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": "t", "input_schema": schema}],
    }  # fmt: skip
    context = convert_request(request, PROFILES["gemini"]).context
    call = {"id": "c", "type": "function", "function": {"name": "t", "arguments": json.dumps(arguments)}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = convert_response({"choices": [{"message": message, "finish_reason": "tool_calls"}]}, context)
    assert answer["content"][-1]["input"] == arguments
