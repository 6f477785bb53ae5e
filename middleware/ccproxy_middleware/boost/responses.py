"""The Responses API inside the conversion: its dialect, and a final answer of the planner's in its format."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from ..conversion.context import Context
from ..conversion.responses import CALLS, answer_usage, error_of_response, message_parts
from ..toolkit.errors import ApiError
from ..toolkit.sse import sse_event
from .usage import Seen, Usage, add_to_responses, from_anthropic

Payload = dict[str, Any]

_ENDS = ("response.completed", "response.done", "response.incomplete")


class ResponsesDialect:
    """The Responses API."""

    api = "responses"

    def messages(self, data: Mapping[str, Any]) -> Any:
        return data.get("input")

    def tool_choice(self, data: Mapping[str, Any]) -> str:
        choice = data.get("tool_choice")
        if isinstance(choice, Mapping) or choice == "required":
            return "forced"
        return "none" if choice == "none" else "auto"

    def fixes_format(self, data: Mapping[str, Any]) -> bool:
        text = data.get("text")
        form = text.get("format") if isinstance(text, Mapping) else None
        return isinstance(form, Mapping) and form.get("type") != "text"

    def includes_usage(self, data: Mapping[str, Any]) -> bool:
        return True

    def with_guidance(self, data: Mapping[str, Any], text: str) -> Payload:
        items = list(data["input"])
        prefill = items[-1:] if items and items[-1].get("role") == "assistant" else []
        items = items[: len(items) - len(prefill)]
        part = {"type": "input_text", "text": text}
        if items and items[-1].get("role") == "developer" and isinstance(items[-1].get("content"), list):
            last = items.pop()
            items.append({**last, "content": [*last["content"], part]})
        else:
            items.append({"type": "message", "role": "developer", "content": [part]})
        return {**data, "input": [*items, *prefill]}

    def see_event(self, event: Payload) -> Seen:
        kind = event.get("type")
        response = event.get("response")
        response = response if isinstance(response, dict) else {}
        item = event.get("item")
        if kind == "error" or (not kind and event.get("error")):
            return Seen(error=error_of_response(event.get("error") or event, Context(model="")))
        if kind == "response.failed" or response.get("error"):
            return Seen(error=error_of_response(response.get("error"), Context(model="")))
        if kind == "response.output_text.delta":
            return Seen(text=str(event.get("delta") or ""))
        if kind == "response.output_item.added" and isinstance(item, dict):
            return Seen(calls_tool=item.get("type") in CALLS)
        if kind in _ENDS:
            seen = self.see_answer({"output": [], **response})
            return Seen(calls_tool=seen.calls_tool, usage=seen.usage, complete=True)
        return Seen()

    def see_answer(self, answer: Payload) -> Seen:
        if answer.get("status") == "failed" or (answer.get("error") and "output" not in answer):
            return Seen(error=error_of_response(answer.get("error"), Context(model="")))
        output = answer.get("output")
        seen = Seen(complete=isinstance(output, list))
        if isinstance(answer.get("usage"), dict):
            seen.usage = from_anthropic(answer_usage(answer, Context(model=""), lambda: 0))
        for item in output if isinstance(output, list) else ():
            if isinstance(item, dict):
                seen.calls_tool |= item.get("type") in CALLS
                if item.get("type") == "message":
                    seen.text += "".join(text for text, _ in message_parts(item))
        return seen

    def add_usage(self, payload: Payload, more: Usage) -> Payload:
        if isinstance(payload.get("response"), dict):
            return {**payload, "response": self.add_usage(payload["response"], more)}
        usage = payload.get("usage")
        return {**payload, "usage": add_to_responses(usage, more)} if isinstance(usage, dict) and usage else payload

    def frame(self, payload: Payload) -> bytes:
        return sse_event(str(payload.get("type")), payload)

    def as_stream(self, answer: Payload) -> list[bytes]:
        output = answer.get("output")
        if not isinstance(output, list):
            raise ApiError(502, "api_error", "the provider's answer is not a response")
        events: list[Payload] = [
            {"type": "response.created", "response": {**answer, "status": "in_progress", "output": []}}
        ]
        events += [
            {"type": "response.output_item.done", "output_index": n, "item": item} for n, item in enumerate(output)
        ]
        end = "response.incomplete" if answer.get("status") == "incomplete" else "response.completed"
        return [self.frame(event) for event in [*events, {"type": end, "response": answer}]]

    def error_frame(self, error: ApiError, request_id: str) -> bytes:
        return sse_event("error", {"type": "error", "code": error.type, "message": error.message, "param": None})


class SummaryResponse:
    """The planner's final answer as a response, whole or in events."""

    def __init__(self, model: str) -> None:
        self._item = "msg_" + secrets.token_hex(12)
        self._begun = False
        self._number = 0  # of the events so far
        self._sent: list[str] = []
        self._head = {
            "id": "resp_boost" + secrets.token_hex(12),
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }

    def text(self, text: str) -> bytes:
        """The events for a piece of it."""
        frames = b""
        if not self._begun:
            self._begun = True
            created = {**self._head, "status": "in_progress", "output": []}
            item = {**self._message(""), "status": "in_progress", "content": []}
            frames = self._event("response.created", response=created)
            frames += self._event("response.output_item.added", output_index=0, item=item)
        self._sent.append(text)
        where = {"output_index": 0, "item_id": self._item, "content_index": 0}
        return frames + self._event("response.output_text.delta", **where, delta=text, logprobs=[])

    def end(self, finish_reason: str, usage: dict[str, Any]) -> bytes:
        """The last events."""
        frames = b"" if self._begun else self.text("")
        text = "".join(self._sent)
        frames += self._event("response.output_item.done", output_index=0, item=self._message(text))
        response = self.whole(text, finish_reason, usage)
        return frames + self._event(f"response.{response['status']}", response=response)

    def whole(self, text: str, finish_reason: str, usage: dict[str, Any]) -> dict[str, Any]:
        """All of it."""
        cut = finish_reason == "length"
        return {
            **self._head,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [self._message(text)],
            "usage": {
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
                **usage,
            },
        }

    def _message(self, text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {"type": "message", "id": self._item, "role": "assistant", "status": "completed", "content": content}

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return sse_event(kind, {"type": kind, "sequence_number": self._number - 1, **fields})
