"""The floor: the least that a Python proxy of this kind can do. ``uvicorn bench.floor:app``.

Every request goes on as it is, on the same transport as the proxy's own (``FLOOR_TRANSPORT=httpx`` for httpx alone),
and the answer comes back as it is. ``FLOOR_BASE_URL`` is the provider's. With ``FLOOR_JSON`` the request is parsed and
written again on the way: the least that a converter in Python has to do.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ccproxy.forwarding.client import make_client
from ccproxy.forwarding.transport import AiohttpTransport

base_url = os.environ["FLOOR_BASE_URL"]
READS_JSON = bool(os.environ.get("FLOOR_JSON"))

if os.environ.get("FLOOR_TRANSPORT") == "httpx":
    client = make_client("httpx")
else:
    client = httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False, timeout=90)


async def forward(request: Request) -> Response:
    """Pass one request on, and its answer back: a stream piece by piece, anything else as a whole."""
    headers = {"content-type": "application/json", "authorization": "Bearer key", "accept-encoding": "identity"}
    body = await request.body()
    if READS_JSON:
        body = orjson.dumps(orjson.loads(body))
    answer = await client.send(
        httpx.Request("POST", base_url + "/chat/completions", headers=headers, content=body),
        stream=True,
    )
    kind = answer.headers["content-type"]
    if kind.startswith("text/event-stream"):
        # The transports' own close is needed also where the client leaves.
        return StreamingResponse(answer.aiter_raw(), media_type=kind, background=BackgroundTask(answer.aclose))
    return Response(await answer.aread(), answer.status_code, media_type=kind)


async def health(request: Request) -> Response:
    return Response(b"ok")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with client:
        yield


app = Starlette(routes=[Route("/v1/messages", forward, methods=["POST"]), Route("/health", health)], lifespan=lifespan)
