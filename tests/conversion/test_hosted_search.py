"""Web searches that the provider runs: the request by each API, and its answer, whole and as a stream."""

import json
from typing import Any

import pytest

from ccproxy_middleware import FormatConversionMiddleware
from ccproxy_middleware.conversion.apis import convert_request
from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError
from support.asgi import Inner, call, http_scope
from web_search.searching import kinds, message

pytestmark = pytest.mark.anyio

TOOL: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
OWN = {"name": "Read", "input_schema": {"type": "object", "properties": {}}}
PLACE = {"type": "approximate", "city": "Plymouth", "country": "GB"}
SOURCES = [{"type": "url", "url": "https://a.example/1"}, {"type": "url", "url": "https://b.example/2"}]
SEARCH = {
    "type": "web_search_call", "id": "ws_1", "status": "completed",
    "action": {"type": "search", "query": "lighthouses", "queries": ["lighthouses"], "sources": SOURCES},
}  # fmt: skip
OPENED = {**SEARCH, "id": "ws_2", "action": {"type": "open_page", "url": "https://a.example/1"}}
CITATION = {"type": "url_citation", "url": "https://a.example/1", "title": "A", "start_index": 0, "end_index": 2}
SAID = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Lit.", "annotations": [CITATION]}],
}  # fmt: skip


def request(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Perform a web search for the query: lighthouses"}]
    return {"model": "m", "max_tokens": 100, "messages": messages, "tools": [TOOL], **more}


def converted(provider: str, api: str = "auto", **more: Any) -> dict[str, Any]:
    profile = resolve_profile(provider, {"web_search": "hosted", "api": api})
    return convert_request(request(**more), profile).body


def refusal(provider: str, api: str = "auto", **more: Any) -> str:
    with pytest.raises(ApiError) as caught:
        converted(provider, api, **more)
    assert caught.value.status == 400
    return caught.value.message


def test_responses_get_the_tool_of_their_own() -> None:
    body = converted(
        "openai", "responses", tools=[OWN, {**TOOL, "allowed_domains": ["a.example"], "user_location": PLACE}]
    )
    assert body["tools"][0]["name"] == "Read"
    assert body["tools"][1:] == [
        {"type": "web_search", "filters": {"allowed_domains": ["a.example"]}, "user_location": PLACE}
    ]
    assert body["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert "tool_choice" not in body


def test_forced_search_of_responses() -> None:
    body = converted("openai", "responses", tool_choice={"type": "tool", "name": "web_search"})
    assert body["tools"] == [{"type": "web_search"}]
    assert body["tool_choice"] == {"type": "web_search"}


def test_openrouter_gets_the_tool_of_its_own() -> None:
    tool = {**TOOL, "blocked_domains": ["a.example"], "user_location": PLACE}
    body = converted("openrouter", tools=[OWN, tool], tool_choice={"type": "tool", "name": "web_search"})
    assert body["tools"][1] == {
        "type": "openrouter:web_search",
        "parameters": {"excluded_domains": ["a.example"], "user_location": PLACE},
    }
    assert "tool_choice" not in body
    assert converted("openrouter")["tools"] == [{"type": "openrouter:web_search"}]


def test_search_models_of_openai_get_their_options() -> None:
    body = converted("openai", model="gpt-4o-search-preview", tools=[{**TOOL, "user_location": PLACE}])
    place = {"city": "Plymouth", "country": "GB"}
    assert body["web_search_options"] == {"user_location": {"type": "approximate", "approximate": place}}
    assert "tools" not in body


def test_what_the_provider_does_not_have_is_refused_in_words() -> None:
    blocked = {**TOOL, "blocked_domains": ["a.example"]}
    assert "blocked_domains" in refusal("openai", "responses", tools=[blocked])
    assert "blocked_domains" in refusal("openai", model="gpt-4o-search-preview", tools=[blocked])
    assert "chat completions have no search" in refusal("groq")
    both = {**blocked, "allowed_domains": ["b.example"]}
    assert "Only one of" in refusal("openrouter", tools=[both])


def test_without_the_switch_it_is_refused_and_the_variable_is_named() -> None:
    with pytest.raises(ApiError) as caught:
        convert_request(request(), resolve_profile("openai", {}))
    assert "WEB_SEARCH" in caught.value.message


def events(output: list[dict[str, Any]]) -> bytes:
    """A stream of finished items, one after the other."""
    told: list[dict[str, Any]] = [{"type": "response.created", "response": {"status": "in_progress", "output": []}}]
    for n, item in enumerate(output):
        begun = {"type": item["type"], "id": item["id"], "status": "in_progress"}
        if item["type"] == "message":
            begun |= {"role": "assistant", "content": []}
        told.append({"type": "response.output_item.added", "output_index": n, "item": begun})
        told.append({"type": "response.output_item.done", "output_index": n, "item": item})
    told.append({"type": "response.completed", "response": whole(output)})
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in told)


def whole(output: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    return {"id": "r", "object": "response", "status": "completed", "output": output, "usage": usage}


async def answered(output: list[dict[str, Any]], stream: bool, **more: Any) -> Any:
    kind = "text/event-stream" if stream else "application/json"
    inner = Inner(events(output) if stream else json.dumps(whole(output)).encode(), headers={"content-type": kind})
    options = {"web_search": "hosted", "api": "responses"}
    app = FormatConversionMiddleware(inner, provider="openai", options=options)
    return await call(app, http_scope("POST", "/v1/messages"), request(stream=stream, **more))


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_search_of_responses_becomes_its_blocks(stream: bool) -> None:
    answer = await answered([SEARCH, OPENED, SAID], stream)
    found = message(answer)
    call_, result, said = found["content"]
    assert (call_["type"], call_["name"], call_["input"]) == ("server_tool_use", "web_search", {"query": "lighthouses"})
    assert result["tool_use_id"] == call_["id"]
    assert [item["url"] for item in result["content"]] == ["https://a.example/1", "https://b.example/2"]
    assert {item["page_age"] for item in result["content"]} == {None}
    assert all(item["encrypted_content"] for item in result["content"])
    assert said == {"type": "text", "text": "Lit."}
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 1}
    assert found["stop_reason"] == "end_turn"


async def test_pages_that_are_cited_stand_for_sources_that_are_not_told(stream: bool) -> None:
    bare = {**SEARCH, "action": {"type": "search", "query": "lighthouses"}}
    found = message(await answered([bare, SAID], stream))
    [result] = [block for block in found["content"] if block["type"] == "web_search_tool_result"]
    assert [(item["url"], item["title"]) for item in result["content"]] == [("https://a.example/1", "A")]
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 1}


async def test_failed_search_of_responses(stream: bool) -> None:
    found = message(await answered([{**SEARCH, "status": "failed"}, SAID], stream))
    assert found["content"][1]["content"] == {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 0}


async def test_search_that_nobody_has_asked_for_is_dropped(stream: bool) -> None:
    answer = await answered([SEARCH, SAID], stream, tools=[OWN])
    assert kinds(answer) == ["text"]
    assert "server_tool_use" not in message(answer)["usage"]


async def test_sources_of_chat_completions(stream: bool) -> None:
    annotation = {"type": "url_citation", "url_citation": {**CITATION, "content": "Lamps."}}
    said = {"role": "assistant", "content": "Lit."}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "server_tool_use": {"web_search_requests": 2}}
    choice = {"index": 0, "message": {**said, "annotations": [annotation]}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "usage": usage}).encode()
    if stream:
        chunks: list[Any] = [
            {"choices": [{"index": 0, "delta": said}]},
            {"choices": [{"index": 0, "delta": {"content": "", "annotations": [annotation]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
        ]
        body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    inner = Inner(body, headers={"content-type": "text/event-stream" if stream else "application/json"})
    app = FormatConversionMiddleware(inner, provider="openrouter", options={"web_search": "hosted"})
    answer = await call(app, http_scope("POST", "/v1/messages"), request(stream=stream))
    found = message(answer)
    call_, result = [block for block in found["content"] if block["type"] != "text"]
    assert call_["input"] == {"query": "lighthouses"}
    assert [(item["url"], item["title"]) for item in result["content"]] == [("https://a.example/1", "A")]
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 2}


@pytest.mark.parametrize("streaming", ["always", "never"])
async def test_search_whose_answer_comes_otherwise_than_it_was_asked(streaming: str) -> None:
    asked_stream = streaming == "never"
    upstream = streaming == "always"
    kind = "text/event-stream" if upstream else "application/json"
    body = events([SEARCH, SAID]) if upstream else json.dumps(whole([SEARCH, SAID])).encode()
    options = {"web_search": "hosted", "api": "responses", "streaming": streaming}
    app = FormatConversionMiddleware(Inner(body, headers={"content-type": kind}), provider="openai", options=options)
    answer = await call(app, http_scope("POST", "/v1/messages"), request(stream=asked_stream))
    assert kinds(answer) == ["server_tool_use", "web_search_tool_result", "text"]
    assert message(answer)["content"][0]["input"] == {"query": "lighthouses"}
