"""The texts for the model: its tools, calls and results, and corrections of malformed calls.

The same tools give the same text at every turn, so that a provider's prompt cache stays valid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..toolkit.json import dumps

OPENING, CLOSING = "<tool_call>", "</tool_call>"
_RESULT_END = "</tool_response"

REPAIR = (
    "Your call can't be read: what stands between <tool_call> and </tool_call> is not one JSON object with the name of "
    'an offered tool and its arguments. Write the call again, as <tool_call>{"name": "...", "arguments": {...}}'
    '</tool_call>, and nothing else. Inside of JSON strings line breaks are written as \\n and quotation marks as \\".'
)
"""What follows an answer with a call that is spoiled."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that is offered. ``schema``: the JSON Schema of its arguments."""

    name: str
    description: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Choice:
    """The client's tool choice: ``kind``, the tool that must be called, and whether at most one call is allowed."""

    kind: Literal["auto", "none", "any", "tool"] = "auto"
    name: str = ""
    one: bool = False

    def words(self) -> str:
        """The same as text; empty if the model may choose freely."""
        said = {
            "none": "Don't call a tool in your next answer.",
            "any": "Your next answer must call a tool.",
            "tool": f"Your next answer must call the tool {self.name}, and no other.",
        }.get(self.kind, "")
        one = "Call at most one tool in your next answer." if self.one and self.kind != "none" else ""
        return " ".join(filter(None, (said, one)))


def tools_text(tools: Sequence[Tool]) -> str:
    """The part of the system prompt that offers tools."""
    listed = "\n".join(
        dumps({"name": tool.name, "description": tool.description, "parameters": tool.schema}).decode()
        for tool in tools
    )
    return (
        "# Tools\n\n"
        "You have tools. Each is described on one line between <tools> and </tools>, with the JSON Schema of its "
        f"arguments:\n<tools>\n{listed}\n</tools>\n\n"
        "To call a tool, end your answer with a line of this form, the arguments as one JSON object:\n"
        '<tool_call>{"name": "NAME", "arguments": {...}}</tool_call>\n'
        "You may write several such lines to call several tools at once. Write nothing behind them: what the tools "
        "return stands in the next message, between <tool_response> and </tool_response>. Never write a "
        "<tool_response> yourself. When you only talk about such a line, put it into a code block."
    )


def call_text(name: str, arguments: str) -> str:
    """A call; ``arguments`` is JSON."""
    return f'{OPENING}{{"name": {dumps(name).decode()}, "arguments": {arguments}}}{CLOSING}'


def result_text(name: str, result: str) -> str:
    """The result of a tool; without a name if it is no longer known."""
    of = f' name="{name}"' if name else ""
    safe = result.replace(_RESULT_END, "<\\" + _RESULT_END[1:])
    return f"<tool_response{of}>\n{safe}\n{_RESULT_END}>"


def with_calls(text: str, calls: Sequence[str]) -> str:
    """An assistant's text with its calls, each on a line of its own."""
    lines = "\n".join(calls)
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{lines}" if text.strip() else lines


def schemas(tools: Sequence[Tool]) -> Mapping[str, Any]:
    """The schemas by the tools' names."""
    return {tool.name: tool.schema for tool in tools}
