"""Adapts a conversation that contains answers of other upstreams to what Anthropic accepts.

Anthropic refuses thinking blocks with signatures that are not its own. While thinking is on, it also refuses a tool
loop whose turn doesn't begin with a thinking block.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from ..conversion.anthropic import is_blank, is_own_state

_THINKING = ("thinking", "redacted_thinking")
_CALLS = ("tool_use", "server_tool_use")
_LEGAL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_ANTHROPICS_ID = re.compile(r"toolu_(?![0-9a-f]{24}\Z).+")  # our converters create hexadecimal ones

Block = Any
Message = Any


@dataclass(slots=True)
class Fitted:
    """The changes that a request needs: other values for some of its ``fields``, and fields that are ``removed``.

    left_out: digests of the thinking blocks that are not sent. loop: the ids of the calls of a tool loop for which
    thinking is ``off``. renamed: ids that were replaced.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    loop: list[str] = field(default_factory=list)
    renamed: int = 0
    off: bool = False

    def __bool__(self) -> bool:
        return bool(self.fields or self.removed)

    def told(self) -> list[str]:
        """A description of the changes."""
        words = []
        if self.left_out:
            words.append(f"{len(self.left_out)} thinking blocks are left out: Anthropic did not sign them")
        if self.renamed:
            words.append(f"{self.renamed} ids of calls have characters that Anthropic refuses: they are sent as others")
        if self.off:
            words.append("thinking is off: the tool loop goes on from a turn without a thinking block")
        return words


def fit(
    data: Mapping[str, Any],
    *,
    refused: Container[str] = (),
    without_thinking: bool = False,
    thinking: Literal["auto", "off", "kept"] = "auto",
) -> Fitted:
    """The changes that the client's request needs.

    These blocks are removed: those that our converters created for another upstream, thinking blocks whose digests are
    in ``refused``, and all thinking blocks if ``without_thinking`` is set. Then thinking is turned off for a tool loop
    whose last turn has no thinking block, if another upstream has taken part in it; or, depending on ``thinking``,
    always or never.
    """
    fitted = Fitted()
    messages = data.get("messages")
    if not isinstance(messages, list):
        return fitted
    start = _loop_start(messages)
    sent: list[Message] = []
    changed = lost = False
    last: Message = None  # the assistant's last
    for n, message in enumerate(messages):
        before = len(fitted.left_out)
        new = _message(message, fitted, refused, without_thinking)
        changed |= new is not message
        lost |= n >= start and len(fitted.left_out) > before
        if new is None:
            continue
        sent.append(new)
        if _role(new) == "assistant":
            last = new
    if changed:
        fitted.fields["messages"] = sent
    calls = [id_ for message in messages[start:] for id_ in _call_ids(message)]
    fitted.loop = [digest(id_) for id_ in calls]
    if thinking == "auto" and start < len(messages) and not _begins_with_thinking(last):
        # Models with a thinking budget begin each loop with a thinking block.
        foreign = _has_budget(data) and not all(_ANTHROPICS_ID.fullmatch(id_) for id_ in calls)
        thinking = "off" if lost or foreign or any(id_ in refused for id_ in fitted.loop) else thinking
    if thinking == "off":
        _turn_off(data, fitted)
    return fitted


def digest(text: str) -> str:
    """The digest by which a signature or an id is remembered."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _message(message: Message, fitted: Fitted, refused: Container[str], without_thinking: bool) -> Message:
    """The message as it is sent: the same object where nothing changes, None where nothing is left of it."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not content:
        return message
    if message.get("role") != "assistant":
        blocks = [_with_legal_id(block, "tool_use_id", fitted) for block in content]
        return message if _same(blocks, content) else {**message, "content": blocks}
    searches = {block.get("tool_use_id") for block in content if _is_own_search(block)}
    blocks = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind in _THINKING:
            text = block.get("signature" if kind == "thinking" else "data")
            mark = digest(text) if isinstance(text, str) else ""
            if without_thinking or is_own_state(text) or mark in refused:
                fitted.left_out.append(mark)
                continue
        elif kind in _CALLS:
            if block.get("id") in searches:
                continue
            block = _with_legal_id(block, "id", fitted)
        elif kind == "text" and isinstance(block.get("citations"), list):
            block = _without_own_citations(block)
        elif _is_own_search(block):
            continue
        blocks.append(block)
    if _same(blocks, content):
        return message
    blocks = [block for block in blocks if not (block.get("type") == "text" and is_blank(str(block.get("text"))))]
    return {**message, "content": blocks} if blocks else None


def _same(blocks: Sequence[Block], content: Sequence[Block]) -> bool:
    return len(blocks) == len(content) and all(new is old for new, old in zip(blocks, content, strict=True))


def _with_legal_id(block: Block, name: str, fitted: Fitted) -> Block:
    id_ = block.get(name) if isinstance(block, dict) else None
    if not isinstance(id_, str) or _LEGAL_ID.fullmatch(id_):
        return block
    fitted.renamed += name == "id"
    prefix = "srvtoolu_" if block.get("type") == "server_tool_use" else "toolu_"
    return {**block, name: prefix + digest(id_)[:24]}


def _is_own_search(block: Block) -> bool:
    """Whether it is a web search result that one of our converters created."""
    if not isinstance(block, dict) or block.get("type") != "web_search_tool_result":
        return False
    results = block.get("content")
    return isinstance(results, list) and any(
        isinstance(result, dict) and is_own_state(result.get("encrypted_content")) for result in results
    )


def _without_own_citations(block: Block) -> Block:
    citations = block["citations"]
    kept = [
        cited for cited in citations if not (isinstance(cited, dict) and is_own_state(cited.get("encrypted_index")))
    ]
    if len(kept) == len(citations):
        return block
    if kept:
        return {**block, "citations": kept}
    return {name: value for name, value in block.items() if name != "citations"}


def _loop_start(messages: Sequence[Message]) -> int:
    """Where the tool loop begins that the last message continues; the number of messages if there is none."""
    start = len(messages)
    for n in range(len(messages) - 1, -1, -1):
        role = _role(messages[n])
        if role == "assistant":
            if start == len(messages) and not _has_results(messages[n + 1 :]):
                return len(messages)
            start = n
        elif role == "user" and start < len(messages) and not _has_results(messages[n : n + 1]):
            break
    return start


def _has_results(messages: Sequence[Message]) -> bool:
    return any(isinstance(block, dict) and block.get("type") == "tool_result" for block in _blocks(messages))


def _call_ids(message: Message) -> Iterator[str]:
    for block in _blocks([message]):
        if isinstance(block, dict) and block.get("type") == "tool_use" and isinstance(block.get("id"), str):
            yield block["id"]


def _blocks(messages: Sequence[Message]) -> Iterator[Block]:
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from content


def _begins_with_thinking(message: Message) -> bool:
    first = next(_blocks([message]), None)
    return isinstance(first, dict) and first.get("type") in _THINKING


def _has_budget(data: Mapping[str, Any]) -> bool:
    thinking = data.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") == "enabled"


def _role(message: Message) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _turn_off(data: Mapping[str, Any], fitted: Fitted) -> None:
    """Turn thinking off, and remove the parameters that Anthropic accepts only while it is on."""
    thinking = data.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") == "disabled":
        return
    fitted.off = True
    fitted.fields["thinking"] = {"type": "disabled"}
    management = data.get("context_management")
    if not isinstance(management, dict) or not isinstance(edits := management.get("edits"), list):
        return
    kept = [
        edit for edit in edits if not (isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking"))
    ]
    if len(kept) < len(edits):
        if kept or len(management) > 1:
            fitted.fields["context_management"] = {**management, "edits": kept}
        else:
            fitted.removed.append("context_management")
