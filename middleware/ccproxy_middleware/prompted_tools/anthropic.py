"""Requests and answers of Anthropic's Messages API."""

import secrets
from collections.abc import Mapping
from typing import Any

from ..conversion.anthropic import Block, client_tool, read_history
from ..conversion.chat import NO_OUTPUT, arguments_json, marked_error, offered_tools
from ..conversion.providers import Profile
from ..toolkit.errors import invalid_request
from ..toolkit.json import dumps
from .answers import Answer, Outcome
from .prompt import Payload, Prompt, joined
from .words import Choice, Tool, call_text, result_text, tools_text, with_calls

_PROFILE = Profile()
_CHANGES = ("tool_addition", "tool_removal")
_KINDS = ("auto", "none", "any", "tool")


class AnthropicPrompter:
    """The Messages API."""

    def concerns(self, data: Mapping[str, Any]) -> bool:
        tools = data.get("tools")
        if isinstance(tools, list) and any(isinstance(tool, dict) and _is_clients(tool) for tool in tools):
            return True
        return any(block.get("type") in ("tool_use", "tool_result") for block in _all_blocks(data))

    def prompt(self, data: Mapping[str, Any]) -> Prompt:
        messages = data.get("messages")
        if not isinstance(messages, list):
            raise invalid_request("messages: Field required")
        history = read_history(messages, _PROFILE)
        listed = data.get("tools") or []
        blocks = offered_tools(
            listed if isinstance(listed, list) else [], history.tool_changes, history.turns, _PROFILE
        )
        tools = tuple(map(_tool, blocks))
        choice = _choice(data.get("tool_choice"))
        body = {key: value for key, value in data.items() if key not in ("tools", "tool_choice")}
        names: dict[str, str] = {}
        body["messages"] = [_message(message, names) for message in messages]
        if tools:
            body["system"] = _with_text(data.get("system"), tools_text(tools))
            if words := choice.words():
                body["messages"] = _with_words(body["messages"], words)
        return Prompt(body, () if choice.kind == "none" else tools)

    def repair(self, data: Payload, said: str, words: str) -> Payload:
        more = [{"role": "assistant", "content": said}, {"role": "user", "content": words}]
        return {**data, "messages": [*data["messages"], *more]}


def _is_clients(tool: Mapping[str, Any]) -> bool:
    """Whether the client runs a tool itself."""
    return tool.get("type") in (None, "custom") or client_tool(dict(tool)) is not None


def _all_blocks(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = data.get("messages")
    listed = messages if isinstance(messages, list) else []
    contents = [message.get("content") for message in listed if isinstance(message, dict)]
    return [block for content in contents if isinstance(content, list) for block in content if isinstance(block, dict)]


def _tool(block: Block) -> Tool:
    published = client_tool(block.data) or ("", {"type": "object"})
    return Tool(
        str(block.data["name"]),
        str(block.data.get("description") or published[0]),
        block.data.get("input_schema", published[1]),
    )


def _choice(choice: Any) -> Choice:
    if not isinstance(choice, dict) or choice.get("type") not in _KINDS:
        return Choice()
    return Choice(choice["type"], str(choice.get("name") or ""), choice.get("disable_parallel_tool_use") is True)


def _message(message: Mapping[str, Any], names: dict[str, str]) -> Payload:
    """A message without tool call blocks; ``names`` are those of the tools called so far, by call id."""
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    blocks: list[Any] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_use":
            names[str(block.get("id"))] = str(block.get("name"))
            text = call_text(str(block.get("name")), arguments_json(block.get("input")))
            before = blocks.pop() if blocks and _is_text(blocks[-1]) else {"text": ""}
            blocks.append({**_cached(block, before), "type": "text", "text": with_calls(before["text"], [text])})
        elif kind == "tool_result":
            text, others = _result(block, names)
            before = blocks.pop() if blocks and blocks[-1].get("type") == "tool_response" else {"text": ""}
            text = joined(before["text"], text)
            blocks += [{**_cached(block, before), "type": "tool_response", "text": text}, *others]
        elif kind not in _CHANGES:
            blocks.append(block)
    made = [{**b, "type": "text"} if isinstance(b, dict) and b.get("type") == "tool_response" else b for b in blocks]
    return {**message, "content": made}


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)


def _cached(block: Mapping[str, Any], before: Mapping[str, Any]) -> Payload:
    mark = block.get("cache_control") or before.get("cache_control")
    return {"cache_control": mark} if mark else {}


def _result(block: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, list[Any]]:
    """The text of a result, and its other parts."""
    content = block.get("content")
    pieces = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    texts: list[str] = []
    others: list[Any] = []
    for piece in pieces:
        if isinstance(piece, dict) and piece.get("type") == "tool_reference":
            texts.append(f"[tool available: {piece.get('tool_name')}]")
        elif _is_text(piece):
            texts.append(piece["text"] if piece["text"].strip() else "")
        else:
            others.append(piece)
    text = joined(*texts) or NO_OUTPUT
    if block.get("is_error") is True:
        text = marked_error(text)
    return result_text(names.get(str(block.get("tool_use_id")), ""), text), others


def _with_text(system: Any, text: str) -> Any:
    if not isinstance(system, list):
        return joined(system if isinstance(system, str) else "", text)
    block: Payload = {"type": "text", "text": text}
    if system and isinstance(system[-1], dict) and (mark := system[-1].get("cache_control")):
        block["cache_control"] = mark  # added at the end of the unchanging part
        system = [*system[:-1], {key: value for key, value in system[-1].items() if key != "cache_control"}]
    return [*system, block]


def _with_words(messages: list[Payload], words: str) -> list[Payload]:
    """The conversation with this text at its end, unless the assistant has begun to answer."""
    last = messages[-1] if messages else {}
    if last.get("role") != "user":
        return messages if last.get("role") == "assistant" else [*messages, {"role": "user", "content": words}]
    content = last.get("content")
    said: Any = joined(content, words) if isinstance(content, str) else [
        *(content or ()), {"type": "text", "text": words}
    ]  # fmt: skip
    return [*messages[:-1], {**last, "content": said}]


class AnthropicAnswer(Answer):
    """An answer of the Messages API."""

    def _on_event(self, event: Payload) -> list[Payload]:
        match event.get("type"):
            case "content_block_start":
                return self._on_start(event)
            case "content_block_delta":
                return self._on_delta(event)
            case "content_block_stop":
                return [] if self._in_text else self._stopped()
            case "message_delta":
                return self.ends(event)
            case "error":
                return [*self._end_text(), event]
        return [event]

    def begin(self) -> None:
        self._index = 0  # of the next block
        self._in_text = False
        self._open = False  # the text block has been started
        self._blank = ""  # whitespace that is sent only if something follows

    def last(self) -> list[Payload]:
        return [] if self.ended else self._end_text()

    def _on_start(self, event: Payload) -> list[Payload]:
        block = event.get("content_block")
        block = block if isinstance(block, dict) else {}
        events = self._end_text()
        if block.get("type") == "text":
            self._in_text = True
            return [*events, *self._shown(self.feed(str(block.get("text") or "")))]
        self.has_calls |= block.get("type") == "tool_use"
        return [*events, {**event, "index": self._index}]

    def _on_delta(self, event: Payload) -> list[Payload]:
        delta = event.get("delta")
        if not self._in_text or not isinstance(delta, dict):
            return [{**event, "index": self._index}]
        if delta.get("type") == "text_delta":
            return self._shown(self.feed(str(delta.get("text") or "")))
        return [{**event, "index": self._index}] if self._open else []

    def _stopped(self) -> list[Payload]:
        self._index += 1
        return [{"type": "content_block_stop", "index": self._index - 1}]

    def _shown(self, text: str) -> list[Payload]:
        if not text:
            return []
        text, self._blank = self._blank + text, ""
        if not self._open and text.isspace():
            self._blank = text
            return []
        events: list[Payload] = []
        if not self._open:
            self._open = True
            block = {"type": "text", "text": ""}
            events.append({"type": "content_block_start", "index": self._index, "content_block": block})
        delta = {"type": "text_delta", "text": text}
        return [*events, {"type": "content_block_delta", "index": self._index, "delta": delta}]

    def _end_text(self) -> list[Payload]:
        """Something else follows the text, so it is not a call."""
        events = self._shown(self.release()) if self._in_text else []
        return events + self._close_text()

    def _close_text(self) -> list[Payload]:
        opened, self._in_text, self._open, self._blank = self._open, False, False, ""
        return self._stopped() if opened else []

    def ending(self, event: Payload, outcome: Outcome) -> list[Payload]:
        blank = self._blank
        events = [*self._shown(outcome.text), *self._close_text()]
        if not events and not outcome.calls and self._index == 0:
            block = {"type": "text", "text": ""}
            events = [{"type": "content_block_start", "index": 0, "content_block": block}]
            if blank:
                delta = {"type": "text_delta", "text": blank}
                events.append({"type": "content_block_delta", "index": 0, "delta": delta})
            events += self._stopped()
        for call in outcome.calls:
            begun: Payload = {"type": "tool_use", "id": _new_id(), "name": call.name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": dumps(call.arguments).decode()}
            events += [
                {"type": "content_block_start", "index": self._index, "content_block": begun},
                {"type": "content_block_delta", "index": self._index, "delta": delta},
                *self._stopped(),
            ]
        end = event.get("delta")
        if outcome.calls and isinstance(end, dict):
            event = {**event, "delta": {**end, **_stop(end)}}
        return [*events, event]

    def whole(self, answer: Payload) -> Payload | None:
        content = answer.get("content")
        blocks = content if isinstance(content, list) else []
        self.has_calls = any(isinstance(block, dict) and block.get("type") == "tool_use" for block in blocks)
        last = blocks[-1] if blocks else None
        if self.has_calls or last is None or not _is_text(last):
            return answer
        shown = self.feed(last["text"])
        self._blocks = [*blocks[:-1], {**last, "text": shown}]
        return None

    def whole_with(self, answer: Payload, outcome: Outcome) -> Payload:
        *blocks, last = self._blocks
        text = last["text"] + outcome.text
        if text.strip() or not outcome.calls:
            blocks.append({**last, "text": text})
        for call in outcome.calls:
            blocks.append({"type": "tool_use", "id": _new_id(), "name": call.name, "input": call.arguments})
        return {**answer, "content": blocks, **(_stop(answer) if outcome.calls else {})}


def _new_id() -> str:
    return "toolu_" + secrets.token_hex(12)


def _stop(holder: Mapping[str, Any]) -> Payload:
    """The stop reason of an answer with calls."""
    if holder.get("stop_reason") in ("end_turn", "stop_sequence", None):
        return {"stop_reason": "tool_use", "stop_sequence": None}
    return {}
