"""The content of a request, in any dialect, as text for a planner that accepts no tools and no images.

The same conversation gives the same text in all dialects, without parts that change between requests but have no
meaning (Claude Code's billing header, cache marks, ids of calls), since plans are cached by this text.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ..conversion.counting import estimate_tokens
from ..toolkit.json import dumps, loads
from .cut import cut_middle

MAX_TOKENS = 24_000
"""The budget of the conversation; the oldest items beyond it are left out."""

MAX_SYSTEM = 6_000
MAX_TEXT = 12_000
MAX_RESULT = 4_000
MAX_ARGUMENTS = 4_000
"""Characters of a system prompt, a message, a tool's result, a call's arguments; longer ones lose their middle."""

_BILLING = "x-anthropic-billing-header"
_REMINDER = re.compile(r"<system-reminder>.*?(?:</system-reminder>|\Z)", re.DOTALL)
_ATTACHMENT = re.compile(r"\[(?:image|document)(?: \d+)?\]")

Role = Literal["user", "assistant", "system"]


@dataclass(frozen=True, slots=True)
class Item:
    """A message, a call or a result; ``label`` is its heading."""

    label: str
    text: str


@dataclass(slots=True)
class Conversation:
    """A request's history.

    user_request: the user's last request, without the reminders that Claude Code adds. has_results: tools have already
    returned something since then.
    """

    system: str = ""
    items: list[Item] = field(default_factory=list)
    user_request: str = ""
    has_results: bool = False

    def text(self) -> str:
        """All of it, newest last. What exceeds the budget is removed at the beginning, and replaced by a mark."""
        parts: list[str] = []
        left = MAX_TOKENS
        for item in reversed(self.items):
            part = f"[{item.label}]\n{item.text}"
            left -= estimate_tokens(part)
            if left < 0 and parts:
                parts.append(f"[... {len(self.items) - len(parts)} earlier entries left out ...]")
                break
            parts.append(part)
        if self.system:
            parts.append(f"[system prompt]\n{cut_middle(self.system, MAX_SYSTEM)}")
        return "\n\n".join(reversed(parts)) or "(empty)"


def read_conversation(data: Mapping[str, Any]) -> Conversation:
    """The conversation in a body of any of the APIs. Malformed parts are skipped: the upstream reports them."""
    reader = _Reader()
    reader.add_system(_texts(data.get("system") or data.get("instructions")))
    items = data.get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping):
            reader.add_item(item)
    messages = data.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, Mapping):
            reader.add(message)
    return reader.conversation


class _Reader:
    """Collects messages."""

    def __init__(self) -> None:
        self.conversation = Conversation()
        self._names: dict[str, str] = {}  # the names of the tools that were called, by the ids of the calls

    def add_system(self, texts: Iterable[str]) -> None:
        conversation = self.conversation
        for text in texts:
            if text.startswith(_BILLING):
                text = text.partition("\n")[2]
            if not text.strip():
                continue
            if conversation.items:
                conversation.items.append(Item("system", cut_middle(text.strip(), MAX_RESULT)))
            else:
                conversation.system = f"{conversation.system}\n\n{text.strip()}".strip()

    def add(self, message: Mapping[str, Any]) -> None:
        content = message.get("content")
        match message.get("role"):
            case "system" | "developer":
                self.add_system(_texts(content))
            case "user":
                self._add_user(content)
            case "assistant":
                self._add_assistant(message, content)
            case "tool":
                self._add_result(message.get("tool_call_id"), content)

    def add_item(self, item: Mapping[str, Any]) -> None:
        """An input item of a Responses body."""
        match item.get("type"):
            case "function_call":
                self._add_call(item.get("call_id"), item.get("name"), item.get("arguments"))
            case "function_call_output":
                self._add_result(item.get("call_id"), item.get("output"))
            case "message":
                self.add(item)

    def _add_user(self, content: Any) -> None:
        said: list[str] = []
        for block in _blocks(content):
            if block.get("type") == "tool_result":
                self._add_result(block.get("tool_use_id"), block.get("content"), failed=block.get("is_error") is True)
            else:
                said.append(_block_text(block))
        text = "\n\n".join(part for part in said if part.strip())
        if not text:
            return
        self.conversation.items.append(Item("user", cut_middle(text.strip(), MAX_TEXT)))
        asked = _REMINDER.sub("", text).strip()
        words = _ATTACHMENT.sub("", asked).strip()
        if words or (asked and not self.conversation.has_results):  # a tool returns images and documents too
            self.conversation.user_request = cut_middle(asked, MAX_TEXT)
            self.conversation.has_results = False

    def _add_assistant(self, message: Mapping[str, Any], content: Any) -> None:
        for block in _blocks(content):
            if block.get("type") == "tool_use":
                self._add_call(block.get("id"), block.get("name"), block.get("input"))
            elif (text := _block_text(block).strip()) and block.get("type") not in ("thinking", "redacted_thinking"):
                self.conversation.items.append(Item("assistant", cut_middle(text, MAX_TEXT)))
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping):
                self._add_call(call.get("id"), function.get("name"), function.get("arguments"))

    def _add_call(self, id_: Any, name: Any, arguments: Any) -> None:
        if isinstance(arguments, str):
            with suppress(ValueError):
                arguments = loads(arguments)
        text = arguments if isinstance(arguments, str) else dumps(arguments).decode()
        self._names[str(id_)] = str(name)
        self.conversation.items.append(Item(f"assistant calls {name}", cut_middle(text, MAX_ARGUMENTS)))

    def _add_result(self, id_: Any, content: Any, *, failed: bool = False) -> None:
        text = "\n\n".join(part for block in _blocks(content) if (part := _block_text(block))).strip()
        label = f"{'error' if failed else 'result'} of {self._names.get(str(id_), 'a tool')}"
        self.conversation.items.append(Item(label, cut_middle(text, MAX_RESULT) or "(empty)"))
        self.conversation.has_results = True


def _texts(content: Any) -> list[str]:
    return [_block_text(block) for block in _blocks(content)]


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []


def _block_text(block: Mapping[str, Any]) -> str:
    """The text of a block, or a mark for a block without text."""
    text = block.get("text")
    if isinstance(text, str):
        return text
    match block.get("type"):
        case "image" | "image_url" | "input_image":
            return "[image]"
        case "document" | "file" | "input_file":
            return "[document]"
        case "refusal":
            return str(block.get("refusal") or "")
        case _:
            return ""
