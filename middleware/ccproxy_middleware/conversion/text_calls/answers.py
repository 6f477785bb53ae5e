"""What the converters of both APIs need for calls in text."""

from collections.abc import Iterable
from typing import Any

from ...toolkit.json import dumps
from ..context import Context
from .calls import Call
from .text import TextCalls


def text_calls(context: Context) -> TextCalls | None:
    """The parser for calls in the text of an answer; None if they are not looked for."""
    forms = context.profile.text_forms
    tools = dict.fromkeys(context.tools) if context.text_tools is None else context.text_tools
    return TextCalls(tools, forms) if forms and tools else None


def as_functions(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """Calls in the format of chat completions."""
    return [
        {"index": n, "function": {"name": call.name, "arguments": dumps(call.arguments).decode()}}
        for n, call in enumerate(calls)
    ]
