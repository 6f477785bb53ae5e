"""Requests and answers of the Responses API."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ..conversion.text_calls import Call
from ..toolkit.errors import invalid_request
from ..toolkit.json import dumps
from .answers import Answer, Outcome
from .chat import function_tool, read_choice
from .prompt import Payload, Prompt, joined
from .words import call_text, result_text, tools_text, with_calls

_OF_TOOLS = ("tool_choice", "parallel_tool_calls")
_ENDS = ("response.completed", "response.done", "response.incomplete")
_DONE = ("response.output_text.done", "response.content_part.done", "response.output_item.done")


class ResponsesPrompter:
    """The Responses API."""

    def concerns(self, data: Mapping[str, Any]) -> bool:
        tools, items = data.get("tools"), data.get("input")
        if isinstance(tools, list) and any(map(_is_function, tools)):
            return True
        told = items if isinstance(items, list) else []
        types = (item.get("type") for item in told if isinstance(item, dict))
        return any(isinstance(type_, str) and type_.startswith("function_call") for type_ in types)

    def prompt(self, data: Mapping[str, Any]) -> Prompt:
        items = data.get("input")
        if isinstance(items, str):
            items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": items}]}]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise invalid_request("input: a list of items is required")
        listed = data.get("tools")
        listed = listed if isinstance(listed, list) else []
        tools = tuple(function_tool(tool) for tool in listed if _is_function(tool))
        choice = read_choice(data)
        body = {key: value for key, value in data.items() if key not in _OF_TOOLS}
        body["tools"] = [tool for tool in listed if not _is_function(tool)]
        if not body["tools"]:
            del body["tools"]
        told = _items(items)
        if tools:
            instructions = data.get("instructions")
            body["instructions"] = joined(instructions if isinstance(instructions, str) else "", tools_text(tools))
            words = choice.words()
            if words and not (told and told[-1].get("role") == "assistant"):
                told = _with_text(told, "user", words)
        body["input"] = told
        return Prompt(body, () if choice.kind == "none" else tools)

    def repair(self, data: Payload, said: str, words: str) -> Payload:
        return {**data, "input": [*data["input"], _message("assistant", said), _message("user", words)]}


def _is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function"


def _is_part(part: Any) -> bool:
    return isinstance(part, dict)


def _message(role: str, text: str) -> Payload:
    part = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    return {"type": "message", "role": role, "content": [part]}


def _items(items: Sequence[Payload]) -> list[Payload]:
    names: dict[str, str] = {}
    told: list[Payload] = []
    for item in items:
        match item.get("type"):
            case "function_call":
                name = str(item.get("name"))
                names[str(item.get("call_id"))] = name
                told = _with_call(told, call_text(name, str(item.get("arguments") or "{}")))
            case "function_call_output":
                told = _with_result(told, names.get(str(item.get("call_id")), ""), item.get("output"))
            case _:
                told.append(item)
    return told


def _with_call(items: list[Payload], text: str) -> list[Payload]:
    last = items[-1] if items else {}
    content = last.get("content")
    if isinstance(content, str):
        content = [{"type": "output_text", "text": content}]
    if last.get("role") != "assistant" or not isinstance(content, list) or not all(map(_is_part, content)):
        return [*items, _message("assistant", text)]
    parts = list(content)
    said = parts.pop() if parts and "text" in parts[-1] else {"type": "output_text", "text": ""}
    parts.append({**said, "text": with_calls(str(said["text"]), [text])})
    return [*items[:-1], {**last, "content": parts}]


def _with_result(items: list[Payload], name: str, output: Any) -> list[Payload]:
    parts = output if isinstance(output, list) else [{"type": "input_text", "text": str(output)}]
    texts = [str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part]
    others = [part for part in parts if isinstance(part, dict) and "text" not in part]
    items = _with_text(items, "user", result_text(name, joined(*texts)))
    return [*items[:-1], {**items[-1], "content": [*items[-1]["content"], *others]}] if others else items


def _with_text(items: list[Payload], role: str, text: str) -> list[Payload]:
    """The items with a text at the end, which is added to the last message if that has the same role."""
    last = items[-1] if items else {}
    content = last.get("content")
    if last.get("role") != role or not isinstance(content, list) or not all(map(_is_part, content)):
        return [*items, _message(role, text)]
    if content and content[-1].get("type") == "input_text":
        part = {**content[-1], "text": joined(str(content[-1].get("text") or ""), text)}
        return [*items[:-1], {**last, "content": [*content[:-1], part]}]
    return [*items[:-1], {**last, "content": [*content, {"type": "input_text", "text": text}]}]


class ResponsesAnswer(Answer):
    """An answer of the Responses API."""

    def begin(self) -> None:
        self._shown: list[str] = []  # of the text that is open
        self._where: Payload = {}
        self._dones: list[Payload] = []  # the ends of its part and its item
        self._items = 0  # so many have come

    def _on_event(self, event: Payload) -> list[Payload]:
        kind = event.get("type")
        if kind == "response.output_text.delta":
            self._where = {key: event[key] for key in ("output_index", "item_id", "content_index") if key in event}
            shown = self.feed(str(event.get("delta") or ""))
            self._shown.append(shown)
            return [*self._flush(), {**event, "delta": shown}] if shown else []
        if self._where and kind in _DONE:
            self._dones.append(event)
            return []
        if kind in _ENDS:
            return self.ends(event)
        if kind == "response.output_item.added":
            self._items += 1
            item = event.get("item")
            self.has_calls |= isinstance(item, dict) and item.get("type") == "function_call"
            return [*self._flush(), event]
        return [*self._flush(), event] if kind in ("error", "response.failed") else [event]

    def last(self) -> list[Payload]:
        return [] if self.ended else [*self._delta(self.release()), *self._dones]

    def _flush(self) -> list[Payload]:
        """The end of a text, because something else follows it."""
        if not self._dones:
            return []
        events = [*self._delta(self.release()), *self._dones]
        self._close()
        return events

    def _close(self) -> None:
        self._shown, self._where, self._dones = [], {}, []

    def _delta(self, text: str) -> list[Payload]:
        if not text:
            return []
        self._shown.append(text)
        return [{"type": "response.output_text.delta", **self._where, "delta": text}]

    def ending(self, event: Payload, outcome: Outcome) -> list[Payload]:
        events = self._delta(outcome.text)
        text = "".join(self._shown)
        events += [_with_text_of(done, text) for done in self._dones] if outcome.calls else self._dones
        response = event.get("response")
        if not outcome.calls or not isinstance(response, dict):
            return [*events, event]
        self._close()
        items = [_call_item(call) for call in outcome.calls]
        for n, item in enumerate(items, self._items):
            begun = {**item, "arguments": "", "status": "in_progress"}
            where = {"output_index": n, "item_id": item["id"]}
            events += [
                {"type": "response.output_item.added", "output_index": n, "item": begun},
                {"type": "response.function_call_arguments.delta", **where, "delta": item["arguments"]},
                {"type": "response.function_call_arguments.done", **where, "arguments": item["arguments"]},
                {"type": "response.output_item.done", "output_index": n, "item": item},
            ]
        output = response.get("output")
        if isinstance(output, list) and output:
            response = {**response, "output": [*_with_last_text(output, text), *items]}
        return [*events, {**event, "response": response}]

    def whole(self, answer: Payload) -> Payload | None:
        output = answer.get("output")
        items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        self.has_calls = any(item.get("type") == "function_call" for item in items)
        part = _last_part(items)
        if self.has_calls or part is None:
            return answer
        self._shown = [self.feed(part["text"])]
        return None

    def whole_with(self, answer: Payload, outcome: Outcome) -> Payload:
        output = _with_last_text(answer["output"], "".join(self._shown) + outcome.text)
        return {**answer, "output": [*output, *map(_call_item, outcome.calls)]}


def _call_item(call: Call) -> Payload:
    return {
        "type": "function_call",
        "id": "fc_" + secrets.token_hex(12),
        "call_id": "call_" + secrets.token_hex(12),
        "name": call.name,
        "arguments": dumps(call.arguments).decode(),
        "status": "completed",
    }


def _last_part(items: Sequence[Any]) -> Payload | None:
    """The text at the end of an answer; None if it ends in something else."""
    last = items[-1] if items else None
    content = last.get("content") if isinstance(last, dict) and last.get("type") == "message" else None
    part = content[-1] if isinstance(content, list) and content else None
    return part if isinstance(part, dict) and isinstance(part.get("text"), str) else None


def _with_last_text(output: list[Any], text: str) -> list[Any]:
    part = _last_part(output)
    if part is None:
        return output
    last = output[-1]
    return [*output[:-1], {**last, "content": [*last["content"][:-1], {**part, "text": text}]}]


def _with_text_of(done: Payload, text: str) -> Payload:
    """An event that contains a whole text, with another text."""
    if isinstance(done.get("text"), str):
        return {**done, "text": text}
    if isinstance(part := done.get("part"), dict) and "text" in part:
        return {**done, "part": {**part, "text": text}}
    item = done.get("item")
    return {**done, "item": _with_last_text([item], text)[0]} if isinstance(item, dict) else done
