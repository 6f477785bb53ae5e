"""Providers for the doctor: one that can do everything, and the ways in which others are worse."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from support.providers.scripted import Answer, Failure, Raw, Reply, ToolCall, error_body

Body: TypeAlias = dict[str, Any]
Script: TypeAlias = Callable[[Body], Answer]

OSLO, LIMA = ({"city": city, "unit": "celsius"} for city in ("Oslo", "Lima"))


def able(body: Body) -> Answer:
    """A model that does whatever the doctor asks for."""
    content = body["messages"][-1]["content"]
    question = content if isinstance(content, str) else json.dumps(content)
    tools = [tool["function"]["name"] for tool in body.get("tools", ())]
    if "Bash" in tools:
        return Reply(tool_calls=[ToolCall("Bash", {"command": "echo hello"})])
    if tools:
        both = "Lima" in question
        return Reply(tool_calls=[ToolCall("get_weather", city) for city in ((OSLO, LIMA) if both else (OSLO,))])
    if "image_url" in question:
        return Reply("Red.")
    if "17 * 3" in question:
        return Reply("51")
    if "1 to 9" in question:
        return Reply("1 2 3 4 5 6 " if body.get("stop") == ["7"] else "1 2 3 4 5 6 7 8 9")
    if "1 to 20" in question:
        return Reply([f"{n} " for n in range(1, 21)], delay=0.01)
    return Reply("OK")


def refuses(parameter: str, message: str) -> Script:
    """Refuses requests with a parameter."""
    return lambda body: Failure(400, error_body(message, param=parameter)) if parameter in body else able(body)


def refuses_if(odd: Callable[[Body], bool], message: str) -> Script:
    """Refuses what is odd, in words that no rule knows unless they are a known wording."""
    return lambda body: Failure(400, error_body(message)) if odd(body) else able(body)


def roles(body: Body) -> list[str]:
    """Who speaks, in order."""
    return [message["role"] for message in body["messages"]]


def has_late_system(body: Body) -> bool:
    """Whether a system message is not the first."""
    return "system" in roles(body)[1:]


def has_user_after_tool(body: Body) -> bool:
    """Whether a user speaks right after a tool's result."""
    return ("tool", "user") in pairwise(roles(body))


def changed(**fields: Any) -> Script:
    """Changes each answer's fields."""
    return lambda body: replace(able(body), **fields)


def with_calls(change: Callable[[list[ToolCall]], list[ToolCall]]) -> Script:
    """Changes the tool calls of each answer that has some."""

    def script(body: Body) -> Answer:
        answer = able(body)
        assert isinstance(answer, Reply)
        return replace(answer, tool_calls=change(list(answer.tool_calls))) if answer.tool_calls else answer

    return script


def calls_as_text(body: Body) -> Answer:
    """Has no parser for what the model writes."""
    return Reply('<tool_call>{"name": "get_weather"}</tool_call>') if "tools" in body else able(body)


def whole_calls_as_text(body: Body) -> Answer:
    """The same, with all arguments."""
    answer = able(body)
    assert isinstance(answer, Reply)
    return Reply("\n".join(call_text(call) for call in answer.tool_calls)) if answer.tool_calls else answer


def prompted(body: Body) -> Answer:
    """Refuses tools, and calls those that its prompt describes."""
    if "tools" in body:
        return Failure(400, error_body("registry.ollama.ai/library/gemma:2b does not support tools"))
    if "<tools>" not in str(body.get("messages")):
        return able(body)
    if "<tool_response name" in str(body["messages"]) or "without a tool" in str(body["messages"]):
        return Reply("OK")
    name = "Bash" if '"Bash"' in str(body["messages"][0]) else "get_weather"
    return Reply(call_text(ToolCall(name, OSLO if name == "get_weather" else {"command": "echo hello"})))


def call_text(call: ToolCall) -> str:
    return f'<tool_call>{{"name": "{call.name}", "arguments": {call.text}}}</tool_call>'


def holds_streams_back(body: Body) -> Answer:
    """Sends a stream's events all at once, when the last one is there."""
    if not body.get("stream") or "tools" in body:
        return able(body)
    choices: Iterator[Body] = ({"index": 0, "delta": {"content": f"{n} "}} for n in range(1, 21))
    events = [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in choices]
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}\n\n'
    return Raw([0.2, b"".join(events) + usage + b"data: [DONE]\n\n"])


def never_streams(body: Body) -> Answer:
    """Answers everything with a whole document."""
    if not body.get("stream"):
        return able(body)
    document = {"choices": [{"message": {"role": "assistant", "content": "1 2 3"}, "finish_reason": "stop"}]}
    return Raw([json.dumps(document).encode()], headers={"content-type": "application/json"})


def sees_nothing(body: Body) -> Answer:
    """Refuses images."""
    refusal = error_body("This model does not support image inputs.")
    return Failure(400, refusal) if "image_url" in json.dumps(body) else able(body)


def forgets(body: Body) -> Answer:
    """Cuts a long prompt off in silence, as Ollama does."""
    answer = able(body)
    tokens = min(4096, len(json.dumps(body["messages"])) // 4)
    usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
    return replace(answer, usage=usage) if isinstance(answer, Reply) else answer


def thinks_on_request(body: Body) -> Answer:
    """Reasons where reasoning_effort asks for it."""
    answer = able(body)
    return (
        replace(answer, reasoning="Let me see.") if "reasoning_effort" in body and isinstance(answer, Reply) else answer
    )


def thinks_in_text(body: Body) -> Answer:
    """Leaves its reasoning in the text."""
    answer = able(body)
    assert isinstance(answer, Reply)
    return replace(answer, text=f"<think>\nHm.\n</think>\n\n{''.join(answer.text)}") if answer.text else answer


def thinks_long(body: Body) -> Answer:
    """Uses a low limit up before it says anything."""
    if body["max_tokens"] < 1000:
        return Reply(reasoning="Well, well.", finish_reason="length")
    return able(body)


def fails(body: Body) -> Answer:
    """Is down."""
    return Failure(400, error_body("out of order"))


class WebSite:
    """An API below ``/v1``, and web pages elsewhere."""

    def __init__(self, api: ASGIApp) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/v1/"):
            return await self.api(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<!doctype html><title>Welcome</title>"})


class BelowV1:
    """An API below ``/v1``, and 404 elsewhere."""

    def __init__(self, api: ASGIApp) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/v1/"):
            return await self.api(scope, receive, send)
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"detail": "Not Found"}'})


class NoList:
    """An API without ``GET /models``, and which only knows the models named here."""

    def __init__(self, api: ASGIApp) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/models"):
            return await self.api(scope, receive, send)
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"error": {"message": "Not found"}}'})
