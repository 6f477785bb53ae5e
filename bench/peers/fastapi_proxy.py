"""A proxy of the usual kind: FastAPI in front, pydantic models both ways, the openai SDK behind.

``PEER_BASE_URL=... uvicorn bench.peers.fastapi_proxy:app``. It converts less than it would have to: text, tools and
their calls and results.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

client = AsyncOpenAI(api_key="key", base_url=os.environ["PEER_BASE_URL"])
app = FastAPI()


class Block(BaseModel):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[dict[str, Any]] | None = None


class Message(BaseModel):
    role: str
    content: str | list[Block]


class Tool(BaseModel):
    name: str
    description: str = ""
    input_schema: dict[str, Any]


class Request(BaseModel):
    model: str
    max_tokens: int
    messages: list[Message]
    system: str | list[Block] | None = None
    tools: list[Tool] = []
    temperature: float | None = None
    stream: bool = False


def _converted(request: Request) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    if request.system:
        system = request.system
        text = system if isinstance(system, str) else "\n\n".join(block.text or "" for block in system)
        messages.append({"role": "system", "content": text})
    for message in request.messages:
        blocks = [Block(type="text", text=message.content)] if isinstance(message.content, str) else message.content
        messages += [
            {"role": "tool", "tool_call_id": block.tool_use_id, "content": block.content}
            for block in blocks
            if block.type == "tool_result"
        ]
        text = "".join(block.text or "" for block in blocks)
        calls = [
            {
                "id": block.id,
                "type": "function",
                "function": {"name": block.name, "arguments": json.dumps(block.input)},
            }
            for block in blocks
            if block.type == "tool_use"
        ]
        if calls:
            messages.append({"role": "assistant", "content": text or None, "tool_calls": calls})
        elif text:
            messages.append({"role": message.role, "content": text})
    body: dict[str, Any] = {"model": "gpt-4o", "messages": messages, "max_tokens": min(request.max_tokens, 4096)}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
            }
            for tool in request.tools
        ]
    return body


@app.post("/v1/messages")
async def messages(request: Request) -> Any:
    body = _converted(request)
    if request.stream:
        return StreamingResponse(_events(request.model, body), media_type="text/event-stream")
    answer = await client.chat.completions.create(**body)
    content = [{"type": "text", "text": answer.choices[0].message.content or ""}]
    usage = answer.usage
    return JSONResponse(
        {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": usage.prompt_tokens if usage else 0,
                "output_tokens": usage.completion_tokens if usage else 0,
            },
        }
    )


async def _events(model: str, body: dict[str, Any]) -> AsyncIterator[str]:
    message = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": model, "content": []}
    yield _event("message_start", {"message": message})
    yield _event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
    async for chunk in await client.chat.completions.create(**body, stream=True):
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield _event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})
    yield _event("content_block_stop", {"index": 0})
    yield _event("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 0}})
    yield _event("message_stop", {})


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
