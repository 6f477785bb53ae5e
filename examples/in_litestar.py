"""The proxy inside a Litestar app, below /claude.

OPENAI_API_KEY=... python examples/in_litestar.py
ANTHROPIC_BASE_URL=http://localhost:8082/claude claude
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from litestar import Litestar, asgi, get
from litestar.config.cors import CORSConfig
from litestar.types import Receive, Scope, Send

from ccproxy import Settings, create_app

settings = Settings.load()
proxy = create_app(settings)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """A mounted app's lifespan is its host's to run. Without it connections are opened at the first request."""
    async with proxy.router.lifespan_context(proxy):
        yield


@asgi("/claude", is_mount=True, copy_scope=True)
async def claude(scope: Scope, receive: Receive, send: Send) -> None:
    """Litestar takes the mount's prefix off the path, but adds a slash at its end."""
    await proxy({**scope, "path": scope["path"].rstrip("/") or "/"}, receive, send)  # type: ignore[arg-type]


@get("/", media_type="text/plain", sync_to_thread=False)
def home() -> str:
    return "the host's own page"


app = Litestar(
    route_handlers=[home, claude],
    cors_config=CORSConfig(allow_origins=["https://example.org"]),
    lifespan=[lifespan],
)

if __name__ == "__main__":
    uvicorn.run(app, port=settings.port)
