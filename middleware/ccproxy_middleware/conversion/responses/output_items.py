"""Read the fields of an item of an answer, whole or streamed."""

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["message", "reasoning", "call", "search"]

CALLS = ("function_call", "custom_tool_call")


def kind_of(item: Mapping[str, Any], *, hosted: bool = False) -> Kind | None:
    """What an item becomes for the client; None for one that has no equivalent.

    ``hosted``: the provider was asked to search the web.
    """
    kind = item.get("type")
    if kind == "web_search_call" and hosted:
        return "search"
    if kind in ("message", "reasoning"):
        return "message" if kind == "message" else "reasoning"
    return "call" if kind in CALLS else None


def function_name(item: Mapping[str, Any]) -> str:
    """The name in a call; empty if there is none."""
    name = item.get("name")
    return name if isinstance(name, str) else ""


def upstream_id(item: Mapping[str, Any]) -> Any:
    """The id of a call."""
    return item.get("call_id") or item.get("id")


def message_parts(item: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The text of each part of a message, and whether it is a refusal."""
    content = item.get("content")
    parts: list[tuple[str, bool]] = []
    for part in content if isinstance(content, list) else ():
        is_refusal = isinstance(part, dict) and part.get("type") == "refusal"
        text = part.get("refusal" if is_refusal else "text") if isinstance(part, dict) else None
        parts.append((text if isinstance(text, str) else "", is_refusal))
    return parts
