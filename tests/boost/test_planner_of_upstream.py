"""Boost's planner as a model of an upstream, whatever protocol that speaks, with others that stand by."""

from collections.abc import Mapping
from typing import Any

import pytest
from starlette.types import ASGIApp

from support.providers.anthropic_server import AnthropicServer
from support.providers.scripted import Failure, Reply, ScriptedProvider, ToolCall
from support.serving.boosted import ask, question
from support.serving.servers import serve
from support.serving.several import several

CALL = ToolCall("Read", {"path": "a.txt"})
GUIDANCE = "ANALYSIS: The file is unread.\nGUIDANCE: Call Read with path a.txt."
DOWN = Failure(500, {"error": {"message": "down"}})
BOOST = {"enable_boost_support": "BIG_MODEL", "max_retries": 0}


def anthropic() -> AnthropicServer:
    return AnthropicServer(lambda body: [{"type": "text", "text": GUIDANCE}])


def prompts_of(planner: ASGIApp) -> list[str]:
    if isinstance(planner, AnthropicServer):
        return [body["messages"][-1]["content"] for body in planner.bodies]
    assert isinstance(planner, ScriptedProvider)
    return [str(body) for body in (*planner.completions, *planner.responses)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses", "anthropic"])
@pytest.mark.parametrize("executor", ["default", "work"])
def test_planner_of_an_upstream_guides_the_model_of_any_other(api: str, stream: bool, executor: str) -> None:
    planner: ASGIApp = anthropic() if api == "anthropic" else ScriptedProvider([Reply(GUIDANCE)])
    works = ScriptedProvider([Reply("", tool_calls=[CALL])])
    default = works if executor == "default" else ScriptedProvider([])
    others: Mapping[str, ASGIApp] = {"plan": planner, "work": works if executor == "work" else ScriptedProvider([])}
    fields: dict[str, Any] = {"plan": {"api": api, "headers": {"X-Plan": "yes"}}}
    models = {"big_model": "gpt-4o" if executor == "default" else "work:gpt-4o", "boost_model": "plan:o3"}
    with several(default, others, fields=fields, custom_headers={"X-Default": "d"}, **models, **BOOST) as url:
        answer = ask(url, question(stream=stream))
    assert answer.outcome == ("1", "guidance")
    assert answer.calls == [("Read", {"path": "a.txt"})]
    assert answer.message["model"] == question()["model"]
    (prompt,) = prompts_of(planner)
    assert "What is in a.txt?" in prompt
    assert len(works.completions) == 1
    assert "Call Read with path a.txt." in str(works.completions[0]["messages"])
    if isinstance(planner, AnthropicServer):
        assert planner.bodies[0]["model"] == "o3"
        headers = planner.headers[0]
        assert headers["x-api-key"] == "plan-key"
    else:
        assert isinstance(planner, ScriptedProvider)
        assert planner.requests[0].body["model"] == "o3"
        assert planner.requests[0].path == ("/v1/responses" if api == "responses" else "/v1/chat/completions")
        headers = planner.requests[0].headers
        assert headers["authorization"] == "Bearer plan-key"
    assert (headers.get("x-plan"), headers.get("x-default")) == ("yes", None)


def test_planner_that_stands_by_takes_over_and_usage_is_told() -> None:
    failing = ScriptedProvider(lambda body: DOWN)
    planner = AnthropicServer(lambda body: [{"type": "text", "text": "SUMMARY: forty-two"}])
    others: Mapping[str, ASGIApp] = {"first": failing, "second": planner}
    fields: dict[str, Any] = {"second": {"api": "anthropic"}}
    with several(ScriptedProvider([]), others, fields=fields, boost_model="first:o3,second:claude", **BOOST) as url:
        answer = ask(url, question())
    assert (answer.text, answer.outcome) == ("forty-two", ("1", "summary"))
    assert (len(failing.requests), len(planner.bodies)) == (1, 1)
    assert (answer.message["usage"]["input_tokens"], answer.message["usage"]["output_tokens"]) == (9, 9)


def test_planner_of_boost_base_url_stands_in_one_list_with_those_of_upstreams() -> None:
    own = ScriptedProvider(lambda body: DOWN)
    planner = ScriptedProvider([Reply("SUMMARY: forty-two")])
    with (
        serve(own, lifespan="off") as server,
        several(
            ScriptedProvider([]), {"plan": planner}, boost_model="o3, plan:o4", boost_api_key="boost-key",
            boost_base_url=f"{server.url}/v1", **BOOST,
        ) as url,
    ):  # fmt: skip
        answer = ask(url, question())
    assert answer.text == "forty-two"
    assert [request.body["model"] for request in own.requests] == ["o3"]
    assert own.requests[0].headers["authorization"] == "Bearer boost-key"
    assert planner.completions[0]["model"] == "o4"


def test_request_is_made_without_a_plan_where_no_planner_answers() -> None:
    failing = ScriptedProvider(lambda body: DOWN)
    works = ScriptedProvider([Reply("", tool_calls=[CALL])])
    with several(works, {"a": failing}, boost_model="a:o3,a:o4", **BOOST) as url:
        answer = ask(url, question())
    assert answer.calls == [("Read", {"path": "a.txt"})]
    assert len(works.completions) == 1
