"""Requests and answers of Chat Completions."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ..conversion.chat import chunks_text
from ..conversion.text_calls import Call
from ..toolkit.errors import invalid_request
from ..toolkit.json import dumps
from .answers import Answer, Outcome
from .prompt import Payload, Prompt, joined
from .words import Choice, Tool, call_text, result_text, tools_text, with_calls

_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")
_SYSTEM = ("system", "developer")


class ChatPrompter:
    """Chat Completions."""

    def concerns(self, data: Mapping[str, Any]) -> bool:
        messages = data.get("messages")
        told = messages if isinstance(messages, list) else []
        return bool(data.get("tools")) or any(
            isinstance(message, dict) and (message.get("role") == "tool" or message.get("tool_calls"))
            for message in told
        )

    def prompt(self, data: Mapping[str, Any]) -> Prompt:
        messages = data.get("messages")
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise invalid_request("messages: a list of messages is required")
        listed = data.get("tools")
        tools = tuple(tool for item in listed if (tool := _tool(item))) if isinstance(listed, list) else ()
        choice = read_choice(data)
        body = {key: value for key, value in data.items() if key not in _OF_TOOLS}
        told = _messages(messages)
        if tools:
            told = _with_system(told, tools_text(tools))
            if words := choice.words():
                told = _with_words(told, words)
        body["messages"] = told
        return Prompt(body, () if choice.kind == "none" else tools)

    def repair(self, data: Payload, said: str, words: str) -> Payload:
        more = [{"role": "assistant", "content": said}, {"role": "user", "content": words}]
        return {**data, "messages": [*data["messages"], *more]}


def read_choice(data: Mapping[str, Any]) -> Choice:
    """``tool_choice`` of either OpenAI API."""
    choice = data.get("tool_choice")
    one = data.get("parallel_tool_calls") is False
    if isinstance(choice, dict):
        inner = choice.get("function")
        name = (inner if isinstance(inner, dict) else choice).get("name")
        return Choice("tool", str(name), one) if name else Choice("any", one=one)
    if choice in ("required", "any"):
        return Choice("any", one=one)
    return Choice("none" if choice == "none" else "auto", one=one)


def _tool(item: Any) -> Tool | None:
    function = item.get("function") if isinstance(item, dict) else None
    return function_tool(function) if isinstance(function, dict) else None


def function_tool(function: Mapping[str, Any]) -> Tool:
    """A function of either OpenAI API."""
    description = function.get("description")
    schema = function.get("parameters", {"type": "object"})
    return Tool(str(function.get("name")), description if isinstance(description, str) else "", schema)


def _messages(messages: Sequence[Payload]) -> list[Payload]:
    """The conversation without calls. Consecutive results and the user's next text become one user message."""
    names: dict[str, str] = {}
    told: list[Payload] = []
    results = False  # the last message consists of results
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            name = names.get(str(message.get("tool_call_id")), str(message.get("name") or ""))
            text = result_text(name, _text(content))
            told = _with_user(told, text, merge=results)
            told += [{"role": "user", "content": others}] if (others := _others(content)) else []
            results = not others
        elif role == "user" and results:
            results = False
            told = _with_user(told, content, merge=True)
        else:
            results = False
            calls = message.get("tool_calls")
            if role == "assistant" and isinstance(calls, list):
                message = {key: value for key, value in message.items() if key != "tool_calls"}
                message["content"] = with_calls(_text(content), [_call(call, names) for call in calls])
            told.append(message)
    return told


def _call(call: Any, names: dict[str, str]) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    function = function if isinstance(function, dict) else {}
    name = str(function.get("name"))
    names[str(call.get("id") if isinstance(call, dict) else "")] = name
    return call_text(name, str(function.get("arguments") or "{}"))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else chunks_text(content, "text") if isinstance(content, list) else ""


def _others(content: Any) -> list[Any]:
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict) and part.get("type") != "text"]


def _with_user(messages: list[Payload], content: Any, *, merge: bool) -> list[Payload]:
    """The conversation with the user's text, which is added to the last message if that consists of results."""
    if not merge:
        return [*messages, {"role": "user", "content": content}]
    *before, last = messages
    return [*before, {**last, "content": _added(last.get("content"), content)}]


def _added(content: Any, more: Any) -> Any:
    """Content with more appended to it."""
    if isinstance(content, str) and isinstance(more, str):
        return joined(content, more)
    parts = [{"type": "text", "text": item} if isinstance(item, str) else item for item in (content, more)]
    return [part for item in parts if item for part in (item if isinstance(item, list) else [item])]


def _with_system(messages: list[Payload], text: str) -> list[Payload]:
    if messages and messages[0].get("role") in _SYSTEM:
        first, *rest = messages
        return [{**first, "content": _added(first.get("content") or "", text)}, *rest]
    return [{"role": "system", "content": text}, *messages]


def _with_words(messages: list[Payload], words: str) -> list[Payload]:
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant":  # it has begun to answer
        return messages
    return _with_user(messages, words, merge=last.get("role") == "user")


class ChatAnswer(Answer):
    """An answer of Chat Completions."""

    def begin(self) -> None:
        self._head: Payload = {}  # of the chunks, for one of ours

    def _on_event(self, event: Payload) -> list[Payload]:
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or choice.get("index", 0) != 0:
            return [event]
        self._head = {key: value for key, value in event.items() if key not in ("choices", "usage")}
        delta = choice.get("delta")
        events: list[Payload] = []
        if isinstance(delta, dict):
            if delta.get("tool_calls"):
                self.has_calls = True
                events += self._text(self.release())
            if isinstance(text := delta.get("content"), str) and text:
                shown = self.feed(text) if not self.has_calls else text
                delta = {**delta, "content": shown}
                if not shown:
                    del delta["content"]
                choice = {**choice, "delta": delta}
                event = {**event, "choices": [choice, *choices[1:]]}  # type: ignore[index]
        if choice.get("finish_reason"):
            return [*events, *self.ends(event)]
        return [*events, event] if delta or event.get("usage") or not isinstance(delta, dict) else events

    def last(self) -> list[Payload]:
        if self.ended:
            return []
        self.ended = True
        outcome = self.outcome()
        if self.spoiled:
            text, self.spoiled = self.spoiled, ""
            return self._text(text)
        return [*self._text(outcome.text), *self._call_chunks(outcome.calls)]

    def _text(self, text: str) -> list[Payload]:
        return [self._chunk({"content": text})] if text else []

    def _chunk(self, delta: Payload) -> Payload:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    def _call_chunks(self, calls: Sequence[Call]) -> list[Payload]:
        listed = [{"index": n, **call} for n, call in enumerate(_calls(calls))]
        return [self._chunk({"tool_calls": listed})] if listed else []

    def ending(self, event: Payload, outcome: Outcome) -> list[Payload]:
        first, *others = event["choices"]
        delta = first.get("delta")
        before: list[Payload] = []
        if delta and outcome.calls:  # what comes with the finish reason precedes the calls
            before.append({**event, "choices": [{**first, "finish_reason": None}]})
            before[0].pop("usage", None)
            first = {**first, "delta": {}}
        if outcome.calls and first.get("finish_reason") == "stop":
            first = {**first, "finish_reason": "tool_calls"}
        before += self._text(outcome.text)
        return [*before, *self._call_chunks(outcome.calls), {**event, "choices": [first, *others]}]

    def whole(self, answer: Payload) -> Payload | None:
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict) or message.get("tool_calls") or not isinstance(message.get("content"), str):
            return answer
        self._shown = self.feed(message["content"])
        return None

    def whole_with(self, answer: Payload, outcome: Outcome) -> Payload:
        choice, *others = answer["choices"]
        text = self._shown + outcome.text
        message = {**choice["message"], "content": text}
        choice = {**choice, "message": message}
        if outcome.calls:
            message["content"] = text if text.strip() else None
            message["tool_calls"] = _calls(outcome.calls)
            if choice.get("finish_reason") == "stop":
                choice["finish_reason"] = "tool_calls"
        return {**answer, "choices": [choice, *others]}


def _calls(calls: Sequence[Call]) -> list[Payload]:
    return [
        {
            "id": "call_" + secrets.token_hex(12),
            "type": "function",
            "function": {"name": call.name, "arguments": dumps(call.arguments).decode()},
        }
        for call in calls
    ]
