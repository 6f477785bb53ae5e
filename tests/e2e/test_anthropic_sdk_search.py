"""The official ``anthropic`` SDK with its web search tool, by a SearXNG of true form, over several turns."""

from typing import Any

import pytest
from anthropic import Anthropic
from anthropic.types import (
    CitationsWebSearchResultLocation,
    Message,
    ServerToolUseBlock,
    TextBlock,
    ToolUseBlock,
    WebSearchResultBlock,
    WebSearchToolResultBlock,
)

from support.providers.scripted import Reply, ScriptedProvider, ToolCall
from support.providers.search_services import LIGHTS, SearchServices
from support.serving.proxied import proxied
from support.serving.servers import serve

SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "blocked_domains": ["sea.example"]}
READ: Any = {"name": "read", "description": "Read", "input_schema": {"type": "object", "properties": {}}}


def ask(url: str, messages: list[Any], tools: list[Any], *, stream: bool) -> Message:
    client = Anthropic(base_url=url, api_key="client-key", max_retries=0, timeout=30)
    options: Any = {"model": "claude-opus-4-8", "max_tokens": 500, "messages": messages, "tools": tools}
    if not stream:
        message: Message = client.messages.create(**options)
        return message
    with client.messages.stream(**options) as streamed:
        final: Message = streamed.get_final_message()
        return final


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_blocks_are_parsed_and_come_back_in_the_next_turns(api: str, stream: bool) -> None:
    provider = ScriptedProvider(
        [
            Reply(tool_calls=[ToolCall("web_search", {"query": "eddystone"})]),
            Reply("It was lit in 1698 [1]. Anything else?"),
            Reply(tool_calls=[ToolCall("read", {})]),
            Reply("Yes, it stands."),
        ]
    )
    services = SearchServices()
    with serve(services, lifespan="off") as searxng:
        options: Any = {"web_search": "searxng", "web_search_url": searxng.url, "provider_options": {"api": api}}
        with proxied(provider, **options) as url:
            messages: list[Any] = [{"role": "user", "content": "When was it lit?"}]
            first = ask(url, messages, [SEARCH, READ], stream=stream)
            messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "Does it stand?"}]
            second = ask(url, messages, [SEARCH, READ], stream=stream)
            use = second.content[0]
            assert isinstance(use, ToolUseBlock)
            result = {"type": "tool_result", "tool_use_id": use.id, "content": "stands"}
            messages += [{"role": "assistant", "content": second.content}, {"role": "user", "content": [result]}]
            third = ask(url, messages, [SEARCH, READ], stream=stream)

    call, found, cited, rest = first.content
    assert isinstance(call, ServerToolUseBlock)
    assert (call.name, call.input) == ("web_search", {"query": "eddystone"})
    assert isinstance(found, WebSearchToolResultBlock)
    assert found.tool_use_id == call.id
    assert isinstance(found.content, list)
    [page] = found.content  # the other is of a domain that is blocked
    assert isinstance(page, WebSearchResultBlock)
    assert (page.url, page.title, page.page_age) == (LIGHTS[0].url, LIGHTS[0].title, f"{LIGHTS[0].date}T00:00:00")
    assert page.encrypted_content
    assert isinstance(cited, TextBlock)
    assert cited.text == "It was lit in 1698"
    assert cited.citations is not None
    [citation] = cited.citations
    assert isinstance(citation, CitationsWebSearchResultLocation)
    assert (citation.url, citation.cited_text) == (LIGHTS[0].url, LIGHTS[0].text)
    assert isinstance(rest, TextBlock)
    assert rest.text == ". Anything else?"
    assert first.stop_reason == "end_turn"
    assert first.usage.server_tool_use is not None
    assert first.usage.server_tool_use.web_search_requests == 1
    assert (second.stop_reason, third.stop_reason) == ("tool_use", "end_turn")

    asked = provider.responses if api == "responses" else provider.completions
    assert len(asked) == 4
    assert len(services.asked) == 1
    for body in asked[2:]:
        assert f"- {LIGHTS[0].title}: {LIGHTS[0].url}" in str(body)
        assert "srvtoolu_" not in str(body)
        assert "ccws1" not in str(body)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_failed_search_is_parsed(stream: bool) -> None:
    provider = ScriptedProvider([Reply(tool_calls=[ToolCall("web_search", {"query": "q"})]), Reply("I don't know.")])
    with (
        serve(SearchServices(status=500), lifespan="off") as searxng,
        proxied(provider, web_search="searxng", web_search_url=searxng.url) as url,
    ):
        answer = ask(url, [{"role": "user", "content": "When?"}], [SEARCH], stream=stream)
    found = answer.content[1]
    assert isinstance(found, WebSearchToolResultBlock)
    assert not isinstance(found.content, list)
    assert found.content.error_code == "unavailable"
