"""The proxy inside a FastAPI app, below /claude.

OPENAI_API_KEY=... python examples/in_fastapi.py
ANTHROPIC_BASE_URL=http://localhost:8082/claude claude
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from ccproxy import Settings, create_app

settings = Settings.load()
proxy = create_app(settings)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """A mounted app's lifespan is its host's to run. Without it connections are opened at the first request."""
    async with proxy.router.lifespan_context(proxy):
        yield


app = FastAPI(lifespan=lifespan)
# Not @app.middleware("http"): that ends a broken stream as if it were whole.
app.add_middleware(CORSMiddleware, allow_origins=["https://example.org"], allow_methods=["*"], allow_headers=["*"])


@app.get("/")
async def home() -> str:
    return "the host's own page"


app.mount("/claude", proxy)

if __name__ == "__main__":
    uvicorn.run(app, port=settings.port)
