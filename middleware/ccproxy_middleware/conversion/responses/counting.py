"""The number of tokens of a Responses body, by the rules for chat completions."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from ...toolkit.json import dumps
from ..counting import PER_MESSAGE, PER_REQUEST, PER_TOOL, WITH_TOOLS, estimate_tokens, part_tokens, tokenizer_count
from .state import part_texts, summary_text

Count = Callable[[str], int]


def estimate_request(body: Mapping[str, Any]) -> int:
    """Estimated tokens of a body: cheap enough for every request."""
    return _count(body, estimate_tokens)


def count_request(body: Mapping[str, Any], tokenizer: Literal["o200k", "estimate"]) -> int:
    """Tokens of a body, by the tokenizer that the profile selects. The first use loads it: call it in a thread."""
    return _count(body, tokenizer_count(tokenizer))


def _count(body: Mapping[str, Any], count: Count) -> int:
    total = PER_REQUEST
    if instructions := body.get("instructions"):
        total += PER_MESSAGE + count(instructions)
    for item in body.get("input") or ():
        total += PER_MESSAGE + _item(item, count)
    tools = body.get("tools") or ()
    if tools:
        total += WITH_TOOLS
    for tool in tools:
        total += PER_TOOL + count(dumps(tool).decode())
    text = body.get("text")
    schema = (text.get("format") or {}).get("schema") if isinstance(text, dict) else None
    return total + (count(dumps(schema).decode()) if schema else 0)


def _item(item: Mapping[str, Any], count: Count) -> int:
    match item.get("type"):
        case "function_call":
            return count(item["name"]) + count(item["arguments"])
        case "function_call_output":
            return _content(item["output"], count)
        case "reasoning":  # the size of the encrypted content is not known in advance
            return count(summary_text(item)) + count(part_texts(item.get("content")))
        case _:
            return _content(item.get("content"), count)


def _content(content: Any, count: Count) -> int:
    if isinstance(content, str):
        return count(content)
    return sum(_part(part, count) for part in content or ())


def _part(part: Mapping[str, Any], count: Count) -> int:
    match part.get("type"):
        case "input_text" | "output_text":
            return count(part["text"])
        case "input_image":
            return part_tokens({"type": "image_url", "image_url": part["image_url"]})
        case "input_file":
            return part_tokens({"type": "file", "file": part})
        case _:
            return count(dumps(part).decode())
