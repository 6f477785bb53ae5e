"""Tools as text."""

from typing import Any

import pytest

from ccproxy_middleware.boost.tools import offered_tools, tools_text

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["todos", "mode"],
    "$defs": {
        "Node": {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/Node"}}},
        "Loop": {"$ref": "#/$defs/Loop"},
    },
    "properties": {
        "todos": {
            "type": "array",
            "description": "The  list.\nAll of it.",
            "items": {
                "type": "object",
                "properties": {"content": {"type": "string"}, "status": {"enum": ["open", "done"]}},
                "required": ["content"],
            },
        },
        "mode": {"const": "fast"},
        "limit": {"type": ["integer", "null"]},
        "either": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"x": {"type": "number"}}}]},
        "node": {"$ref": "#/$defs/Node"},
        "loop": {"$ref": "#/$defs/Loop"},
        "gone": {"$ref": "#/$defs/Gone"},
        "any": True,
        "shape": {"properties": {"y": {}}},
    },
}
LINES = """\
## Todo
Keep a list.
Parameters:
- todos (array of object, required): The list. All of it.
  - content (string, required)
  - status (one of "open", "done", optional)
- mode (always "fast", required)
- limit (integer or null, optional)
- either (string or object, optional)
  - x (number, optional)
- node (object, optional)
  - name (string, optional)
  - next (object, optional)
    - name (string, optional)
    - next (object, optional)
      - name (string, optional)
      - next (object, optional)
- loop (any, optional)
- gone (any, optional)
- any (any, optional)
- shape (object, optional)
  - y (any, optional)"""


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "Todo", "description": " Keep a list. ", "input_schema": SCHEMA, "cache_control": {}},
        {"type": "function", "function": {"name": "Todo", "description": "Keep a list.", "parameters": SCHEMA}},
    ],
    ids=["anthropic", "openai"],
)
def test_tool_is_told_with_its_nested_shapes(tool: dict[str, Any]) -> None:
    assert tools_text(offered_tools({"tools": [tool]})) == LINES


def test_tools_without_parameters() -> None:
    tools = [
        {"name": "A", "input_schema": {"type": "object"}},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "custom", "custom": {"name": "C", "description": "Free text."}},
        {"name": 7}, "x",
    ]  # fmt: skip
    text = tools_text(offered_tools({"tools": tools}))
    assert text == "## A\nParameters: none\n\n## web_search\n\n## C\nFree text."


@pytest.mark.parametrize("tools", [None, {}, [], "x"])
def test_no_tools(tools: Any) -> None:
    assert offered_tools({"tools": tools}) == []


def test_long_descriptions_and_enums_are_cut() -> None:
    schema = {"properties": {"p": {"description": "d" * 2_000}, "e": {"enum": list(range(100))}}}
    text = tools_text([{"name": "T", "description": "D" * 9_000, "input_schema": schema}])
    assert len(text) < 2_000
    assert "29, ..., optional)" in text


def test_wide_and_deep_schema_ends() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {f"p{n}": {"$ref": "#/$defs/N"} for n in range(6)}}
    text = tools_text([{"name": "T", "input_schema": {**node, "$defs": {"N": node}}}])
    assert len(text.splitlines()) < 2_000
