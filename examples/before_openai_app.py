"""Anthropic's API for an app that speaks OpenAI's only: here one made with fastapi-openai-compat.

ANTHROPIC_API_KEY=team-key python examples/before_openai_app.py
ANTHROPIC_BASE_URL=http://localhost:8082 ANTHROPIC_AUTH_TOKEN=team-key claude --model echo
"""

import os
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi_openai_compat import CompletionResult, create_chat_completion_router

from ccproxy_middleware import AuthMiddleware, FormatConversionMiddleware


def run_completion(model: str, messages: list[dict[str, Any]], body: dict[str, Any]) -> CompletionResult:
    text = f"You said: {messages[-1]['content']}"
    return (f"{word} " for word in text.split()) if body["stream"] else text


server = FastAPI()
server.include_router(create_chat_completion_router(list_models=lambda: ["echo"], run_completion=run_completion))
app = AuthMiddleware(FormatConversionMiddleware(server), api_keys=[os.environ["ANTHROPIC_API_KEY"]])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8082")))
