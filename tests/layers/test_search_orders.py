"""The search layer at every place among the others: the same searches, and the same answer for the client."""

import json
import random
import re
from collections.abc import Iterable, Mapping
from itertools import combinations, permutations
from typing import Any

import pytest
from starlette.types import ASGIApp

from ccproxy.demo.responses import call_item, message_item, response
from ccproxy_middleware import FormatConversionMiddleware, WebSearchMiddleware
from ccproxy_middleware.conversion.anthropic import message_events
from layers.test_orders import KEY, LAYERS, TOOL, Provider, chunk
from support.asgi import Answer, call, http_scope
from support.streams.grammar import check_stream
from web_search.searching import Search, message

pytestmark = pytest.mark.anyio

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
OTHERS = ("auth", "headers", "models", "safeguards", "boost", "conversion")
CANONICAL = (*OTHERS[:5], "web_search", "conversion")
ORDERS = random.Random(21).sample([*permutations(CANONICAL)], 60)  # noqa: S311  # of 5,040
SUBSETS = [subset for size in range(7) for subset in combinations(OTHERS, size)]


class SearchingProvider(Provider):
    """A model that searches once, then says what it has found."""

    def said(self, request: Mapping[str, Any]) -> tuple[str, bool]:
        """Its text, and whether it calls the search."""
        names = [tool.get("function", tool)["name"] for tool in request.get("tools", ())]
        results = "Results of the web search" in json.dumps(request.get("messages") or request["input"])
        return ("Lit in 1698 [1]." if results else "", "web_search" in names and not results)

    def openai(self, request: Mapping[str, Any]) -> dict[str, Any]:
        text, calls = self.said(request)
        answer = super().openai({})
        said: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            function = {"name": "web_search", "arguments": '{"query": "q"}'}
            said["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        answer["choices"][0] |= {"message": said, "finish_reason": "tool_calls" if calls else "stop"}
        return answer

    def openai_stream(self, request: Mapping[str, Any]) -> list[bytes]:
        whole = self.openai(request)
        said = whole["choices"][0]["message"]
        delta = (
            {**said, "tool_calls": [{"index": 0, **call} for call in said["tool_calls"]]}
            if "tool_calls" in said
            else said
        )
        chunks = [chunk(delta), chunk({}, whole["choices"][0]["finish_reason"]), chunk({}, None, whole["usage"])]
        return [b"data: " + json.dumps(item).encode() + b"\n\n" for item in chunks] + [b"data: [DONE]\n\n"]

    def response(self, request: Mapping[str, Any]) -> dict[str, Any]:
        text, calls = self.said(request)
        item = call_item("fc_1", "call_1", "web_search", '{"query": "q"}') if calls else message_item("msg_1", text)
        usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
        return response({"id": "resp_1", "created_at": 1, "model": "real-2024"}, [item], usage)

    def anthropic(self, request: Mapping[str, Any] = {}) -> dict[str, Any]:
        text, calls = self.said(request) if request else ("", False)
        use = {"type": "tool_use", "id": "call_1", "name": "web_search", "input": {"query": "q"}}
        content = [use] if calls else [{"type": "text", "text": text}]
        return {**super().anthropic(), "content": content, "stop_reason": "tool_use" if calls else "end_turn"}

    def anthropic_stream(self, request: Mapping[str, Any] = {}) -> list[bytes]:
        return message_events(self.anthropic(request))


def request(stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": "When was it lit?"}]
    tools = [TOOL, SEARCH]
    return {"model": "claude-opus-4-8", "max_tokens": 100, "messages": messages, "tools": tools, "stream": stream}


def stacked(names: Iterable[str], app: ASGIApp, search: Search, api: str) -> ASGIApp:
    for name in reversed(list(names)):
        if name == "conversion":
            app = FormatConversionMiddleware(app, options={"api": api})
        elif name == "web_search":
            app = WebSearchMiddleware(app, search=search)
        else:
            app = LAYERS[name](app)
    return app


async def exchange(names: Iterable[str], stream: bool, api: str = "chat") -> tuple[Search, Provider, Answer]:
    provider, search = SearchingProvider(), Search()
    names = tuple(names)
    scope = http_scope("POST", "/v1/messages", {"x-api-key": KEY if "auth" in names else "nobody looks"})
    return search, provider, await call(stacked(names, provider, search, api), scope, request(stream))


def told(answer: Answer) -> Any:
    body = re.sub(r"(msg|req|srvtoolu)_\w+", r"\1_id", json.dumps(message(answer)))
    return answer.status, re.sub(r'"usage": \{.*', "", body)


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_every_order_gives_the_same_search_and_the_same_answer(stream: bool, api: str) -> None:
    search, provider, answer = await exchange(CANONICAL, stream, api)
    assert [query.text for query in search.queries] == ["q"]
    assert len(provider.requests) == 2
    assert "lights.example/eddystone" in told(answer)[1]
    expected = told(answer)
    different = {}
    for order in ORDERS:
        other_search, other_provider, other = await exchange(order, stream, api)
        found = told(other), [query.text for query in other_search.queries], len(other_provider.requests)
        if found != (expected, ["q"], 2):
            different[order] = found
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {expected}"


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda subset: "+".join(subset) or "alone")
async def test_every_subset_searches_at_every_place(subset: tuple[str, ...], stream: bool) -> None:
    for place in range(len(subset) + 1):
        names = (*subset[:place], "web_search", *subset[place:])
        search, provider, answer = await exchange(names, stream)
        assert answer.status == 200, names
        if stream:
            check_stream(answer.body)
        kinds = [block["type"] for block in message(answer)["content"]]
        assert kinds == ["server_tool_use", "web_search_tool_result", "text", "text"], names
        assert len(search.queries) == 1
        assert len(provider.requests) == 2


async def test_stranger_costs_no_search_in_any_order() -> None:
    for order in ORDERS:
        search, provider = Search(), SearchingProvider()
        app = stacked(order, provider, search, "chat")
        answer = await call(app, http_scope("POST", "/v1/messages", {"x-api-key": "wrong"}), request(False))
        assert (answer.status, search.queries, provider.requests) == (401, [], []), order
