"""A request's tools as text: name, description, and each parameter including nested objects."""

from collections.abc import Mapping
from typing import Any

from ..toolkit.json import dumps
from .cut import cut_middle

MAX_DESCRIPTION = 1_200
MAX_PARAMETER_DESCRIPTION = 300
"""Characters of the description of a tool, and of a parameter."""

_MAX_DEPTH = 4
_MAX_ENUM = 30


def offered_tools(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The definitions in a body's ``tools``, without OpenAI's wrapping."""
    tools = data.get("tools")
    found = []
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, Mapping):
            inner = tool.get("function") if isinstance(tool.get("function"), Mapping) else tool.get("custom")
            found.append(inner if isinstance(inner, Mapping) else tool)
    return [tool for tool in found if isinstance(tool.get("name"), str)]


def tools_text(tools: list[Mapping[str, Any]]) -> str:
    """The tools as text for the planner; the same text for all dialects."""
    return "\n\n".join(_tool(tool) for tool in tools)


def _tool(tool: Mapping[str, Any]) -> str:
    lines = [f"## {tool['name']}"]
    description = tool.get("description")
    if isinstance(description, str) and description.strip():
        lines.append(cut_middle(description.strip(), MAX_DESCRIPTION))
    schema = tool.get("input_schema", tool.get("parameters"))
    if isinstance(schema, Mapping):
        parameters = _properties(schema, schema, 1)
        lines += ["Parameters:", *parameters] if parameters else ["Parameters: none"]
    return "\n".join(lines)


def _properties(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> list[str]:
    """A line for each property of an object, and below it those of the objects inside."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return []
    required = schema.get("required")
    required = required if isinstance(required, list) else []
    lines: list[str] = []
    for name, value in properties.items():
        property_ = _resolve(value, root)
        need = "required" if name in required else "optional"
        line = f"{'  ' * (depth - 1)}- {name} ({_type(property_, root, 0)}, {need})"
        description = property_.get("description")
        if isinstance(description, str) and description.strip():
            line += f": {cut_middle(' '.join(description.split()), MAX_PARAMETER_DESCRIPTION)}"
        lines.append(line)
        if depth < _MAX_DEPTH:
            for inner in _inner_objects(property_, root):
                lines += _properties(inner, root, depth + 1)
    return lines


def _inner_objects(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The object schemas within a value: itself, the items of an array, its alternatives."""
    candidates = [schema, *(_alternatives(schema, root))]
    items = [_resolve(candidate["items"], root) for candidate in candidates if "items" in candidate]
    return [candidate for candidate in [*candidates, *items] if "properties" in candidate]


def _type(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
    if "const" in schema:
        return f"always {_json(schema['const'])}"
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        more = ", ..." if len(enum) > _MAX_ENUM else ""
        return "one of " + ", ".join(_json(value) for value in enum[:_MAX_ENUM]) + more
    alternatives = _alternatives(schema, root)
    if alternatives:
        return " or ".join(dict.fromkeys(_type(one, root, depth + 1) for one in alternatives)) if depth < 4 else "any"
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = " or ".join(str(one) for one in kind)
    if kind == "array" and depth < 4:
        return f"array of {_type(_resolve(schema.get('items'), root), root, depth + 1)}"
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "any"


def _alternatives(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for name in ("anyOf", "oneOf"):
        options = schema.get(name)
        if isinstance(options, list) and options:
            return [_resolve(option, root) for option in options]
    return []


def _resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with its ``$ref`` into the tool's own schema resolved; an unresolvable one becomes an empty schema."""
    for _ in range(8):
        if not isinstance(schema, Mapping):
            return {}
        pointer = schema.get("$ref")
        if not isinstance(pointer, str):
            return schema
        schema = _at(root, pointer)
    return {}


def _at(root: Mapping[str, Any], pointer: str) -> Any:
    target: Any = root
    for part in pointer.removeprefix("#").split("/")[1:]:
        target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
    return target


def _json(value: Any) -> str:
    return cut_middle(dumps(value).decode(), 200)
