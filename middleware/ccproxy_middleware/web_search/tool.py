"""Anthropic's web search tool, and the function that a model gets in its place."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..toolkit.errors import invalid_request
from .backend import MAX_RESULTS, Location
from .domains import is_domain
from .question import asks_for_search

MAX_USES = 10
"""Searches that an answer may take whose request sets no limit."""

_KIND = "web_search_"
_KEPT = ("cache_control", "defer_loading")
_MAX_SHOWN = 20  # domains that are listed in the function's description


@dataclass(frozen=True, slots=True)
class SearchTool:
    """The tool as a request defines it. ``forced``: the first answer must search, because of ``tool_choice`` or of the
    request.

    ``chosen``: ``tool_choice`` names it.
    """

    name: str
    max_uses: int
    allowed_domains: tuple[str, ...]
    blocked_domains: tuple[str, ...]
    location: Location | None
    forced: bool
    chosen: bool


def is_search_tool(tool: Any) -> bool:
    """Whether a definition is Anthropic's own web search tool, in any version."""
    return isinstance(tool, Mapping) and str(tool.get("type")).startswith(_KIND)


def read_tool(data: Mapping[str, Any]) -> SearchTool | None:
    """The tool of a request, if it has one. Raises a 400."""
    tools = data.get("tools")
    for n, tool in enumerate(tools if isinstance(tools, list) else ()):
        if is_search_tool(tool):
            name = tool.get("name")
            if name != "web_search":
                raise invalid_request(f"tools.{n}.name: Input should be 'web_search'")
            allowed = _domains(tool, "allowed_domains", n)
            blocked = _domains(tool, "blocked_domains", n)
            if allowed and blocked:
                raise invalid_request(f"tools.{n}: Only one of allowed_domains and blocked_domains can be used")
            location = _location(tool.get("user_location"), f"tools.{n}.user_location")
            chosen = _is_chosen(data.get("tool_choice"), name)
            forced = chosen or _is_asked_for(data)
            return SearchTool(name, _max_uses(tool, n), allowed, blocked, location, forced, chosen)
    return None


def with_function(data: Mapping[str, Any], tool: SearchTool) -> dict[str, Any]:
    """The request with a function in place of the tool."""
    tools = [_function(item, tool) if is_search_tool(item) else item for item in data["tools"]]
    return {**data, "tools": tools}


def without_function(data: Mapping[str, Any], tool: SearchTool) -> dict[str, Any]:
    """The request without the function, when no more searches are allowed."""
    tools = [item for item in data["tools"] if item.get("name") != tool.name]
    left_out = ("tools",) if tools else ("tools", "tool_choice")
    return {**{key: value for key, value in data.items() if key not in left_out}, **({"tools": tools} if tools else {})}


def _function(item: Mapping[str, Any], tool: SearchTool) -> dict[str, Any]:
    lines = [
        f"Search the web. It gives up to {MAX_RESULTS} results, each with its number, title and URL, its date where it "
        "is known, and an excerpt. Use it for what is newer than your knowledge, or has to be checked.",
        "In your answer, put the number of the result that a statement rests on behind the statement, in square "
        "brackets: [1], or [2, 3] for several.",
    ]
    if tool.allowed_domains:
        lines.append(f"Only results of these domains are given: {_listed(tool.allowed_domains)}.")
    if tool.blocked_domains:
        lines.append(f"Results of these domains are left out: {_listed(tool.blocked_domains)}.")
    if tool.location is not None:
        known = [value for field in fields(tool.location) if (value := getattr(tool.location, field.name))]
        lines += [f"The user is here: {', '.join(known)}."] if known else []
    query = {"type": "string", "description": "What to search for, in a few words."}
    schema = {"type": "object", "properties": {"query": query}, "required": ["query"], "additionalProperties": False}
    kept = {name: item[name] for name in _KEPT if name in item}
    return {"name": tool.name, "description": "\n".join(lines), "input_schema": schema, **kept}


def _listed(domains: tuple[str, ...]) -> str:
    more = len(domains) - _MAX_SHOWN
    return ", ".join(domains[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_chosen(choice: Any, name: str) -> bool:
    return isinstance(choice, Mapping) and choice.get("type") == "tool" and choice.get("name") == name


def _is_asked_for(data: Mapping[str, Any]) -> bool:
    """Whether a search is the only thing that the request allows or asks for."""
    choice = data.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, Mapping) else "auto"
    if not all(is_search_tool(tool) for tool in data["tools"]):
        return False
    return kind == "any" or (kind == "auto" and asks_for_search(data.get("messages")))


def _max_uses(tool: Mapping[str, Any], n: int) -> int:
    value = tool.get("max_uses")
    if value is None:
        return MAX_USES
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_request(f"tools.{n}.max_uses: Input should be a valid integer")
    if value < 1:
        raise invalid_request(f"tools.{n}.max_uses: Input should be greater than 0")
    return value


def _domains(tool: Mapping[str, Any], name: str, n: int) -> tuple[str, ...]:
    value = tool.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid_request(f"tools.{n}.{name}: Input should be a valid list")
    for m, domain in enumerate(value):
        if not isinstance(domain, str) or not is_domain(domain):
            raise invalid_request(
                f"tools.{n}.{name}.{m}: Input should be a domain without a scheme, such as example.com or "
                "example.com/docs; a * may stand once, in the path"
            )
    return tuple(value)


def _location(value: Any, path: str) -> Location | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise invalid_request(f"{path}: Input should be a valid dictionary")
    if value.get("type") != "approximate":
        raise invalid_request(f"{path}.type: Input should be 'approximate'")
    told = {}
    for field in fields(Location):
        text = value.get(field.name)
        if text is not None and not isinstance(text, str):
            raise invalid_request(f"{path}.{field.name}: Input should be a valid string")
        if text and text.strip():
            told[field.name] = " ".join(text.split())[:255]
    return Location(**told)
