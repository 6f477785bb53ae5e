"""Refusals, and what Claude Code makes of them."""

import shutil
from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import pytest

from support.clients.claude_code import ClaudeCode
from support.clients.client_words import WORDS, Words
from support.paths import DATA
from support.providers.anthropic_rules import Body
from support.providers.anthropic_server import AnthropicServer, Content, Refusal
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.proxied import proxied
from support.serving.servers import serve

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

REFUSED = "Field 'frobnicate' of tool 3 was refused by the provider."


@pytest.fixture
def start(start: Callable[..., ClaudeCode]) -> Callable[..., ClaudeCode]:
    """Make a Claude Code for a proxy's URL, with a picture in its folder."""

    def with_picture(url: str, **variables: str) -> ClaudeCode:
        client = start(url, **variables)
        shutil.copy(DATA / "files/gradient.png", client.work)
        return client

    return with_picture


def call(name: str, **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": input}


FIRST_TURN: dict[str, Content] = {
    "picture": [call("Read", file_path="gradient.png")],
    "thinking": [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmF0dXJl"},
        call("Bash", command="echo three"),
    ],
}


def test_words_stand_in_the_clients_program(claude_program: Path) -> None:
    with claude_program.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as program:
        assert [row.found for row in WORDS if program.find(row.found.encode()) < 0] == []


@pytest.mark.seen("words of refusals", "each of the words above makes it ask once more, as the table tells")
@pytest.mark.parametrize("words", WORDS, ids=[row.words[:50] for row in WORDS])
def test_words_that_the_client_acts_on(start: Callable[..., ClaudeCode], words: Words) -> None:
    refused: list[Body] = []

    def answer(body: Body) -> Content | Refusal:
        if words.after and len(body["messages"]) < 3 and not refused:
            return FIRST_TURN[words.after]
        if not refused:
            refused.append(body)
            return Refusal(words.words)
        return [{"type": "text", "text": "It is seven."}]

    server = AnthropicServer(answer)
    with serve(server, lifespan="off") as running:
        run = start(running.url).run("How many?")
    assert (run.code, run.result["result"]) == (0, "It is seven."), run.errors
    [before], after = refused, server.bodies[-1]
    assert server.bodies[-2] is before
    assert words.shown(before, after)


def refusing(message: str, status: int = 400, **more: Any) -> ScriptedProvider:
    return ScriptedProvider(lambda body: Failure(status, error_body(message, **more)))


@pytest.mark.seen(
    "refusals", "a refusal that nothing cures: asked once, shown in the provider's words, tools unchanged"
)
def test_refusal_that_nothing_cures_is_asked_once(start: Callable[..., ClaudeCode]) -> None:
    provider = refusing(REFUSED)
    with proxied(provider) as url:
        run = start(url).run("Say hello.")
    assert run.result["is_error"]
    assert run.result["result"] == f"API Error: 424 {REFUSED}"
    assert run.result["api_error_type"] == "invalid_request_error"
    assert len(provider.completions) == 1


@pytest.mark.seen("refusals", "as a plain 400 the same is asked six times, the last three with all tools")
def test_refusal_in_the_plain_form_is_asked_six_times(start: Callable[..., ClaudeCode]) -> None:
    server = AnthropicServer(lambda body: Refusal(REFUSED))
    with serve(server, lifespan="off") as running:
        run = start(running.url).run("Say hello.")
    assert run.result["result"] == f"API Error: 400 {REFUSED}"
    tools = [len(body["tools"]) for body in server.bodies]
    assert len(tools) == 6
    assert tools[5] > tools[0]


@pytest.mark.seen(
    "refusals", "a model that the provider's key may not use: asked once, no word of the client's own login"
)
def test_forbidden_model_is_told_in_the_providers_words(start: Callable[..., ClaudeCode]) -> None:
    provider = refusing("Your key has no access to this model.", 403)
    with proxied(provider) as url:
        run = start(url).run("Say hello.")
    assert run.result["result"] == "API Error: 424 Your key has no access to this model."
    assert len(provider.completions) == 1


@pytest.mark.seen("refusals", "a provider's account without money: asked once, shown in the provider's words")
def test_spent_budget_is_told_at_once(start: Callable[..., ClaudeCode]) -> None:
    provider = refusing("You exceeded your current quota.", 429, code="insufficient_quota")
    with proxied(provider, max_retries=0) as url:
        run = start(url).run("Say hello.")
    assert run.result["result"] == "API Error: 402 You exceeded your current quota."
    assert len(provider.completions) == 1


@pytest.mark.seen("web search", "the search, which Anthropic's servers would run, is refused once with the remedy")
def test_web_search_is_refused_once_and_the_turn_goes_on(start: Callable[..., ClaudeCode]) -> None:
    def model(body: dict[str, Any]) -> Answer:
        if "is not supported by this endpoint" in str(body["messages"]):
            return Reply("I can't search.")
        return Reply(tool_calls=[ToolCall("WebSearch", {"query": "lighthouses"})])

    provider = ScriptedProvider(model)
    with proxied(provider) as url:
        run = start(url).run("Search the web.", "--allowedTools", "WebSearch")
    assert (run.code, run.result["result"]) == (0, "I can't search."), run.errors
    assert len(provider.completions) == 2
    assert "server_tools" in str(provider.completions[1]["messages"])


@pytest.mark.seen("advisor", "refused in the words on which the client goes on without it, in the same turn")
def test_advisor_is_given_up_and_the_turn_goes_on(start: Callable[..., ClaudeCode]) -> None:
    provider = ScriptedProvider([Reply("Hello.")])
    with proxied(provider) as url:
        client = start(url, CLAUDE_CODE_ENABLE_EXPERIMENTAL_ADVISOR_TOOL="1")
        run = client.run("Say hello.", "--advisor", "opus")
    assert (run.code, run.result["result"]) == (0, "Hello."), run.errors
    assert len(provider.completions) == 1
