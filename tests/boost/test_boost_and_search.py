"""Boost and web searches in one stack."""

from typing import Any

import pytest

from ccproxy_middleware import BoostMiddleware, WebSearchMiddleware
from layers.test_orders import planner
from support.asgi import call as send
from support.asgi import http_scope
from support.providers.messages_app import MessagesApp, call, text
from web_search.searching import OWN, TOOL, Search, kinds, request

pytestmark = pytest.mark.anyio


async def boosted(app: MessagesApp, body: dict[str, Any]) -> Any:
    inner = WebSearchMiddleware(app, search=Search())
    return await send(BoostMiddleware(inner, planner=planner, model="P"), http_scope("POST", "/v1/messages"), body)


@pytest.mark.parametrize("stream", [False, True])
async def test_search_is_a_call_that_the_guidance_asks_for(stream: bool) -> None:
    app = MessagesApp([call("web_search", query="q")], [text("In 1698 [1].")])
    answer = await boosted(app, request(tools=[OWN, TOOL], stream=stream))
    assert kinds(answer) == ["server_tool_use", "web_search_tool_result", "text", "text"]
    assert answer.headers["x-boost-loops"] == "1"
    assert len(app.requests) == 2
    assert "call look" in str(app.requests[0])


async def test_request_for_a_search_alone_is_not_boosted() -> None:
    app = MessagesApp([call("web_search", query="q")], [text("In 1698 [1].")])
    answer = await boosted(app, request())
    assert "x-boost-loops" not in answer.headers
    assert "call look" not in str(app.requests)
