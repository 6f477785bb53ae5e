"""The proxy beside a Quart app, below /claude.

OPENAI_API_KEY=... python examples/in_quart.py
ANTHROPIC_BASE_URL=http://localhost:8082/claude claude
"""

import uvicorn
from hypercorn.middleware import DispatcherMiddleware
from quart import Quart, Response

from ccproxy import Settings, create_app

settings = Settings.load()
host = Quart(__name__)


@host.get("/")
async def home() -> str:
    return "the host's own page"


@host.after_request
async def stamp(response: Response) -> Response:
    """What Quart itself does before and after requests is for its own pages only."""
    response.headers["x-host"] = "quart"
    return response


app = DispatcherMiddleware({"/claude": create_app(settings), "": host})  # runs the lifespans of both

if __name__ == "__main__":
    uvicorn.run(app, port=settings.port)
