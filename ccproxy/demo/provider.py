"""A small provider with OpenAI's chat completions and Responses, for trying the proxy without a key.

It has no model: a few rules decide what it says. The protocol is the real one: complete and streamed answers, tool
calls whose arguments arrive in pieces, ``usage``, ``max_tokens``, structured output, errors.
"""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .responses import call_item, chat_body, message_item, reasoning_item, response, response_events

KEY = "demo-key"
MODELS = ("demo-large", "demo-small")
PAUSE_SECONDS = 0.012  # seconds between two chunks: about as fast as a quick model

_FRAGMENT = 9  # characters of a tool call's arguments in one chunk
ABOUT = (
    "I am the demo provider of cc-boost, not a model. What you see went through the whole proxy and came "
    "back as a real stream, but a few fixed rules write my answers. Ask me to list the files, and I call a "
    "tool. For real answers start cc-boost with OPENAI_API_KEY and OPENAI_BASE_URL."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The provider's answer: a text, and perhaps one tool call."""

    text: str
    tool: str | None = None
    arguments: str = "{}"


def demo_provider(
    on_request: Callable[[dict[str, Any]], None] = lambda body: None,
    decide: "Callable[[Mapping[str, Any]], Answer] | None" = None,
) -> Starlette:
    """The provider as an ASGI app. ``on_request`` receives each completion request's body.

    ``decide`` finds the answer to a body, instead of :func:`decide_by_rules`.
    """
    decide = decide or decide_by_rules
    numbers = itertools.count(1)

    async def completions(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        try:
            body = await request.json()
            messages = body["messages"]
            model = body["model"]
            answer = decide(body)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            return _error(400, f"The request is no chat completion request: {exc!r}", None)
        on_request(body)
        number = next(numbers)
        tokens = sum(len(json.dumps(part)) for part in (messages, body.get("tools", []))) // 4
        head: dict[str, Any] = {
            "id": f"chatcmpl-demo{number}",
            "created": 1_700_000_000 + number,
            "model": model,
        }
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if not body.get("stream"):
            return JSONResponse(_completion(head, answer, number, tokens, limit))
        usage = (body.get("stream_options") or {}).get("include_usage", False)
        chunks = _chunks(head, answer, number, tokens, limit, usage)
        return StreamingResponse(_events(chunks), media_type="text/event-stream")

    async def responses(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        try:
            body = await request.json()
            chat = chat_body(body)
            answer = decide(chat)
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            return _error(400, f"The request is no Responses request: {exc!r}", None)
        on_request(body)
        number = next(numbers)
        tokens = sum(len(json.dumps(part)) for part in (body["input"], body.get("tools", []))) // 4
        head = {"id": f"resp_demo{number}", "created_at": 1_700_000_000 + number, "model": body["model"]}
        pieces, finish_reason = _pieces(answer, body.get("max_output_tokens"))
        output: list[dict[str, Any]] = []
        if "reasoning.encrypted_content" in body.get("include", ()):
            output.append(reasoning_item(f"rs_demo{number}", [], f"demo-thoughts-{number}"))
        if pieces:
            output.append(message_item(f"msg_demo{number}", "".join(pieces)))
        if answer.tool is not None and finish_reason == "tool_calls":
            output.append(call_item(f"fc_demo{number}", f"call_demo{number}", answer.tool, answer.arguments))
        usage = _usage(tokens, pieces, answer)
        told = {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        }
        whole = response(head, output, told, "max_output_tokens" if finish_reason == "length" else None)
        if not body.get("stream"):
            return JSONResponse(whole)
        return StreamingResponse(_named_events(response_events(whole, _deltas)), media_type="text/event-stream")

    async def models(request: Request) -> Response:
        listed = [{"id": id_, "object": "model", "created": 1_700_000_000, "owned_by": "demo"} for id_ in MODELS]
        return JSONResponse({"object": "list", "data": listed})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/responses", responses, methods=["POST"]),
            Route("/v1/models", models),
        ]
    )


def decide_by_rules(body: Mapping[str, Any]) -> Answer:
    """The answer to a request. A tool result is reported; a question about files calls a tool; any other request gets
    an
    explanation of the demo.
    """
    messages = body["messages"]
    format_ = body.get("response_format") or {}
    if format_.get("type") == "json_schema":
        return Answer(json.dumps(example_of(format_["json_schema"]["schema"])))
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return Answer("", name, json.dumps(example_of(tools[name].get("parameters", {}))))
    results = _results(messages)
    if results:
        return Answer("The tool answered:\n\n" + "\n".join(results) + "\n\nThat is all, and it came through intact.")
    question = _question(messages)
    if choice == "none" or "TEXT ONLY" in question:  # Claude Code asks for a summary in this way
        return Answer(ABOUT)
    if "read_file" in tools and (path := re.search(r"[\w-]+\.txt", question)):
        arguments = {"path": path.group(), "reason": "The question is about what stands in this file."}
        return Answer(f"I will look into {path.group()}.", "read_file", json.dumps(arguments))
    if "Bash" in tools and re.search(r"\b(files?|directory|folder|ls|list)\b", question, re.IGNORECASE):
        call = {"command": "ls -la", "description": "List the files here"}
        return Answer("I will list the files.", "Bash", json.dumps(call))
    return Answer(ABOUT)


def example_of(schema: Mapping[str, Any]) -> Any:
    """The simplest value that a JSON schema allows, by ``type``, ``enum``, ``const`` and ``anyOf``."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return example_of(schema["anyOf"][0])
    type_ = schema.get("type", "object")
    match type_[0] if isinstance(type_, list) else type_:
        case "object":
            properties = schema.get("properties", {})
            wanted = schema.get("required", properties)
            return {name: example_of(properties.get(name, {"type": "string"})) for name in wanted}
        case "array":
            return [example_of(schema.get("items", {"type": "string"}))] if schema.get("minItems") else []
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return "Trying cc-boost"


def _results(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The tool results since the last assistant message."""
    results: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            results.clear()
        elif message["role"] == "tool":
            results.append(_text(message["content"]))
    return results


def _question(messages: Iterable[Mapping[str, Any]]) -> str:
    """The user's last question, without the reminders that Claude Code adds."""
    texts = [_text(message["content"]) for message in messages if message["role"] == "user"]
    return re.sub(r"<system-reminder>.*?</system-reminder>", "", texts[-1], flags=re.DOTALL) if texts else ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part["type"] == "text")


def _completion(
    head: dict[str, Any], answer: Answer, number: int, prompt_tokens: int, limit: int | None
) -> dict[str, Any]:
    pieces, finish_reason = _pieces(answer, limit)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(pieces) or None}
    if answer.tool is not None and finish_reason == "tool_calls":
        message["tool_calls"] = [_call(number, answer.tool, answer.arguments)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    usage = _usage(prompt_tokens, pieces, answer)
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}


def _chunks(
    head: dict[str, Any],
    answer: Answer,
    number: int,
    prompt_tokens: int,
    limit: int | None,
    include_usage: bool,
) -> list[dict[str, Any]]:
    pieces, finish_reason = _pieces(answer, limit)
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        *({"content": piece} for piece in pieces),
    ]
    if answer.tool is not None and finish_reason == "tool_calls":
        call = _call(number, answer.tool, "")
        deltas.append({"tool_calls": [{"index": 0, **call}]})
        for start in range(0, len(answer.arguments), _FRAGMENT):
            fragment = answer.arguments[start : start + _FRAGMENT]
            deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]})
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish_reason})
    chunks = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
    if include_usage:
        usage = _usage(prompt_tokens, pieces, answer)
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return chunks


def _call(number: int, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_demo{number}", "type": "function", "function": function}


def _pieces(answer: Answer, limit: int | None) -> tuple[list[str], str]:
    """The text split into words, each counted as a token, cut at the limit; and the finish reason."""
    pieces = re.findall(r"\s*\S+\s*?", answer.text)
    if limit is not None and len(pieces) >= limit:
        return pieces[:limit], "length"
    return pieces, "stop" if answer.tool is None else "tool_calls"


def _usage(prompt_tokens: int, pieces: list[str], answer: Answer) -> dict[str, int]:
    completion_tokens = len(pieces) + (len(answer.arguments) // 4 if answer.tool else 0)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


async def _events(chunks: Iterable[dict[str, Any]]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
        await asyncio.sleep(PAUSE_SECONDS)
    yield b"data: [DONE]\n\n"


async def _named_events(events: Iterable[dict[str, Any]]) -> AsyncIterator[bytes]:
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        await asyncio.sleep(PAUSE_SECONDS)


def _deltas(text: str) -> list[str]:
    return [text[start : start + _FRAGMENT] for start in range(0, len(text), _FRAGMENT)]


def _error(status: int, message: str, code: str | None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status)
