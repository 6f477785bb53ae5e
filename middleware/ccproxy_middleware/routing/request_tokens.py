"""The number of tokens of a request that no converter has processed yet."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..conversion.counting import PER_MESSAGE, PER_REQUEST, PER_TOOL, WITH_TOOLS, estimate_tokens, part_tokens
from ..toolkit.json import dumps

_HEAD = 1024 * 1024  # base64 characters of an image that are read; they contain its size
_MARKS = frozenset(("cache_control", "defer_loading", "eager_input_streaming", "strict", "type"))  # of tools
_SCHEMAS = (
    ("output_config", "format"), ("output_format", "schema"), ("response_format", "json_schema"), ("text", "format")
)  # fmt: skip


def estimate_input(data: Mapping[str, Any]) -> int:
    """Estimated tokens of a parsed body in the format of Messages, Chat Completions or Responses.

    The numbers are those of ``conversion/counting``, computed without a converted body; the time is linear in the
    body's size. A value that does not conform to its API counts as the text of its JSON, or not at all.
    """
    revealed: set[str] = set()
    total = PER_REQUEST
    for name in ("system", "instructions"):
        if data.get(name):
            total += PER_MESSAGE + _content(data[name], revealed)
    for message in messages_of(data):
        total += PER_MESSAGE + _message(message, revealed)
    tools = [tool for tool in blocks_of(data.get("tools")) if _is_sent(tool, revealed)]
    if tools:
        total += WITH_TOOLS
    for tool in tools:
        total += PER_TOOL + _json({key: value for key, value in tool.items() if key not in _MARKS})
    for holder, name in _SCHEMAS:
        outer = data.get(holder)
        if isinstance(outer, dict) and outer.get(name):
            total += _json(outer[name])
    return total


def messages_of(data: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The conversation: ``messages``, or the ``input`` of Responses, which may be a single text."""
    messages = data.get("messages") or data.get("input")
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return blocks_of(messages)


def blocks_of(content: Any) -> Sequence[Mapping[str, Any]]:
    """The objects of a list; empty if it is not a list."""
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else ()


def _is_sent(tool: Mapping[str, Any], revealed: set[str]) -> bool:
    """Whether a tool is sent to the provider: a deferred one only once a search has found it."""
    return tool.get("defer_loading") is not True or tool.get("name") in revealed


def _message(message: Mapping[str, Any], revealed: set[str]) -> int:
    if message.get("type") == "reasoning":  # like thinking, which is mostly not sent again
        return 0
    total = _content(message.get("content"), revealed) + _content(message.get("output"), revealed)
    for name in ("name", "arguments"):
        total += _string(message.get(name))
    for call in blocks_of(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            total += _string(function.get("name")) + _string(function.get("arguments"))
    return total


def _content(content: Any, revealed: set[str]) -> int:
    if isinstance(content, str):
        return estimate_tokens(content)
    return sum(_block(block, revealed) for block in blocks_of(content))


def _block(block: Mapping[str, Any], revealed: set[str]) -> int:
    match block.get("type"):
        case "text" | "input_text" | "output_text":
            return _string(block.get("text"))
        case "image":
            return _image(block.get("source"))
        case "document":
            return _document(block)
        case "tool_use" | "server_tool_use":
            return _string(block.get("name")) + _json(block.get("input"))
        case "tool_result":
            return PER_MESSAGE + _content(block.get("content"), revealed)
        case "tool_reference":
            revealed.add(str(block.get("tool_name")))
            return 0
        case "image_url" | "input_image":
            url = block.get("image_url")
            return _url(url.get("url") if isinstance(url, dict) else url)
        case "file" if isinstance(block.get("file"), dict):
            return _file(block["file"])
        case "input_file":
            return _file(block)
        case "thinking" | "redacted_thinking":
            return 0
        case _:
            return _json(block)


def _image(source: Any) -> int:
    data = source.get("data") if isinstance(source, dict) else None
    return _url(f"data:image;base64,{data[:_HEAD]}" if isinstance(data, str) else "")


def _url(url: Any) -> int:
    return part_tokens({"type": "image_url", "image_url": url if isinstance(url, str) else ""})


def _document(block: Mapping[str, Any]) -> int:
    """A PDF by its pages, a text by its characters."""
    total = _string(block.get("title")) + _string(block.get("context"))
    source = block.get("source")
    if not isinstance(source, dict):
        return total
    if source.get("type") == "text":
        return total + _string(source.get("data"))
    if source.get("type") == "content":
        return total + _content(source.get("content"), set())
    data = source.get("data")
    return total + _file({"file_data": "data:application/pdf;base64," + data if isinstance(data, str) else ""})


def _file(file: Mapping[str, Any]) -> int:
    kept = {name: file[name] for name in ("filename", "file_data") if isinstance(file.get(name), str)}
    return part_tokens({"type": "file", "file": kept})


def _string(value: Any) -> int:
    return estimate_tokens(value) if isinstance(value, str) else 0


def _json(value: Any) -> int:
    try:
        return estimate_tokens(dumps(value).decode())
    except (TypeError, ValueError):  # nested too deeply to be serialized; a converter will report it
        return 0
