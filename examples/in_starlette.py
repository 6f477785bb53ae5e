"""The proxy inside a Starlette app, below /claude.

OPENAI_API_KEY=... python examples/in_starlette.py
ANTHROPIC_BASE_URL=http://localhost:8082/claude claude
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from ccproxy import Settings, create_app

settings = Settings.load()
proxy = create_app(settings)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """A mounted app's lifespan is its host's to run. Without it connections are opened at the first request."""
    async with proxy.router.lifespan_context(proxy):
        yield


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the host's own page")


app = Starlette(
    routes=[Route("/", home), Mount("/claude", proxy)],
    middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1"])],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=settings.port)
