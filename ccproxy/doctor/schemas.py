"""The check of tool schemas: one of each kind that some provider refuses, as MCP servers send them."""

from functools import partial
from typing import Any

from ccproxy_middleware.conversion.providers import Profile
from ccproxy_middleware.conversion.schemas import fit_tool

from .answers import remedy_of
from .examination import BUSY, Examination, Result, ok, say, skipped, warning, with_switches

_POINT = {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]}

FAMILIES: dict[str, dict[str, Any]] = {
    "any_of": {
        "type": "object",
        "properties": {
            "value": {"description": "A text or a number.", "anyOf": [{"type": "string"}, {"type": "number"}]},
            "maybe": {"type": ["string", "null"]},
        },
    },
    "reference": {
        "type": "object",
        "properties": {"start": {"$ref": "#/$defs/point"}, "end": {"$ref": "#/$defs/point"}},
        "$defs": {"point": _POINT},
    },
    "enum_of_numbers": {"type": "object", "properties": {"level": {"type": "integer", "enum": [1, 2, 3]}}},
    "array_without_items": {"type": "object", "properties": {"tags": {"type": "array"}}},
    "nested": {
        "type": "object",
        "properties": {
            "rows": {"type": "array", "items": {"type": "object", "properties": {"cell": _POINT}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "additionalProperties": False,
    },
    "limits": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": r"^\d{2,4}$", "minLength": 2},
            "day": {"type": "string", "format": "date", "default": "2026-01-01"},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "kind": {"const": "row"},
        },
        "required": ["id"],
    },
}
"""The schemas, by the name of their tool."""

# From the smallest change to the largest.
_DIALECTS = ("xgrammar", "llama.cpp", "moonshot", "gemini")


async def tool_schemas(exam: Examination) -> Result:
    if exam.profile.tools == "prompted":
        return skipped("the model gets no schemas but in its prompt")
    candidates = [{"schema_dialect": dialect} for dialect in _DIALECTS]
    answer, switches = await exam.with_one_of(candidates, lambda: exam.ask(partial(_question, names=tuple(FAMILIES))))
    if answer.ok:
        return ok(with_switches(switches, f"all {len(FAMILIES)} families are taken"))
    if answer.meaning in BUSY:
        return warning(answer.error, remedy_of(answer))
    alone = {name: await exam.ask(partial(_question, names=(name,))) for name in FAMILIES}
    refused = [name for name, own in alone.items() if not own.ok]
    which = ", ".join(refused) if refused else "all at once"
    return warning(
        f"refused ({which}): {answer.error}", "A server of tools (MCP) with such schemas can't be used there."
    )


def _question(profile: Profile, names: tuple[str, ...]) -> dict[str, Any]:
    """A question together with tools that have these schemas, adapted to the profile's dialect as the proxy does it."""
    tools = [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": "Not needed here.",
                "parameters": fit_tool(FAMILIES[name], profile.schema_dialect).schema,
            },
        }
        for name in names
    ]
    return say("Reply with the word OK, without a tool.", tools=tools)
