"""Anthropic's API for the server of llama-cpp-python (pip install 'llama-cpp-python[server]').

MODEL=model.gguf ANTHROPIC_API_KEY=team-key python examples/before_llama_cpp_python.py
ANTHROPIC_BASE_URL=http://localhost:8082 ANTHROPIC_AUTH_TOKEN=team-key claude --model mine
"""

import os

import uvicorn
from llama_cpp.server.app import create_app
from llama_cpp.server.settings import ModelSettings, ServerSettings

from ccproxy_middleware import AuthMiddleware, FormatConversionMiddleware

model = ModelSettings(
    model=os.environ["MODEL"],
    model_alias="mine",
    n_ctx=int(os.environ.get("CONTEXT", "65536")),  # Claude Code's own prompt needs more than 16,000 tokens
    chat_format="chatml-function-calling",
)
server = create_app(server_settings=ServerSettings(), model_settings=[model])
app = AuthMiddleware(FormatConversionMiddleware(server), api_keys=[os.environ["ANTHROPIC_API_KEY"]])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8082")))
