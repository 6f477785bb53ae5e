"""Each rule of each dialect, at any level; what is lost stands in the description."""

import json
import time
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from ccproxy_middleware.conversion.schemas import DIALECTS, Allowance, fit_format, fit_tool
from ccproxy_middleware.toolkit.json import dumps
from support.providers.schema_rules import faults

STRING = {"type": "string"}
OBJECT = {"type": "object", "properties": {}}
ANY_TYPE = ["string", "number", "integer", "boolean", "object", "array", "null"]
TREE = {
    "type": "object",
    "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "required": ["children"],
}
LINKED = {"type": "object", "properties": {"next": {"$ref": "#/$defs/linked"}}}


def noted(schema: dict[str, Any], lost: str) -> dict[str, Any]:
    return {**schema, "description": f"JSON Schema: {lost}"}


# dialect, what a property is before, and after
RULES: list[tuple[str, Any, Any]] = [
    # Values of a wrong type, everywhere
    ("openai", {"type": "object", "properties": None, "required": None}, {"type": "object"}),
    ("openai", {"type": "String", "enum": [], "description": None}, STRING),
    ("openai", {"type": ""}, {}),
    ("openai", {"type": ["int", "null", "", "null"]}, {"type": ["integer", "null"]}),
    ("openai", {"type": "integer", "minimum": "1"}, noted({"type": "integer"}, '{"minimum":"1"}')),
    ("openai", {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
     {"type": "integer", "minimum": 1, "exclusiveMinimum": 1}),
    ("openai", {"type": "object", "properties": {"a": {"type": "string", "required": True}}},
     {"type": "object", "properties": {"a": STRING}, "required": ["a"]}),
    ("openai", {"type": "object", "properties": {"a": None}, "required": ["a", "a", None]},
     {"type": "object", "properties": {"a": {}}, "required": ["a"]}),
    ("openai", {"type": "array", "items": [STRING, {"type": "integer"}]},
     {"type": "array", "items": {"anyOf": [STRING, {"type": "integer"}]}}),
    ("openai", {"$ref": "#/$defs/gone"}, noted({"type": "object"}, '{"$ref":"#/$defs/gone"}')),
    ("openai", {"type": "string", "maxLength": 1e300}, None),
    ("openai", {"type": "string", "minLength": 1.0}, {"type": "string", "minLength": 1}),
    # OpenAI
    ("openai", {"type": "array"}, {"type": "array", "items": {}}),
    ("openai", {"anyOf": [{"type": ["array", "null"]}]}, {"anyOf": [{"type": ["array", "null"], "items": {}}]}),
    # Gemini
    ("gemini", {"type": "array"}, {"type": "array", "items": STRING}),
    ("gemini", {"type": "string", "items": STRING}, STRING),
    ("gemini", {"type": "integer", "properties": {"x": STRING}, "required": ["x"]}, {"type": "integer"}),
    ("gemini", {"type": "array", "items": STRING, "properties": {}}, {"type": "array", "items": STRING}),
    ("gemini", {"type": "integer", "enum": [1, 2]}, noted({"type": "integer"}, '{"enum":[1,2]}')),
    ("gemini", {"type": "string", "enum": [1, "", None]},
     {"type": "string", "enum": ["1"], "nullable": True, "description": 'JSON Schema: {"enum":[1,"",null]}'}),
    ("gemini", {"type": "boolean", "const": True}, noted({"type": "boolean"}, '{"enum":[true]}')),
    ("gemini", {"enum": ["a", "b"]}, {"enum": ["a", "b"], "type": "string"}),
    ("gemini", {"type": ["object", "null"], "properties": {"a": STRING}},
     {"type": "object", "properties": {"a": STRING}, "nullable": True}),
    ("gemini", {"type": ["string", "number"], "minimum": 1, "description": "d"},
     {"anyOf": [{"type": "string", "description": "d"}, {"type": "number", "minimum": 1}]}),
    ("gemini", {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None, "title": "N"},
     {"title": "N", "nullable": True, "type": "integer"}),
    ("gemini", {"oneOf": [STRING, {"type": "array", "items": STRING}, {"type": "null"}]},
     {"anyOf": [{"type": "string", "nullable": True}, {"type": "array", "items": STRING}]}),
    ("gemini", {"allOf": [{"type": "object", "properties": {"a": STRING}, "required": ["a"]},
                          {"properties": {"b": {}}, "required": ["b"]}]},
     {"type": "object", "properties": {"a": STRING, "b": {}}, "required": ["a", "b"]}),
    ("gemini", {"type": "object", "properties": {"a": STRING}, "required": ["a", "z"]},
     noted({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, '{"required":["z"]}')),
    ("gemini", {"type": "number", "exclusiveMinimum": 0, "multipleOf": 5, "description": "Step."},
     {"type": "number", "description": 'Step.\nJSON Schema: {"exclusiveMinimum":0,"multipleOf":5}'}),
    ("gemini", {"type": "object", "properties": {}, "if": {}, "not": STRING, "additionalProperties": False},
     noted({"type": "object", "properties": {}}, '{"not":{"type":"string"}}')),
    ("gemini", {"$ref": "#/$defs/tree"},
     {"type": "object", "required": ["children"], "properties": {"children": {
         "type": "array", "items": noted({"type": "object"}, '{"$ref":"#/$defs/tree"}')}}}),
    ("gemini", {"type": "array", "prefixItems": [STRING, {"type": "integer"}], "items": False},
     {"type": "array", "items": {"anyOf": [STRING, {"type": "integer"}]},
      "description": 'JSON Schema: {"prefixItems":[{"type":"string"},{"type":"integer"}]}'}),
    ("gemini", {"anyOf": [{}, STRING], "const": None}, None),
    # Moonshot
    ("moonshot", {"type": ["string", "null"], "minLength": 1, "default": "a"},
     noted({"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}, '{"default":"a"}')),
    ("moonshot", {"type": "string", "anyOf": [{"minLength": 2}, {"pattern": "^a$"}]},
     {"anyOf": [{"type": "string", "minLength": 2}, {"type": "string", "pattern": "^a$"}]}),
    ("moonshot", {"type": "object", "properties": {"a": STRING}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
     noted({"type": "object", "properties": {"a": STRING}}, '{"anyOf":[{"required":["a"]},{"required":["b"]}]}')),
    ("moonshot", {"$ref": "#/$defs/text", "description": "d"}, {"description": "d", "type": "string"}),
    ("moonshot", {"$ref": "#/definitions/old"}, {"type": "integer"}),
    ("moonshot", {"$ref": "#/$defs/linked"}, {"$ref": "#/$defs/linked"}),
    ("moonshot", {"type": ["string", "null"], "enum": ["a", None]},
     {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null", "enum": [None]}]}),
    ("moonshot", {"type": ["string", "null"], "description": "d"}, {"type": ["string", "null"], "description": "d"}),
    ("moonshot", {"type": "string", "minItems": 1, "format": "uri"}, noted(STRING, '{"format":"uri"}')),
    ("moonshot", {"type": "object", "properties": {"$ref": STRING}},
     noted(OBJECT, '{"properties":{"$ref":{"type":"string"}}}')),
    ("moonshot", {"type": "integer", "minimum": 3, "maximum": 1},
     noted({"type": "integer"}, '{"maximum":1,"minimum":3}')),
    # Grammars
    ("llama.cpp", {"type": "string", "pattern": "[a-z]+"}, noted(STRING, '{"pattern":"[a-z]+"}')),
    ("llama.cpp", {"type": "string", "pattern": r"^\d$"}, noted(STRING, r'{"pattern":"^\\d$"}')),
    ("llama.cpp", {"pattern": "^[A-Z]{2}-[0-9]+$"}, {"pattern": "^[A-Z]{2}-[0-9]+$", "type": "string"}),
    ("llama.cpp", {"type": "string", "maxLength": 65536}, noted(STRING, '{"maxLength":65536}')),
    ("llama.cpp", {"description": "d"}, {"description": "d", "type": ANY_TYPE}),
    ("llama.cpp", {"type": "array", "prefixItems": [STRING], "items": False},
     {"type": "array", "prefixItems": [STRING]}),
    ("llama.cpp", {"type": "array", "items": True}, {"type": "array", "items": {}}),
    ("xgrammar", {"type": "array", "uniqueItems": True}, noted({"type": "array"}, '{"uniqueItems":true}')),
    ("xgrammar", {"type": "string", "format": "color"}, noted(STRING, '{"format":"color"}')),
    ("xgrammar", {"type": "string", "pattern": "^a$", "maxLength": 3},
     {"type": "string", "pattern": "^a$", "description": 'JSON Schema: {"maxLength":3}'}),
]  # fmt: skip


@pytest.mark.parametrize("level", ["property", "item", "branch"])
@pytest.mark.parametrize(("dialect", "before", "after"), RULES, ids=lambda value: str(value)[:60])
def test_rule_holds_at_every_level(dialect: str, before: Any, after: Any, level: str) -> None:
    def placed(schema: Any) -> dict[str, Any]:
        if level == "item":
            schema = {"type": "array", "items": schema}
        elif level == "branch":
            schema = {"anyOf": [{"type": "boolean"}, schema]}
        return {"type": "object", "properties": {"p": {"type": "object", "properties": {"q": schema}}}}

    definitions = {
        "$defs": {"tree": TREE, "linked": LINKED, "text": STRING}, "definitions": {"old": {"type": "integer"}},
    }  # fmt: skip
    fitted = fit_tool({**placed(before), **definitions}, dialect).schema
    assert faults(fitted, dialect) == []
    assert fit_tool(fitted, dialect).schema is fitted
    assert dumps(fitted)
    if after is not None and (level != "branch" or "anyOf" not in after):
        assert fitted["properties"] == placed(after)["properties"]


FINE = [
    ("openai", {**OBJECT, "properties": {"a": {"oneOf": [STRING, {"const": 1}], "x-own": 1}}, "if": {}, "then": False}),
    ("openai", {**OBJECT, "properties": {"a": {"$ref": "#/$defs/linked"}}, "$defs": {"linked": LINKED}}),
    ("gemini", {**OBJECT, "properties": {"a": {"anyOf": [STRING, {"type": "array", "items": {}}]}}}),
    ("moonshot", {**OBJECT, "properties": {"a": {"$ref": "#/$defs/linked"}}, "$defs": {"linked": LINKED}}),
    ("llama.cpp", {**OBJECT, "properties": {"a": {"type": "string", "pattern": "^a+$"}, "b": {}}}),
    ("xgrammar", {**OBJECT, "properties": {"a": {"type": "string", "format": "uuid"}, "b": True}}),
    ("full", {"anyOf": [{"type": "array"}], "properties": None}),
]


@pytest.mark.parametrize(("dialect", "schema"), FINE)
def test_schema_that_is_fine_passes_as_it_is(dialect: str, schema: dict[str, Any]) -> None:
    fitted = fit_tool(schema, dialect)
    assert fitted.schema is schema
    assert (fitted.note, fitted.changed) == (None, ())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("schema", "properties"),
    [
        ({}, set()),
        ({"type": ["object", "null"]}, set()),
        ({"type": "string"}, set()),
        ({"$ref": "#"}, set()),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"x": STRING}}}}, {"x"}),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"properties": {"x": STRING}, "required": ["x"]}}}, {"x"}),
        ({"oneOf": [{"properties": {"x": STRING}}, {"anyOf": [{"properties": {"y": {}}}]}, True, 3]}, {"x", "y"}),
        ({"anyOf": None, "enum": 3, "not": {}}, set()),
    ],
)
def test_root_becomes_one_object(dialect: str, schema: dict[str, Any], properties: set[str]) -> None:
    fitted = fit_tool(schema, dialect)
    assert faults(fitted.schema, dialect) == []
    assert fitted.schema["properties"].keys() == properties


def test_required_of_all_of_stays_at_the_root() -> None:
    schema = {"allOf": [{"properties": {"a": STRING}, "required": ["a"]}], "anyOf": [{"required": ["b"]}]}
    assert fit_tool(schema, "openai").schema["required"] == ["a"]


def test_schema_of_an_answer_may_be_of_any_type() -> None:
    schema = {"type": "array", "items": {"type": ["string", "null"]}}
    assert fit_format(schema, "openai").schema is schema
    assert fit_format(schema, "gemini").schema == {"type": "array", "items": {"type": "string", "nullable": True}}


def wide(definition: dict[str, Any], number: int) -> dict[str, Any]:
    references = {f"p{n}": {"$ref": "#/$defs/d"} for n in range(number)}
    return {"type": "object", "properties": references, "$defs": {"d": definition}}


def doubling(levels: int) -> dict[str, Any]:
    inner = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2, "type": "object"} for n in range(levels)}
    return {**OBJECT, "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**inner, f"d{levels}": STRING}}


@pytest.mark.parametrize("dialect", ["gemini", "moonshot"])
@pytest.mark.parametrize(
    "schema",
    [
        wide({"type": "string", "description": "d" * 100_000}, 4900),
        wide({"type": "string", "description": "d" * 1000}, 4900),
        doubling(60),
        {**OBJECT, "properties": {"a": {
            "type": "object", "properties": {f"p{n}": STRING for n in range(2000)},
            "anyOf": [{"properties": {f"q{n}": {}}} for n in range(2000)]}}},
        {"type": "object", "properties": {"a": {"type": "integer", "enum": list(range(1_000_000))}}},
    ],
    ids=["large definition", "many references", "doubling", "branches", "enum"],
)  # fmt: skip
def test_fitted_schema_has_a_budget(dialect: str, schema: dict[str, Any]) -> None:
    fitted = fit_tool(schema, dialect).schema
    assert len(dumps(fitted)) < 2 * len(dumps(schema)) + 600_000


def test_budget_is_shared_by_the_tools_of_a_request() -> None:
    allowance = Allowance()
    hostile = wide({"type": "string", "description": "d" * 10_000}, 300)
    sizes = [len(dumps(fit_tool(hostile, "gemini", allowance).schema)) for _ in range(50)]
    assert sum(sizes) < 2 * 1024 * 1024 + 50 * 40_000
    small = fit_tool(wide({**STRING, "description": "small"}, 2), "gemini", Allowance(20_000)).schema
    assert small["properties"]["p1"] == {"type": "string", "description": "small"}


def nested(levels: int, keyword: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": ["array", "null"], "items": schema} if keyword == "items" else {keyword: [schema, schema]}
    return {**OBJECT, "properties": {"a": schema}}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("schema", [nested(190, "items"), nested(9, "anyOf"), nested(9, "allOf")])
def test_deep_schema_comes_to_an_end(dialect: str, schema: dict[str, Any]) -> None:
    fitted = fit_tool(schema, dialect).schema
    assert faults(fitted, dialect) == []
    assert len(dumps(fitted)) < 3 * len(dumps(schema)) + 1000


@pytest.mark.parametrize("dialect", DIALECTS)
def test_work_grows_with_the_schema(dialect: str) -> None:
    def seconds(number: int) -> float:
        chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}", "title": "t"} for n in range(number)}
        branches = [{"properties": {f"p{n}": STRING}, "required": [f"p{n}"]} for n in range(number)]
        schema = {
            "$ref": "#/$defs/d0", "properties": {"a": {"allOf": branches}, "b": {"$ref": "#/$defs/d0"}},
            "$defs": {**chain, f"d{number}": {"anyOf": branches}},
        }  # fmt: skip
        before = time.process_time()
        fit_tool(schema, dialect)
        return time.process_time() - before

    few = max(min(seconds(500) for _ in range(3)), 0.002)
    assert seconds(5000) < 60 * few  # ten times as much; a square would be a hundred times


@pytest.mark.parametrize("provider", ["openai", "gemini", "moonshot", "llama.cpp", "vllm", "cerebras"])
def test_one_hostile_schema_among_many_leaves_the_others_as_they_are(provider: str) -> None:
    fine = {"type": "object", "properties": {"a": {"type": "string", "description": "d"}}, "required": ["a"]}
    hostile = {"type": 3, "properties": {"a": {"$ref": "#/properties/a"}, "": []}, "anyOf": [None, {"$ref": "#"}]}
    tools = [{"name": f"t{n}", "input_schema": hostile if n == 100 else fine} for n in range(200)]
    body = convert_request(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": tools},
        resolve_profile(provider, {}),
    ).body
    sent = [tool["function"]["parameters"] for tool in body["tools"]]
    assert sum(parameters is fine for parameters in sent) == 199
    assert faults(sent[100], resolve_profile(provider, {}).schema_dialect) == []


@pytest.mark.parametrize(("strict", "kept"), [((True, True), 2), ((True, False), 0)])
def test_cerebras_gets_all_tools_strict_or_none(strict: tuple[bool, bool], kept: int) -> None:
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    tools = [{"name": f"t{n}", "input_schema": closed, "strict": value} for n, value in enumerate(strict)]
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": tools}
    body = convert_request(request, resolve_profile("cerebras", {})).body
    assert json.dumps(body["tools"]).count('"strict": true') == kept


def test_name_of_a_tool_begins_with_a_letter_for_moonshot() -> None:
    request = {
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": name, "input_schema": OBJECT} for name in ("_x", "21st", "ok_1")],
    }  # fmt: skip
    converted = convert_request(request, resolve_profile("moonshot", {}))
    names = [tool["function"]["name"] for tool in converted.body["tools"]]
    assert [name[0].isalpha() for name in names] == [True, True, True]
    assert [converted.context.tool_names[name] for name in names] == ["_x", "21st", "ok_1"]
