"""Searches of earlier turns, as the client returns them: ours become text, foreign ones are removed."""

from collections.abc import Mapping
from typing import Any

from .envelope import is_ours, unseal
from .words import past_error, past_text

Block = Mapping[str, Any]

_MAX_QUERY = 1000  # characters


def without_searches(messages: Any) -> Any:
    """The messages, without blocks that only Anthropic's servers understand; the same object if there are none."""
    if not isinstance(messages, list) or not any(_has_searches(message) for message in messages):
        return messages
    kept = []
    for message in messages:
        if _has_searches(message):
            message = {**message, "content": _content(message["content"])}
            if not message["content"]:
                continue
        kept.append(message)
    return kept


def _has_searches(message: Any) -> bool:
    if not isinstance(message, Mapping) or message.get("role") != "assistant":
        return False
    content = message.get("content")
    return isinstance(content, list) and any(_is_of_search(block) or _cited(block) for block in content)


def _is_of_search(block: Any) -> bool:
    if not isinstance(block, Mapping):
        return False
    kind = block.get("type")
    return kind == "web_search_tool_result" or (kind == "server_tool_use" and block.get("name") == "web_search")


def _cited(block: Any) -> bool:
    """Whether a text has citations of search results, whose texts can be read only by the server that created them."""
    citations = block.get("citations") if isinstance(block, Mapping) and block.get("type") == "text" else None
    return isinstance(citations, list) and any(
        isinstance(citation, Mapping) and citation.get("type") == "web_search_result_location" for citation in citations
    )


def _content(content: list[Any]) -> list[Any]:
    queries: dict[str, str] = {}
    kept: list[Any] = []
    for block in content:
        if _cited(block):
            kept.append({key: value for key, value in block.items() if key != "citations"})
        elif not _is_of_search(block):
            kept.append(block)
        elif block["type"] == "server_tool_use":
            input_ = block.get("input")
            query = input_.get("query") if isinstance(input_, Mapping) else None
            queries[str(block.get("id"))] = query[:_MAX_QUERY] if isinstance(query, str) else ""
        elif is_ours(block.get("tool_use_id")):
            text = _told(queries.get(block["tool_use_id"], ""), block.get("content"))
            marks = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
            kept.append({"type": "text", "text": text, **marks})
    return kept


def _told(query: str, content: Any) -> str:
    if isinstance(content, Mapping):
        return past_error(query, content.get("error_code"))
    items = content if isinstance(content, list) else []
    sealed = [item.get("encrypted_content") for item in items if isinstance(item, Mapping)]
    return past_text(query, [fields for text in sealed if (fields := unseal(text)) is not None])
