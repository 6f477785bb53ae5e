"""Searches of earlier turns as the client sends them back, and failures in the middle of a turn."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy_middleware import SearchQuery, SearchResult, WebSearchMiddleware
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted
from ccproxy_middleware.web_search import SearchError
from ccproxy_middleware.web_search.envelope import is_ours, new_call_id, seal, unseal
from support.asgi import Answer, http_scope
from support.asgi import call as send_request
from support.providers.messages_app import MessagesApp, call, text
from support.streams.grammar import check_stream
from web_search.searching import OWN, TOOL, Search, ask, message, request

pytestmark = pytest.mark.anyio

FOUND = """[Web search for "q". Found:
- Eddystone: https://lights.example/eddystone
- The sea: https://sea.example/history]"""
WITH_EXCERPTS = """[Web search for "q". Found:
- Eddystone: https://lights.example/eddystone
  Lit in 1698.
- The sea: https://sea.example/history
  Old lamps.]"""


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def second(content: list[dict[str, Any]], then: Any = "And now?", path: str = "/v1/messages", **more: Any) -> Any:
    """The content that the model gets for an earlier answer."""
    app = MessagesApp([text("Well.")])
    messages = [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": then},
    ]
    await ask(app, request(messages=messages, **more), path=path)
    [body] = app.requests
    return body["messages"][1]["content"]


async def answered(*script: Any, search: Any = None, tools: Any = None, stream: bool = False) -> list[dict[str, Any]]:
    answer = await ask(MessagesApp(*script), request(stream=stream, **({"tools": tools} if tools else {})), search)
    content: list[dict[str, Any]] = message(answer)["content"]
    return content


@pytest.mark.parametrize("tools", [[TOOL], [OWN], []])
async def test_own_blocks_become_text(stream: bool, tools: list[Any]) -> None:
    content = await answered([call("web_search", query="q")], [text("In 1698 [1]. Yes.")], stream=stream)
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        told = await second(content, path=path, tools=tools)
        assert told == [text(FOUND), text("In 1698"), text(". Yes.")]


async def test_what_the_model_has_not_seen_has_its_excerpts(stream: bool) -> None:
    calls = [call("web_search", "a", query="q"), call("Read", "b", path="x")]
    content = await answered(calls, tools=[TOOL, OWN], stream=stream)
    result = [{"type": "tool_result", "tool_use_id": "b", "content": "y"}]
    assert await second(content, result) == [text(WITH_EXCERPTS), call("Read", "b", path="x")]


async def test_failed_and_empty_searches_become_text() -> None:
    failed = await answered(
        [call("web_search", query="q")], [text("No.")], search=Search(SearchError("unavailable", "x"))
    )
    assert (await second(failed))[0] == text('[Web search for "q". It has failed: unavailable.]')
    empty = await answered([call("web_search", query="q")], [text("No.")], search=Search([]))
    assert (await second(empty))[0] == text('[Web search for "q". Nothing was found.]')


def foreign(encrypted: str = "Eo8BCio") -> list[dict[str, Any]]:
    page = {"type": "web_search_result", "url": "u", "title": "t", "page_age": None, "encrypted_content": encrypted}
    citation = {
        **{"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c"},
        "encrypted_index": "Eo8B",
    }
    return [
        {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": [page]},
        {**text("Cited."), "citations": [citation]},
    ]


async def test_foreign_blocks_are_dropped() -> None:
    assert await second(foreign()) == [text("Cited.")]


async def test_answer_of_nothing_but_foreign_blocks_is_no_message() -> None:
    app = MessagesApp([text("Well.")])
    messages = [{"role": "assistant", "content": foreign()[:2]}, {"role": "user", "content": "Now?"}]
    await ask(app, request(messages=messages))
    assert app.requests[0]["messages"] == messages[1:]


async def test_other_blocks_stay_as_they_are() -> None:
    content: list[dict[str, Any]] = [
        {"type": "server_tool_use", "id": "srvtoolu_01", "name": "code_execution", "input": {}},
        {"type": "thinking", "thinking": "t", "signature": "s"},
        text("a"),
    ]
    assert await second(content) == content


async def test_mark_of_the_cache_goes_over() -> None:
    content = (await answered([call("web_search", query="q")], [text("Yes.")]))[:2]
    content[1]["cache_control"] = {"type": "ephemeral"}
    assert await second(content) == [{**text(FOUND), "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize(
    "content", [None, 7, "x", [7], [{"encrypted_content": 7}], [{"encrypted_content": "ccws1.!"}], {}]
)
async def test_damaged_result_of_ours_is_no_error(content: Any) -> None:
    id_ = new_call_id()
    blocks = [
        {"type": "server_tool_use", "id": id_, "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": id_, "content": content},
        text("a"),
    ]
    told = await second(blocks)
    assert told[0]["text"].startswith('[Web search for "q".')
    assert told[1] == text("a")


def test_envelope() -> None:
    fields = {"t": "Ü", "u": "https://a.example/", "x": "…", "new": True}
    assert unseal(seal(fields)) == fields
    for damaged in ("", "x", "ccws1.", "ccws1.!", seal(fields)[:-3], "ccws1.e30x", 7, None, "ccws1." + "A" * 70_000):
        assert unseal(damaged) is None, damaged
    assert is_ours(new_call_id())
    assert not any(map(is_ours, ("srvtoolu_01", 7, None)))


async def test_failure_in_the_middle_of_a_stream_is_an_error_event() -> None:
    app = MessagesApp([call("web_search", query="q")], (429, "Slow down."))
    answer = Answer()
    with pytest.raises(StreamAborted):
        await send_request(
            WebSearchMiddleware(app, search=Search()),
            http_scope("POST", "/v1/messages"),
            request(stream=True),
            answer=answer,
        )
    assert not answer.complete
    last = check_stream(answer.body)[-1]
    assert (last["type"], last["error"]["message"]) == ("error", "Slow down.")


@pytest.mark.parametrize("error", [None, ApiError(529, "overloaded_error", "Too busy.")])
async def test_inner_stream_that_breaks_off(error: ApiError | None) -> None:
    calls = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            return await MessagesApp([call("web_search", query="q")])(scope, receive, send)
        whole: list[Message] = []

        async def keep(message: Message) -> None:
            whole.append(message)

        await MessagesApp([text("In 16")], size=500)(scope, receive, keep)
        await send(whole[0])
        await send(whole[1])
        raise StreamAborted("broken", error)

    answer = Answer()
    with pytest.raises(StreamAborted):
        await send_request(
            WebSearchMiddleware(app, search=Search()),
            http_scope("POST", "/v1/messages"),
            request(stream=True),
            answer=answer,
        )
    last = check_stream(answer.body)[-1]
    assert last["error"]["type"] == (error.type if error else "api_error")


async def test_inner_answer_without_its_end_is_a_failure(stream: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def cut(message: Message) -> None:
            body = message.get("body", b"")
            if body:
                message = {**message, "body": body[: len(body) // 2]}
            await send(message)

        await MessagesApp([text("In 1698 it was lit.")])(scope, receive, cut)

    answer = Answer()
    body = request(stream=stream)
    layer = WebSearchMiddleware(app, search=Search())
    if stream:
        with pytest.raises(StreamAborted):
            await send_request(layer, http_scope("POST", "/v1/messages"), body, answer=answer)
        assert check_stream(answer.body)[-1]["type"] == "error"
    else:
        answer = await send_request(layer, http_scope("POST", "/v1/messages"), body)
        assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")


async def test_search_is_given_up_when_the_client_leaves() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def search(query: SearchQuery) -> list[SearchResult]:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return []

    app = MessagesApp([call("web_search", query="q")], [text("too late")])
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            from ccproxy_middleware.toolkit.json import dumps

            return {"type": "http.request", "body": dumps(request(stream=True)), "more_body": False}
        await begun.wait()
        return {"type": "http.disconnect"}

    answer = Answer()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    async with asyncio.timeout(20):
        await WebSearchMiddleware(app, search=search)(http_scope("POST", "/v1/messages"), receive, send)
        await ended.wait()
    assert len(app.requests) == 1
    assert not answer.complete


async def test_client_gets_pings_while_it_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccproxy_middleware.web_search.turn._PING_INTERVAL", 0.02)

    async def search(query: SearchQuery) -> list[SearchResult]:
        await asyncio.sleep(0.3)
        return []

    app = MessagesApp([call("web_search", query="q")], [text("Nothing.")])
    events = check_stream((await ask(app, request(stream=True), search)).body)
    kinds = [event["type"] for event in events]
    begun = next(
        n for n, event in enumerate(events) if event.get("content_block", {}).get("type") == "web_search_tool_result"
    )
    assert kinds[begun - 1] == "ping"
