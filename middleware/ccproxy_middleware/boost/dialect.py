"""The interface between the boost loop and the APIs: everything that differs between them.

``dialect_of`` returns the dialect of a path. The classes are stateless.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from ..conversion.anthropic import message_events
from ..conversion.chat import chunks_text, find_usage
from ..conversion.providers import error_from_payload
from ..toolkit.errors import ApiError
from ..toolkit.json import dumps
from ..toolkit.sse import sse_event
from .responses import ResponsesDialect
from .usage import Seen, Usage, add_to_anthropic, add_to_openai, from_anthropic, from_openai

Payload = dict[str, Any]

DONE = b"data: [DONE]\n\n"


class Dialect(Protocol):
    """The operations of the loop on a request and its answers."""

    api: str  # anthropic, chat, responses

    def messages(self, data: Mapping[str, Any]) -> Any:
        """The conversation."""
        ...

    def with_guidance(self, data: Mapping[str, Any], text: str) -> Payload:
        """The request with one more system text at the end of the conversation."""
        ...

    def tool_choice(self, data: Mapping[str, Any]) -> str:
        """``auto``, ``none``, or ``forced`` where the answer must call a tool."""
        ...

    def fixes_format(self, data: Mapping[str, Any]) -> bool:
        """Whether the client requires an answer that follows a JSON schema, which is not passed to the planner."""
        ...

    def includes_usage(self, data: Mapping[str, Any]) -> bool:
        """Whether a stream must report the usage."""
        ...

    def see_event(self, event: Payload) -> Seen:
        """Read one event of a stream."""
        ...

    def see_answer(self, answer: Payload) -> Seen:
        """Read a whole answer."""
        ...

    def add_usage(self, payload: Payload, more: Usage) -> Payload:
        """An answer or an event with the usage of other calls added, if it reports any."""
        ...

    def frame(self, payload: Payload) -> bytes:
        """An event as a server-sent event."""
        ...

    def as_stream(self, answer: Payload) -> list[bytes]:
        """The frames of a whole answer, for an inner app that doesn't stream. Raises ApiError."""
        ...

    def error_frame(self, error: ApiError, request_id: str) -> bytes:
        """The event that ends a failed stream."""
        ...


def dialect_of(path: str) -> Dialect | None:
    """The dialect of ``POST`` to a path below the mount; None if it does not request an answer."""
    if path == "/v1/messages":
        return AnthropicDialect()
    if path.endswith("/responses"):
        return ResponsesDialect()
    return OpenAIDialect() if path.endswith("/chat/completions") else None


def _with_guidance(data: Mapping[str, Any], text: str) -> Payload:
    """The request with an additional system text at the end of its messages, so that the prompt's prefix stays the
    same.

    If the answer is to continue a message of the assistant's, that stays the last one. The text is added to a system
    message that is there already. Models with a ``developer`` role get the text in that role.
    """
    messages = list(data["messages"])
    prefill = messages[-1:] if messages and _is_prefill(messages[-1]) else []
    messages = messages[: len(messages) - len(prefill)]
    role = "developer" if any(_role(message) == "developer" for message in messages) else "system"
    if messages and _role(messages[-1]) == role:
        content = messages[-1].get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
        last = {**messages.pop(), "content": [*parts, {"type": "text", "text": text}]}
        if isinstance(content, str):
            last["content"] = f"{content}\n\n{text}"
    else:
        last = {"role": role, "content": text}
    return {**data, "messages": [*messages, last, *prefill]}


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _is_prefill(message: Any) -> bool:
    return _role(message) == "assistant" and not message.get("tool_calls")


class OpenAIDialect:
    """The Chat Completions API."""

    api = "chat"

    def messages(self, data: Mapping[str, Any]) -> Any:
        return data.get("messages")

    def with_guidance(self, data: Mapping[str, Any], text: str) -> Payload:
        return _with_guidance(data, text)

    def tool_choice(self, data: Mapping[str, Any]) -> str:
        choice = data.get("tool_choice")
        if isinstance(choice, Mapping) or choice in ("required", "any"):
            return "forced"
        return "none" if choice == "none" else "auto"

    def fixes_format(self, data: Mapping[str, Any]) -> bool:
        format_ = data.get("response_format")
        return isinstance(format_, Mapping) and format_.get("type") != "text"

    def includes_usage(self, data: Mapping[str, Any]) -> bool:
        options = data.get("stream_options")
        return isinstance(options, Mapping) and options.get("include_usage") is True

    def see_event(self, event: Payload) -> Seen:
        return self._see(event, "delta")

    def see_answer(self, answer: Payload) -> Seen:
        seen = self._see(answer, "message")
        choices = answer.get("choices")
        seen.complete = isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict)
        return seen

    def _see(self, data: Payload, holder: str) -> Seen:
        if data.get("error") and not data.get("choices"):
            return Seen(error=error_from_payload(data))
        choices = data.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        usage = find_usage(data, choice)
        seen = Seen(complete=bool(choice.get("finish_reason")))
        if usage is not None:
            seen.usage = from_openai(usage, "", "")
        said = choice.get(holder)
        if isinstance(said, dict):
            content = said.get("content")
            seen.text = chunks_text(content, "text") if isinstance(content, list) else content or ""
            seen.calls_tool = bool(said.get("tool_calls") or said.get("function_call"))
        return seen

    def add_usage(self, payload: Payload, more: Usage) -> Payload:
        usage = payload.get("usage")
        return {**payload, "usage": add_to_openai(usage, more)} if isinstance(usage, dict) and usage else payload

    def frame(self, payload: Payload) -> bytes:
        return b"data: " + dumps(payload) + b"\n\n"

    def as_stream(self, answer: Payload) -> list[bytes]:
        head = {**answer, "object": "chat.completion.chunk"}
        usage = head.pop("usage", None)
        choices = []
        try:
            for choice in answer["choices"]:
                delta = dict(choice["message"])
                if calls := delta.get("tool_calls"):
                    delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(calls)]
                choices.append({**{k: v for k, v in choice.items() if k != "message"}, "delta": delta})
        except (AttributeError, KeyError, TypeError) as error:
            raise ApiError(502, "api_error", "the provider's answer is not a chat completion") from error
        frames = [self.frame({**head, "choices": choices})]
        if usage:
            frames.append(self.frame({**head, "choices": [], "usage": usage}))
        return [*frames, DONE]

    def error_frame(self, error: ApiError, request_id: str) -> bytes:
        return self.frame(error.openai_body())


class AnthropicDialect:
    """The Messages API."""

    api = "anthropic"

    def messages(self, data: Mapping[str, Any]) -> Any:
        return data.get("messages")

    def with_guidance(self, data: Mapping[str, Any], text: str) -> Payload:
        return _with_guidance(data, text)

    def tool_choice(self, data: Mapping[str, Any]) -> str:
        choice = data.get("tool_choice")
        kind = choice.get("type") if isinstance(choice, Mapping) else None
        return "forced" if kind in ("any", "tool") else "none" if kind == "none" else "auto"

    def fixes_format(self, data: Mapping[str, Any]) -> bool:
        config = data.get("output_config")
        return bool(data.get("output_format") or (isinstance(config, Mapping) and config.get("format")))

    def includes_usage(self, data: Mapping[str, Any]) -> bool:
        return True

    def see_event(self, event: Payload) -> Seen:
        seen = Seen()
        match event.get("type"):
            case "content_block_start":
                block = event.get("content_block")
                if isinstance(block, dict):
                    seen.calls_tool = block.get("type") in ("tool_use", "server_tool_use")
                    seen.text = str(block.get("text") or "")
            case "content_block_delta":
                delta = event.get("delta")
                seen.text = str(delta.get("text") or "") if isinstance(delta, dict) else ""
            case "message_delta":
                usage = event.get("usage")
                seen.usage = from_anthropic(usage) if isinstance(usage, dict) else None
            case "message_stop":
                seen.complete = True
            case "error":
                seen.error = error_from_payload(event)
        return seen

    def see_answer(self, answer: Payload) -> Seen:
        if answer.get("type") == "error":
            return Seen(error=error_from_payload(answer))
        usage = answer.get("usage")
        content = answer.get("content")
        seen = Seen(
            usage=from_anthropic(usage) if isinstance(usage, dict) else None, complete=isinstance(content, list)
        )
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict):
                seen.calls_tool |= block.get("type") in ("tool_use", "server_tool_use")
                seen.text += str(block.get("text") or "")
        return seen

    def add_usage(self, payload: Payload, more: Usage) -> Payload:
        if isinstance(payload.get("message"), dict):  # message_start
            return {**payload, "message": self.add_usage(payload["message"], more)}
        usage = payload.get("usage")
        return {**payload, "usage": add_to_anthropic(usage, more)} if isinstance(usage, dict) else payload

    def frame(self, payload: Payload) -> bytes:
        return sse_event(str(payload.get("type")), payload)

    def as_stream(self, answer: Payload) -> list[bytes]:
        try:
            return message_events({"stop_details": None, "stop_sequence": None, **answer})
        except (KeyError, TypeError) as error:
            raise ApiError(502, "api_error", "the provider's answer is not a message") from error

    def error_frame(self, error: ApiError, request_id: str) -> bytes:
        return sse_event("error", error.body(request_id))
