"""The client's ``messages`` as turns: strings become blocks, blank text is dropped, adjacent messages of one role are
merged.

Claude Code inserts ``role: system`` messages into the conversation. They keep their position: moving them to the top
would change the beginning of the prompt at every turn and invalidate the provider's prefix cache. They are never placed
between a tool call and its results.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...toolkit.errors import invalid_request
from ...toolkit.field_checks import expect, optional, required
from ..providers import Profile

Role = Literal["user", "assistant", "system"]

# Blocks that Anthropic's own servers created. The assistant's text states their outcome; the rest is unreadable here.
SERVER_BLOCKS = frozenset({
    "advisor_tool_result", "bash_code_execution_tool_result", "code_execution_tool_result", "document", "fallback",
    "mcp_tool_listing", "mcp_tool_result", "mcp_tool_use", "server_tool_use",
    "text_editor_code_execution_tool_result", "tool_search_tool_result", "web_fetch_tool_result",
    "web_search_tool_result",
})  # fmt: skip

_SILENT = SERVER_BLOCKS | {"thinking", "redacted_thinking"}  # a turn with nothing else is dropped


BILLING_HEADER = "x-anthropic-billing-header"
_BILLING_LINE = re.compile(rf"^{BILLING_HEADER}:[^\n]*(?:\n|\Z)", re.MULTILINE)


class Block:
    """A content block. Converted to a string it gives its position in the request for an error:
    ``messages.3.content.0``.

    ``where`` is its container, such as the number of a message for its content, and ``index`` its position there. If
    ``index`` is None, it is the whole container.
    """

    __slots__ = ("_index", "_where", "data", "type")

    def __init__(self, data: dict[str, Any], where: object, index: int | None = None) -> None:
        self.data = data
        self.type: Any = data.get("type")
        self._where = where
        self._index = index

    def __str__(self) -> str:
        where = f"messages.{self._where}.content" if isinstance(self._where, int) else str(self._where)
        return where if self._index is None else f"{where}.{self._index}"


@dataclass(slots=True)
class Turn:
    role: Role
    blocks: list[Block]


@dataclass(slots=True)
class History:
    """The contents of ``messages``.

    system: text blocks that belong to the system prompt: leading system messages and hoisted ones.
    tool_changes: ``tool_addition`` and ``tool_removal`` blocks in their order.
    effort: the last ``output_config.effort`` that a system message set.
    """

    turns: list[Turn] = field(default_factory=list)
    system: list[dict[str, Any]] = field(default_factory=list)
    tool_changes: list[Block] = field(default_factory=list)
    effort: str | None = None


def read_history(messages: Sequence[Any], profile: Profile) -> History:
    """Read and order the conversation. Raises a 400 if it is invalid."""
    if not messages:
        raise invalid_request("messages: at least one message is required")
    history = History()
    backwards = range(len(messages) - 1, -1, -1)
    last_user = next((n for n in backwards if isinstance(m := messages[n], dict) and m.get("role") == "user"), -1)
    for n, message in enumerate(messages):
        if type(message) is not dict:
            expect(message, dict, f"messages.{n}")
        role = message.get("role")
        content = message.get("content")
        if role == "user":
            if blocks := read_blocks(content, n):
                history.turns.append(Turn("user", blocks))
        elif role == "assistant":
            _read_assistant(history, read_blocks(content, n))
        elif role == "system":
            blocks = read_blocks([] if "content" not in message else content, n)
            _read_system(history, message, blocks, f"messages.{n}", cleared=n < last_user)
        else:
            required(message, "role", str, f"messages.{n}")
            raise invalid_request(f"messages.{n}.role: Input should be 'user', 'assistant' or 'system'")
    if any(turn.role == "system" for turn in history.turns):
        _place_system(history, profile)
    history.turns = _merge(history.turns)
    if not history.turns:
        raise invalid_request("messages: text content blocks must be non-empty")
    return history


def read_blocks(content: Any, where: object) -> list[Block]:
    """A message's content as blocks, without the blank text that clients replay and providers refuse.

    ``where`` is the position of the content, in the form that Block takes.
    """
    if isinstance(content, str):
        return [] if is_blank(content) else [Block({"type": "text", "text": content}, where)]
    if not isinstance(content, list):
        raise invalid_request(f"{Block({}, where)}: Input should be a valid string or list")
    blocks: list[Block] = []
    for m, data in enumerate(content):
        if type(data) is not dict:
            expect(data, dict, Block({}, where, m))
        block = Block(data, where, m)
        if type(block.type) is not str:
            required(data, "type", str, block)
        if block.type == "text" and is_blank(required(data, "text", str, block)):
            continue
        blocks.append(block)
    return blocks


def without_billing_header(text: str) -> str:
    """A system prompt's text without Anthropic's billing lines, wherever they are."""
    return _BILLING_LINE.sub("", text)


def is_blank(text: str) -> bool:
    """Whether a text contains only whitespace."""
    return not text or text.isspace()


def _read_system(history: History, message: dict[str, Any], blocks: list[Block], path: str, *, cleared: bool) -> None:
    config = optional(message, "output_config", dict, path)
    if config:
        history.effort = optional(config, "effort", str, f"{path}.output_config") or history.effort
    texts: list[Block] = []
    for block in blocks:
        if block.type in ("tool_addition", "tool_removal"):
            history.tool_changes.append(block)
        elif block.type == "text":
            if BILLING_HEADER not in block.data["text"]:
                texts.append(block)
            elif not is_blank(text := without_billing_header(block.data["text"])):
                texts.append(Block({**block.data, "text": text}, block))
        else:
            raise invalid_request(f"{block}: unsupported block type '{block.type}'")
    if texts and not (cleared and message.get("clear_at") == "next_user_message"):
        history.turns.append(Turn("system", texts))


def _read_assistant(history: History, blocks: list[Block]) -> None:
    types = {block.type for block in blocks}
    if "compaction" in types:
        blocks = _after_compaction(history, blocks)
        types = {block.type for block in blocks}
    if not types <= _SILENT:
        history.turns.append(Turn("assistant", blocks))


def _after_compaction(history: History, blocks: list[Block]) -> list[Block]:
    """The assistant's blocks that still count: a summary replaces everything before it."""
    kept: list[Block] = []
    for block in blocks:
        if block.type != "compaction":
            kept.append(block)
            continue
        summary = optional(block.data, "content", str, block)
        if summary is None:
            if block.data.get("encrypted_content"):
                raise invalid_request(f"{block}: an encrypted compaction is not supported by this endpoint")
            continue  # a failed compaction replaces nothing
        text = f"Summary of the conversation so far:\n{summary}"
        changes = optional(block.data, "tool_changes", list, block) or []
        history.turns = [Turn("user", [Block({"type": "text", "text": text}, block)])]
        history.tool_changes = read_blocks(changes, f"{block}.tool_changes")
        kept = []
    return kept


def _place_system(history: History, profile: Profile) -> None:
    """Move leading system messages to the system prompt and convert the later ones as the profile requires."""
    turns = history.turns
    leading = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
    for turn in turns[:leading]:
        history.system += [block.data for block in turn.blocks]
    if all(turn.role != "system" for turn in turns[leading:]):
        history.turns = turns[leading:]
        return
    last_result = _last_results(turns)
    placed: list[Turn] = []
    waiting: list[Turn] = []  # system messages between a call and its results
    for n, turn in enumerate(turns[leading:], leading):
        if turn.role == "system":
            if profile.mid_system == "hoist":
                history.system += [block.data for block in turn.blocks]
                continue
            if profile.mid_system == "user" or profile.system_role == "user":
                turn = Turn("user", [_reminder(turn.blocks)])
            if placed and (placed[-1].role == "assistant" or n < last_result[n]):
                waiting.append(turn)
                continue
        elif turn.role == "assistant":
            placed += waiting
            waiting = []
        placed.append(turn)
        if turn.role == "user" and n >= last_result[n]:
            placed += waiting
            waiting = []
    history.turns = placed + waiting


def _last_results(turns: list[Turn]) -> list[int]:
    """For each turn, the last turn with tool results before the assistant speaks again; -1 if there is none."""
    last: list[int] = []
    found = -1
    for n in range(len(turns) - 1, -1, -1):
        if turns[n].role == "assistant":
            found = -1
        elif found < 0 and any(block.type == "tool_result" for block in turns[n].blocks):
            found = n
        last.append(found)
    return last[::-1]


def _reminder(blocks: list[Block]) -> Block:
    text = "\n\n".join(block.data["text"] for block in blocks)
    return Block({"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}, blocks[0])


def _merge(turns: list[Turn]) -> list[Turn]:
    merged: list[Turn] = []
    role = None
    for turn in turns:
        if turn.role == role:
            merged[-1].blocks += turn.blocks
        else:
            merged.append(turn)
            role = turn.role
    return merged
