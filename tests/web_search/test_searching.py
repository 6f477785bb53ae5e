"""WebSearchMiddleware in front of an Anthropic app: the rounds, and what the client sees of them."""

import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ccproxy_middleware import MetricsMiddleware, SafeguardsMiddleware, WebSearchMiddleware
from ccproxy_middleware.toolkit.record import Record, observe
from ccproxy_middleware.web_search import SearchError
from support.asgi import call as send
from support.asgi import http_scope
from support.providers.messages_app import USAGE, MessagesApp, call, text
from support.streams.grammar import check_stream
from web_search.searching import FORCED, OWN, TOOL, Search, ask, kinds, message, request

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_search_is_run_and_the_model_is_asked_again(stream: bool) -> None:
    app = MessagesApp([text("Let me look."), call("web_search", query="eddystone")], [text("In 1698 [1]. Yes.")])
    search = Search()
    answer = await ask(app, request(stream=stream, tool_choice=FORCED), search)
    found = message(answer)
    say, use, result, cited, rest = found["content"]
    assert say == text("Let me look.")
    assert use == {"type": "server_tool_use", "id": use["id"], "name": "web_search", "input": {"query": "eddystone"}}
    assert result["tool_use_id"] == use["id"]
    assert [{k: v for k, v in item.items() if k != "encrypted_content"} for item in result["content"]] == [
        {
            "type": "web_search_result",
            "url": "https://lights.example/eddystone",
            "title": "Eddystone",
            "page_age": "2026-01-02",
        },
        {"type": "web_search_result", "url": "https://sea.example/history", "title": "The sea", "page_age": None},
    ]
    assert cited["text"] == "In 1698"
    [citation] = cited["citations"]
    assert citation.pop("encrypted_index")
    assert citation == {
        "type": "web_search_result_location",
        "url": "https://lights.example/eddystone",
        "title": "Eddystone",
        "cited_text": "Lit in 1698.",
    }
    assert rest == text(". Yes.")
    assert found["stop_reason"] == "end_turn"
    counts = {name: 2 * count for name, count in USAGE.items()}
    assert found["usage"] == {**counts, "server_tool_use": {"web_search_requests": 1}}
    assert [query.text for query in search.queries] == ["eddystone"]

    first, second = app.requests
    assert first["tool_choice"] == FORCED
    [function] = first["tools"]
    assert function["name"] == "web_search"
    assert function["input_schema"]["required"] == ["query"]
    assert second["tool_choice"] == {"type": "auto"}
    assert second["tools"] == first["tools"]
    said, results = second["messages"][1:]
    assert said == {"role": "assistant", "content": [text("Let me look."), call("web_search", query="eddystone")]}
    told = results["content"][0]["content"]
    assert "[1] Eddystone\nhttps://lights.example/eddystone\n2026-01-02\nLit in 1698." in told
    assert "[2] The sea\nhttps://sea.example/history\nOld lamps." in told


async def test_events_of_a_stream_one_by_one() -> None:
    app = MessagesApp([call("web_search", query="q")], [text("Lit [1, 2]")], size=7)
    events = check_stream((await ask(app, request(stream=True))).body)
    told = [
        (event["type"], (event.get("content_block") or event.get("delta") or {}).get("type"))
        for event in events
        if event["type"] != "ping"
    ]
    block = "content_block"
    assert told == [
        ("message_start", None),
        (f"{block}_start", "server_tool_use"), (f"{block}_delta", "input_json_delta"), (f"{block}_stop", None),
        (f"{block}_start", "web_search_tool_result"), (f"{block}_stop", None),
        (f"{block}_start", "text"), (f"{block}_delta", "text_delta"),
        (f"{block}_delta", "citations_delta"), (f"{block}_delta", "citations_delta"), (f"{block}_stop", None),
        ("message_delta", None), ("message_stop", None),
    ]  # fmt: skip


async def test_several_searches_of_one_answer_have_their_results_behind_them(stream: bool) -> None:
    app = MessagesApp(
        [call("web_search", "a", query="one"), text("and"), call("web_search", "b", query="two")], [text("Two [3]")]
    )
    answer = await ask(app, request(stream=stream))
    assert kinds(answer) == [
        "server_tool_use", "web_search_tool_result", "text", "server_tool_use", "web_search_tool_result", "text",
    ]  # fmt: skip
    found = message(answer)
    assert found["content"][-1]["citations"][0]["title"] == "Eddystone"
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 2}
    results = app.requests[1]["messages"][-1]["content"]
    assert [result["tool_use_id"] for result in results] == ["a", "b"]
    assert "[3] Eddystone" in results[1]["content"]


async def test_call_of_the_clients_own_tool_ends_the_answer(stream: bool) -> None:
    app = MessagesApp([call("web_search", "a", query="one"), call("Read", "b", path="x")])
    answer = await ask(app, request(stream=stream, tools=[OWN, TOOL]))
    found = message(answer)
    assert found["stop_reason"] == "tool_use"
    assert kinds(answer) == ["server_tool_use", "web_search_tool_result", "tool_use"]
    assert found["content"][-1] == call("Read", "b", path="x")
    assert len(app.requests) == 1


async def test_model_that_is_forced_and_does_not_call_has_the_users_text_searched(stream: bool) -> None:
    app = MessagesApp([text("I can't search.")], [text("In 1698 [1].")])
    search = Search()
    answer = await ask(app, request(stream=stream, tool_choice=FORCED), search)
    assert kinds(answer) == ["server_tool_use", "web_search_tool_result", "text", "text"]
    assert [query.text for query in search.queries] == ["When was the Eddystone first lit?"]
    [use] = app.requests[1]["messages"][1]["content"]
    assert (use["name"], use["input"]) == ("web_search", {"query": "When was the Eddystone first lit?"})


@pytest.mark.parametrize("content", [
    "Perform a web search for the query: lighthouses",
    [text("<system-reminder>\nBe brief.\n</system-reminder>"), text("Perform a web search for the query: lighthouses")],
    [text("lighthouses"), text("<system-reminder>\nBe brief.\n</system-reminder>")],
])  # fmt: skip
async def test_of_what_claude_code_says_the_query_is_searched(content: Any) -> None:
    search = Search()
    app = MessagesApp([text("No.")], [text("Yes.")])
    await ask(app, request(messages=[{"role": "user", "content": content}], tool_choice={"type": "any"}), search)
    assert [query.text for query in search.queries] == ["lighthouses"]


async def test_forced_model_that_refuses_is_not_made_to_search(stream: bool) -> None:
    app = MessagesApp([text("No.")], stop="max_tokens")
    search = Search()
    answer = await ask(app, request(stream=stream, tool_choice=FORCED), search)
    assert (kinds(answer), message(answer)["stop_reason"], search.queries) == (["text"], "max_tokens", [])


async def test_max_uses_withdraws_the_function(stream: bool) -> None:
    app = MessagesApp(
        [call("web_search", "a", query="one"), call("web_search", "b", query="two")],
        [call("web_search", "c", query="three")],
        [text("Done.")],
    )
    search = Search()
    answer = await ask(app, request(stream=stream, tools=[OWN, {**TOOL, "max_uses": 3}]), search)
    found = message(answer)
    assert found["content"][-1] == text("Done.")
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 3}
    assert [tool["name"] for tool in app.requests[1]["tools"]] == ["Read", "web_search"]
    assert app.requests[2]["tools"] == [OWN]


async def test_searches_beyond_max_uses_are_told_as_errors(stream: bool) -> None:
    app = MessagesApp([call("web_search", "a", query="one"), call("web_search", "b", query="two")], [text("Done.")])
    search = Search()
    answer = await ask(app, request(stream=stream, tools=[{**TOOL, "max_uses": 1}]), search)
    results = [block for block in message(answer)["content"] if block["type"] == "web_search_tool_result"]
    assert len(results[0]["content"]) == 2
    assert results[1]["content"] == {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    assert [query.text for query in search.queries] == ["one"]
    last = app.requests[1]
    assert "tools" not in last
    assert "tool_choice" not in last
    assert {block["type"] for block in last["messages"][-1]["content"]} == {"text"}  # without tools there are no calls
    assert "[1] Eddystone" in last["messages"][-1]["content"][0]["text"]


async def test_model_that_never_stops_searching_is_stopped(stream: bool) -> None:
    app = MessagesApp(answer=lambda body: [call("web_search", query=f"number {len(body['messages'])}")])
    search = Search()
    answer = await ask(app, request(stream=stream), search)
    found = message(answer)
    assert len(search.queries) == 10
    assert len(app.requests) == 11
    assert found["content"][-1]["content"]["error_code"] == "max_uses_exceeded"
    assert found["stop_reason"] == "end_turn"
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 10}


@pytest.mark.parametrize(
    ("input_", "error", "code"),
    [
        ({"query": "q"}, SearchError("too_many_requests", "slow down"), "too_many_requests"),
        ({"query": "q"}, SearchError("unavailable", "the key was refused"), "unavailable"),
        ({"query": "x" * 1001}, None, "query_too_long"),
        ({"query": "  "}, None, "invalid_tool_input"),
        ({"words": ["q"]}, None, "invalid_tool_input"),
        ({"query": {}}, None, "invalid_tool_input"),
    ],
)
async def test_failed_search_is_told_by_its_code_and_the_model_goes_on(
    input_: Any, error: SearchError | None, code: str, stream: bool
) -> None:
    app = MessagesApp([call("web_search", **input_)], [text("I could not search.")])
    answer = await ask(app, request(stream=stream), Search(error))
    found = message(answer)
    assert found["content"][0]["input"] == input_
    assert found["content"][1]["content"] == {"type": "web_search_tool_result_error", "error_code": code}
    assert found["content"][2] == text("I could not search.")
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 0}
    [result] = app.requests[1]["messages"][-1]["content"]
    assert result["is_error"]
    assert code in result["content"]
    assert error is None or error.message in result["content"]


async def test_search_that_breaks_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(query: Any) -> Any:
        raise RuntimeError("secret")

    app = MessagesApp([call("web_search", query="q")], [text("No.")])
    answer = await ask(app, request(), broken)
    assert message(answer)["content"][1]["content"]["error_code"] == "unavailable"
    assert "secret" not in json.dumps(app.requests)
    assert "a web search failed" in caplog.text


async def test_search_that_finds_nothing(stream: bool) -> None:
    app = MessagesApp([call("web_search", query="q")], [text("Nothing [1].")])
    found = message(await ask(app, request(stream=stream), Search([])))
    assert found["content"][1]["content"] == []
    assert found["content"][2] == text("Nothing [1].")
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 1}


async def test_thinking_is_shown_and_goes_back_with_its_signature(stream: bool) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s1"}
    app = MessagesApp([thought, call("web_search", query="q")], [text("Yes.")])
    answer = await ask(app, request(stream=stream))
    assert message(answer)["content"][0] == thought
    assert app.requests[1]["messages"][1]["content"] == [thought, call("web_search", query="q")]


async def test_same_search_is_asked_once_and_counts_twice() -> None:
    app = MessagesApp([call("web_search", query="q")], [call("web_search", query=" q ")], [text("Yes.")])
    search = Search()
    found = message(await ask(app, request(), search))
    assert len(search.queries) == 1
    assert found["usage"]["server_tool_use"] == {"web_search_requests": 2}


async def test_stream_whose_inner_app_answers_as_a_whole() -> None:
    app = MessagesApp([call("web_search", query="q")], [text("In 1698 [1].")], streams=False)
    assert kinds(await ask(app, request(stream=True))) == ["server_tool_use", "web_search_tool_result", "text", "text"]


async def test_refusal_of_the_first_question_reaches_the_client_as_it_is(stream: bool) -> None:
    answer = await ask(MessagesApp((429, "Slow down.")), request(stream=stream))
    assert (answer.status, answer.json()["error"]["message"]) == (429, "Slow down.")


async def test_failure_of_a_later_question_is_an_error_of_the_whole() -> None:
    answer = await ask(MessagesApp([call("web_search", query="q")], (429, "Slow down.")), request())
    assert (answer.status, answer.json()["error"]["message"]) == (429, "Slow down.")


async def test_verdicts_are_on_the_clients_own_calls_alone(stream: bool) -> None:
    def answer(body: dict[str, Any]) -> list[dict[str, Any]]:
        if "tools" not in body:
            return [text("<severity>80</severity><reason>too much</reason>")]
        return [call("web_search", "a", query="one"), call("Read", "b", path="x")]

    layer = WebSearchMiddleware(MessagesApp(answer=answer), search=Search())
    safeguards = [{"type": "dangerous_tool_use", "classifier_context": {"v": 1}}]
    body = request(stream=stream, tools=[OWN, TOOL], safeguards=safeguards)
    found = message(await send(SafeguardsMiddleware(layer, model="J"), http_scope("POST", "/v1/messages"), body))
    told = json.dumps(found["safeguard_results"])
    assert '"b": {' in told
    assert '"a": {' not in told
    assert "srvtoolu_" not in told


async def test_searches_and_failures_are_recorded_and_counted(stream: bool) -> None:
    search = Search()

    async def first_fails(query: Any) -> Any:
        if query.text == "a":
            raise SearchError("unavailable", "down")
        return await search(query)

    app = MessagesApp([call("web_search", query="a")], [call("web_search", query="b")], [text("Done.")])
    seen: list[Record] = []
    stack = MetricsMiddleware(WebSearchMiddleware(app, search=first_fails))

    async def observed(scope: Scope, receive: Receive, send_: Send) -> None:
        await observe(stack, scope, receive, send_, seen.append)

    assert (await send(observed, http_scope("POST", "/v1/messages"), request(stream=stream))).status == 200
    [record] = seen
    assert (record.web_searches, record.web_searches_failed) == (2, 1)
    assert 0 < record.web_search_seconds < 10
    page = (await send(stack, http_scope("GET", "/metrics"))).body.decode()
    assert 'ccproxy_web_searches_total{outcome="success"} 1.0' in page
    assert 'ccproxy_web_searches_total{outcome="failure"} 1.0' in page
