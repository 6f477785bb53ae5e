"""Tool calls that stand in the text of an answer, in the model's own form, because its server does not read them.

Such text ends the answer. It is held from where it begins, and becomes calls where all of it can be read and names
offered tools; else it stays what it is.
"""

import re
from collections.abc import Collection
from typing import Any

from ...toolkit.json import dumps, loads
from ..anthropic import held_suffix

_BEGINNINGS = ("<tool_call>", "<｜DSML｜", "<function=", "<function_calls>", "<invoke name=")
_MAX_CHARS = 1024 * 1024  # of text that is held; a longer one is text

# How a call begins in each form, and its parameters; what may stand around several calls.
_AROUND = re.compile(r"\s*</?(?:｜DSML｜)?(?:tool_calls|function_calls|tool_call)>")
_JSON = re.compile(r"\s*<tool_call>\s*(?=\{)")  # Qwen, Hermes
_FUNCTION = re.compile(r"\s*<function=([^>\n]{1,128})>")  # Qwen3-Coder
_FUNCTION_PARAMETER = re.compile(r"<parameter=([^>\n]{1,128})>\n?")
_INVOKE = re.compile(r'\s*<(｜DSML｜)?invoke name="([^"\n]{1,128})">')  # DeepSeek, Claude's older form
_INVOKE_PARAMETER = re.compile(r'<(?:｜DSML｜)?parameter name="([^"\n]{1,128})"(?: string="(true|false)")?>')


class TextCalls:
    """Splits a text into what can be shown and calls at its end. ``tools`` are the names of those that are offered."""

    __slots__ = ("_held", "_size", "_tools")

    def __init__(self, tools: Collection[str]) -> None:
        self._tools = tools
        self._held: list[str] = []  # from the beginning of a call; or what may become one
        self._size = 0  # of what is held of a call that has begun

    @property
    def holds(self) -> bool:
        """Whether a part of the text is held back."""
        return bool(self._held)

    def passes(self, text: str) -> bool:
        """Whether this piece has nothing to do with a call, as nearly all have."""
        return not self._held and "<" not in text

    def feed(self, text: str) -> str:
        """What can be shown of the text so far."""
        if self._size:
            self._held.append(text)
            self._size += len(text)
            return self.release() if self._size > _MAX_CHARS else ""
        text = self.release() + text
        starts = [at for beginning in _BEGINNINGS if (at := text.find(beginning)) >= 0]
        at = min(starts) if starts else len(text) - held_suffix(text, _BEGINNINGS)
        if at < len(text):
            self._held = [text[at:]]
            self._size = len(text) - at if starts else 0
        return text[:at]

    def finish(self) -> tuple[str, list[dict[str, Any]]]:
        """The rest as text, or as calls in the form of chat completions."""
        rest = self.release()
        calls = read_calls(rest, self._tools) if rest else []
        return ("", calls) if calls else (rest, [])

    def release(self) -> str:
        """The rest as text: something else follows it."""
        rest, self._held, self._size = "".join(self._held), [], 0
        return rest


def read_calls(text: str, tools: Collection[str]) -> list[dict[str, Any]]:
    """The calls that a text consists of; none if there is anything else in it, or a tool that isn't offered."""
    calls: list[dict[str, Any]] = []
    text = text.rstrip()
    at = 0
    while at < len(text):
        found = _read_one(text, at)
        if found is None:
            around = _AROUND.match(text, at)
            if around is None:
                return []
            at = around.end()
            continue
        name, arguments, at = found
        if name not in tools:
            return []
        try:
            written = dumps(arguments).decode()
        except TypeError:  # nested too deeply
            return []
        calls.append({"index": len(calls), "function": {"name": name, "arguments": written}})
    return calls


def _read_one(text: str, at: int) -> tuple[str, dict[str, Any], int] | None:
    """The name and the arguments of a call, and where it ends."""
    if begun := _JSON.match(text, at):
        end = text.find("</tool_call>", begun.end())
        try:
            call = loads(text[begun.end() : end])
        except ValueError:
            return None
        name, arguments = call.get("name"), call.get("arguments", call.get("parameters", {}))
        if end < 0 or not isinstance(name, str) or not isinstance(arguments, dict):
            return None
        return name, arguments, end + len("</tool_call>")
    if begun := _FUNCTION.match(text, at):
        return _read_parameters(begun[1], text, begun.end(), _FUNCTION_PARAMETER, "</parameter>", "</function>")
    if begun := _INVOKE.match(text, at):
        mark = begun[1] or ""
        return _read_parameters(
            begun[2], text, begun.end(), _INVOKE_PARAMETER, f"</{mark}parameter>", f"</{mark}invoke>"
        )
    return None


def _read_parameters(
    name: str, text: str, at: int, opening: re.Pattern[str], closing: str, last: str
) -> tuple[str, dict[str, Any], int] | None:
    """A call whose parameters stand between tags. They are texts; what its schema makes of them is settled later."""
    arguments: dict[str, Any] = {}
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it may be empty
        if text.startswith(last, at):
            return name, arguments, at + len(last)
        begun = opening.match(text, at)
        end = text.find(closing, begun.end()) if begun else -1
        if begun is None or end < 0:
            return None
        value = text[begun.end() : end]
        if opening is _FUNCTION_PARAMETER:
            arguments[begun[1]] = value.removesuffix("\n")
        else:
            arguments[begun[1]] = _json_or_text(value) if begun[2] == "false" else value
        at = end + len(closing)


_SPACE = re.compile(r"\s*")


def _json_or_text(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return text
