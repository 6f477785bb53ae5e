"""A strong model that plans for a small app that calls tools: Boost alone, for OpenAI clients.

BOOST_BASE_URL=https://api.openai.com/v1 BOOST_API_KEY=... BOOST_MODEL=gpt-4o python examples/boost_before_openai_app.py
"""

import os
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi_openai_compat import ChatCompletion, Choice, CompletionResult, Message, create_chat_completion_router

from ccproxy import Forward
from ccproxy_middleware import BoostMiddleware


def run_completion(model: str, messages: list[dict[str, Any]], body: dict[str, Any]) -> CompletionResult:
    """Call the first tool if a planner has said so, which Boost tells in the last message."""
    guided = "guidance" in str(messages[-1]["content"])
    name = body["tools"][0]["function"]["name"] if guided and body.get("tools") else None
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    message = Message(role="assistant", content=None if name else "No idea.", tool_calls=[call] if name else None)
    finish = "tool_calls" if name else "stop"
    if not body["stream"]:
        choice = Choice(index=0, message=message, finish_reason=finish)
        return ChatCompletion(id="c", object="chat.completion", created=0, model=model, choices=[choice])
    choice = Choice(index=0, delta=message, finish_reason=finish)
    chunk = ChatCompletion(id="c", object="chat.completion.chunk", created=0, model=model, choices=[choice])
    return (chunk for chunk in [chunk])


server = FastAPI()
server.include_router(create_chat_completion_router(list_models=lambda: ["small"], run_completion=run_completion))
planner = Forward(os.environ["BOOST_BASE_URL"], api_key=os.environ["BOOST_API_KEY"])
app = BoostMiddleware(server, planner=planner, model=os.environ.get("BOOST_MODEL", "gpt-4o"))

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8082")))
