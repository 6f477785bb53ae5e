"""A session that goes to another upstream in the midst of a tool loop, and back: chat, responses and anthropic."""

import itertools
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.types import ASGIApp

from ccproxy.forwarding import AnthropicForward, Forward
from ccproxy_middleware import FormatConversionMiddleware, PassthroughMiddleware
from support.asgi import call, http_scope
from support.clients.sdk import accumulate
from support.providers.anthropic_server import AnthropicServer, Content
from support.providers.scripted import Answer, Chunks, Reply, ScriptedProvider, ToolCall
from support.serving.servers import serve

pytestmark = pytest.mark.anyio

KINDS = ("chat", "responses", "anthropic")
TOOLS = [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {}}}]
RESULTS = 3  # until a model is done
THINKING = [{"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}]


@dataclass
class Upstream:
    """One provider, and the layers in front of it.

    sent: the requests that it got. refused: the words of its refusals. marks: what its own state is recognised by.
    """

    app: ASGIApp
    sent: Callable[[], list[str]]
    refused: Callable[[], list[str]]
    marks: Callable[[], list[str]]


def is_done(body: dict[str, Any]) -> bool:
    """Whether the model has got its results since the user last spoke."""
    results = 0
    for item in reversed(body.get("messages") or body["input"]):
        content = item.get("content")
        blocks = content if isinstance(content, list) else []
        by_openai = item.get("role") == "tool" or item.get("type") == "function_call_output"
        if by_openai or any(block["type"] == "tool_result" for block in blocks):
            results += 1
        elif item.get("role") == "user":
            break
    return results >= RESULTS


def anthropic_upstream(name: str, stack: ExitStack) -> Upstream:
    numbers = itertools.count()

    def said(body: dict[str, Any]) -> Content:
        n = next(numbers)
        blocks: Content = []
        if body["thinking"]["type"] != "disabled":
            blocks = [{"type": "thinking", "thinking": f"thought {n}"}]
        if is_done(body):
            return [*blocks, {"type": "text", "text": f"{name} is done"}]
        return [*blocks, {"type": "tool_use", "id": f"toolu_{name}{n}", "name": "Read", "input": {}}]

    server = AnthropicServer(said, strict=True, salt=name)
    url = stack.enter_context(serve(server, lifespan="off")).url
    forward = PassthroughMiddleware(AnthropicForward(url, api_keys=("the-key",), max_retries=0))
    return Upstream(
        forward, lambda: [raw.decode() for raw in server.raws], lambda: server.refused, lambda: server.signed
    )


def openai_upstream(name: str, kind: str, stack: ExitStack) -> Upstream:
    states: list[str] = []

    def said(body: dict[str, Any]) -> Answer:
        call = () if is_done(body) else (ToolCall("Read", {}),)
        text = f"{name} is done" if not call else ""
        if kind == "responses":
            return Reply(text, call, reasoning="thought")
        states.append(f"state-of-{name}-{len(states)}")
        detail = {"type": "reasoning.encrypted", "data": states[-1], "index": 0}
        delta: dict[str, Any] = {"role": "assistant", "content": text, "reasoning_details": [detail]}
        if call:
            function = {"name": "Read", "arguments": "{}"}
            delta["tool_calls"] = [
                {"index": 0, "id": f"call.{name}:{len(states)}", "type": "function", "function": function}
            ]
        choice = {"index": 0, "delta": delta, "finish_reason": "tool_calls" if call else "stop"}
        return Chunks([{"id": "1", "object": "chat.completion.chunk", "model": body["model"], "choices": [choice]}])

    provider = ScriptedProvider(said, allow=("reasoning", "usage", "reasoning_split", "thinking"))
    url = stack.enter_context(serve(provider, lifespan="off")).url
    profile = "openai" if kind == "responses" else {"a": "openrouter", "b": "minimax"}[name]
    forward = Forward(url + "/v1", max_retries=0)
    app = FormatConversionMiddleware(forward, provider=profile, options={"api": kind})
    return Upstream(
        app,
        lambda: [request.raw.decode() for request in provider.requests],
        list,
        lambda: [*states, *(json.dumps(item["encrypted_content"])[1:-1] for item in provider.issued)],
    )


def upstream(name: str, kind: str, stack: ExitStack) -> Upstream:
    return anthropic_upstream(name, stack) if kind == "anthropic" else openai_upstream(name, kind, stack)


@pytest.mark.parametrize("thinking", THINKING, ids=["enabled", "adaptive"])
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
async def test_session_goes_on_wherever_it_is_sent(first: str, second: str, thinking: dict[str, Any]) -> None:
    with ExitStack() as stack:
        a, b = upstream("a", first, stack), upstream("b", second, stack)
        request = {"max_tokens": 9000, "stream": True, "tools": TOOLS, "thinking": thinking}
        messages: list[dict[str, Any]] = []
        asked = itertools.cycle([(a, "model-a"), (b, "model-b")])
        ends: list[str] = []
        for question in range(3):
            messages.append({"role": "user", "content": f"Question {question}"})
            for turn in range(RESULTS + 1):
                at, model = next(asked)
                body = {**request, "model": model, "messages": messages}
                answer = await call(at.app, http_scope("POST", "/v1/messages"), body)
                assert answer.status == 200, answer.body
                said = accumulate(answer.body)
                messages.append({"role": "assistant", "content": said["content"]})
                if turn < RESULTS:
                    used = [block for block in said["content"] if block["type"] == "tool_use"]
                    results = [{"type": "tool_result", "tool_use_id": block["id"], "content": "ok"} for block in used]
                    messages.append({"role": "user", "content": results})
            ends.append(said["content"][-1]["text"])
            next(asked)  # the next question begins at the other one
        assert ends == ["b is done", "a is done", "b is done"]
        for at, other in ((a, b), (b, a)):
            assert other.marks()
            signed = first == second == "anthropic"  # only the server itself can tell whose a signature is
            assert len(at.refused()) <= (3 * RESULTS if signed else 0), at.refused()
            accepted = at.sent() if not signed else at.sent()[-1:]
            assert [mark for mark in other.marks() for sent in accepted if mark in sent] == []
            assert [sent for sent in at.sent() if '"p1.' in sent] == []
