"""What Anthropic's API refuses of a conversation, in its own words."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

Body = dict[str, Any]

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_THINKING = ("thinking", "redacted_thinking")
_EXPECTED = (
    "messages.{}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is "
    "enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` "
    "and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this "
    "requirement, disable `thinking`. Please consult our documentation at "
    "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
)


def signature(thinking: str, salt: str = "") -> str:
    """The signature that a server of this ``salt`` gives a thinking block, and takes back."""
    return "Eq" + hashlib.sha256(f"{salt}:{thinking}".encode()).hexdigest()


def refusal_of(body: Body, salt: str = "") -> str | None:
    """Why Anthropic would not answer a request; None if it would."""
    if not isinstance(body.get("model"), str) or not isinstance(body.get("messages"), list) or not body["messages"]:
        return "messages: at least one message is required"
    checks = (_thinking_switch, _contents, _ids, _adjacency, _loop)
    return _signatures(body, salt) or next((refusal for check in checks if (refusal := check(body)) is not None), None)


def _thinking_switch(body: Body) -> str | None:
    thinking = body.get("thinking") or {}
    kind = thinking.get("type", "disabled")
    if kind == "disabled" and "thinking" in body and "fable" in body["model"]:
        return (
            '"thinking.type.disabled" is not supported for this model. Thinking defaults to adaptive mode when not '
            'specified; use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        )
    if kind == "enabled" and not 1024 <= thinking.get("budget_tokens", 0) < body.get("max_tokens", 10**9):
        return "`max_tokens` must be greater than `thinking.budget_tokens`."
    edits = (body.get("context_management") or {}).get("edits", [])
    if kind == "disabled" and any(edit["type"] == "clear_thinking_20251015" for edit in edits):
        return "`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive"
    return None


def _contents(body: Body) -> str | None:
    for n, message in enumerate(body["messages"]):
        content = message["content"]
        if not content and not (message["role"] == "assistant" and n == len(body["messages"]) - 1):
            return f"messages.{n}: all messages must have non-empty content except for the final assistant message"
        for block in _blocks(message):
            if block["type"] == "text" and not block["text"].strip():
                return "messages: text content blocks must contain non-whitespace text"
    return None


def _signatures(body: Body, salt: str) -> str | None:
    for n, message in enumerate(body["messages"]):
        for m, block in enumerate(_blocks(message)):
            where = f"messages.{n}.content.{m}"
            if block["type"] == "thinking":
                if "signature" not in block:
                    return f"{where}.thinking.signature: Field required"
                if block["signature"] != signature(block["thinking"], salt):
                    return f"{where}: Invalid `signature` in `thinking` block"
            if block["type"] == "redacted_thinking" and not block["data"].startswith("Eq"):
                return f"{where}: Invalid `data` in `redacted_thinking` block"
            if block["type"] == "web_search_tool_result":
                for result in block["content"]:
                    if not result["encrypted_content"].startswith("Eq"):
                        return f"{where}.content: Invalid `encrypted_content` in `search_result` block"
        types = [block["type"] for block in _blocks(message)]
        if any(kind in _THINKING for kind in types) and types[0] not in _THINKING:
            return (
                f"messages.{n}.content.0: If an assistant message contains any thinking blocks, the first block must "
                f"be `thinking` or `redacted_thinking`. Found `{types[0]}`."
            )
    return None


def _ids(body: Body) -> str | None:
    seen: set[str] = set()
    for n, message in enumerate(body["messages"]):
        for m, block in enumerate(_blocks(message)):
            name = {"tool_use": "id", "tool_result": "tool_use_id"}.get(block["type"])
            if name is None:
                continue
            if not _ID.fullmatch(block[name]):
                place = f"messages.{n}.content.{m}.{block['type']}.{name}"
                return f"{place}: String should match pattern '^[a-zA-Z0-9_-]+$'"
            if name == "id" and block["id"] in seen:
                return f"messages.{n}.content.{m}: `tool_use` ids must be unique"
            seen.add(block[name]) if name == "id" else None
    return None


def _adjacency(body: Body) -> str | None:
    turns = _turns(body["messages"])
    for n, (role, blocks) in enumerate(turns):
        following = turns[n + 1][1] if n + 1 < len(turns) else []
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        answered = [block["tool_use_id"] for block in following if block["type"] == "tool_result"]
        if missing := [id_ for id_ in called if id_ not in answered]:
            return (
                f"messages.{n}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        before = [block["id"] for block in turns[n - 1][1] if block["type"] == "tool_use"] if n else []
        for block in blocks if role == "user" else ():
            if block["type"] == "tool_result" and block["tool_use_id"] not in before:
                return (
                    f"messages.{n}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in "
                    "the previous message."
                )
    return None


def _loop(body: Body) -> str | None:
    if (body.get("thinking") or {}).get("type") != "enabled":
        return None
    turns = _turns(body["messages"])
    if len(turns) < 2 or not any(block["type"] == "tool_result" for block in turns[-1][1]):
        return None
    kind = turns[-2][1][0]["type"]
    return None if kind in _THINKING else _EXPECTED.format(len(turns) - 2, kind)


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Body]]]:
    """The turns: neighbours of one role are one."""
    turns: list[tuple[str, list[Body]]] = []
    for message in messages:
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(_blocks(message))
        else:
            turns.append((message["role"], _blocks(message)))
    return turns


def _blocks(message: Mapping[str, Any]) -> list[Body]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
