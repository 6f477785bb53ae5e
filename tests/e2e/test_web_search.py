"""Claude Code's WebSearch, by a SearXNG of true form, on both upstream APIs."""

from collections.abc import Callable
from typing import Any

import pytest

from support.clients.claude_code import ClaudeCode, Run
from support.providers.scripted import Answer, Reply, ScriptedProvider, ToolCall
from support.providers.search_services import SearchServices
from support.serving.proxied import proxied
from support.serving.servers import serve

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]


def names(body: dict[str, Any]) -> list[str]:
    return [tool.get("function", tool)["name"] for tool in body.get("tools", ())]


def model(body: dict[str, Any]) -> Answer:
    """A model that wants a search, runs it when it is asked to, and tells what it was told."""
    said = str(body.get("messages") or body["input"])
    if names(body) == ["web_search"]:
        if "Results of the web search" in said:
            return Reply("The Eddystone was lit in 1698 [1].")
        return Reply(tool_calls=[ToolCall("web_search", {"query": "eddystone first lit"})])
    if "Web search results for query" in said:
        return Reply("It is 1698.")
    return Reply(tool_calls=[ToolCall("WebSearch", {"query": "eddystone lighthouse"})])


@pytest.mark.seen("web search", "WebSearch by a service of the operator's: results and sources are listed")
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_web_search_ends_with_results_and_sources(start: Callable[..., ClaudeCode], api: str) -> None:
    provider, services = ScriptedProvider(model), SearchServices()
    with serve(services, lifespan="off") as searxng:
        options: dict[str, Any] = {
            "web_search": "searxng",
            "web_search_url": searxng.url,
            "provider_options": {"api": api},
        }
        with proxied(provider, **options) as url:
            run = start(url).run("When was the Eddystone lit?", "--allowedTools", "WebSearch")
    assert (run.code, run.result["result"]) == (0, "It is 1698."), run.errors
    assert [asked.query for asked in services.asked] == ["eddystone first lit"]
    last = str((provider.responses if api == "responses" else provider.completions)[-1])
    assert 'Web search results for query: "eddystone lighthouse"' in last
    assert "https://lights.example/eddystone" in last
    assert "Lights of the sea" in last
    assert "The Eddystone was lit in 1698." in last
    assert [noted["searchCount"] for noted in searched(run)] == [1]


def searched(run: Run) -> list[dict[str, Any]]:
    """What Claude Code's own WebSearch has noted of each call."""
    return [event["tool_use_result"] for event in run.events if event["type"] == "user" and "tool_use_result" in event]


@pytest.mark.seen("web search", "a model that does not search when it must: the query is searched all the same")
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_no_web_search_ends_with_0_searches(start: Callable[..., ClaudeCode], api: str) -> None:
    def lazy(body: dict[str, Any]) -> Answer:
        answer = model(body)
        forced = names(body) == ["web_search"] and "Results of the web search" not in str(body)
        return Reply("I know that without a search.") if forced else answer

    provider, services = ScriptedProvider(lazy), SearchServices()
    with serve(services, lifespan="off") as searxng:
        options: dict[str, Any] = {
            "web_search": "searxng",
            "web_search_url": searxng.url,
            "provider_options": {"api": api},
        }
        with proxied(provider, **options) as url:
            run = start(url).run("When was the Eddystone lit?", "--allowedTools", "WebSearch")
    assert (run.code, run.result["result"]) == (0, "It is 1698."), run.errors
    assert [asked.query for asked in services.asked] == ["eddystone lighthouse"]
    [noted] = searched(run)
    assert noted["searchCount"] == 1
    links, said = noted["results"]
    assert links["content"][0] == {"title": "Eddystone Lighthouse", "url": "https://lights.example/eddystone"}
    assert said == "The Eddystone was lit in 1698."


@pytest.mark.seen("web search", "a service that fails: the code is shown, and the turn goes on")
def test_failed_web_search_is_told_and_the_turn_goes_on(start: Callable[..., ClaudeCode]) -> None:
    provider, services = ScriptedProvider(model), SearchServices(status=429)
    with (
        serve(services, lifespan="off") as searxng,
        proxied(provider, web_search="searxng", web_search_url=searxng.url) as url,
    ):
        run = start(url).run("When was the Eddystone lit?", "--allowedTools", "WebSearch")
    assert run.code == 0, run.errors
    assert "Web search error: too_many_requests" in str(searched(run))
