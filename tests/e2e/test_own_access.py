"""Claude Code on the person's own access to Anthropic, through the proxy, with a standby that has another API."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients.claude_code import ClaudeCode
from support.providers.anthropic_rules import Body
from support.providers.anthropic_server import AnthropicServer, Content, Refusal
from support.providers.scripted import Reply, ScriptedProvider, ToolCall
from support.serving.several import several

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

OURS = "the-proxys-own-key"
TOKEN = "sk-ant-api03-the-clients-own"


@pytest.mark.seen(
    "own access", "a tool loop on one's own key goes on elsewhere while Anthropic is overloaded, and back"
)
def test_loop_goes_on_elsewhere_while_anthropic_is_overloaded(start: Callable[..., ClaudeCode], work: Path) -> None:
    numbers = itertools.count()

    def said(body: Body) -> Content | Refusal:
        turns = sum(message["role"] == "assistant" for message in body["messages"])
        if turns == 1:
            return Refusal("Overloaded", 529, "overloaded_error", {"retry-after": "1"})
        thinking = (body.get("thinking") or {}).get("type", "disabled") != "disabled"
        blocks: Content = [{"type": "thinking", "thinking": f"thought {next(numbers)}"}] if thinking else []
        if turns > 2:
            return [*blocks, {"type": "text", "text": "All is done."}]
        command = {"command": f"echo {turns} >> done.txt"}
        return [*blocks, {"type": "tool_use", "id": f"toolu_01Abc{turns}", "name": "Bash", "input": command}]

    mine = AnthropicServer(said, strict=True, credentials=[TOKEN])
    call = ToolCall("Bash", {"command": "sleep 1.2; echo other >> done.txt"})
    standby = ScriptedProvider(lambda body: Reply("", [call], reasoning="thoughts of another"))
    fields = {"mine": {"api_key": "client", "api": "anthropic"}}
    models = {"big_model": "mine:claude-opus-4-8,gpt-4o", "small_model": "mine:claude-haiku-4-5"}
    with several(standby, {"mine": mine}, fields=fields, anthropic_api_key=OURS, **models) as url:
        own = {"ANTHROPIC_API_KEY": TOKEN, "ANTHROPIC_CUSTOM_HEADERS": f"x-cc-boost-key: {OURS}"}
        run = start(url, **own).run("Do it.", "--model", "claude-opus-4-8")
    assert (run.code, run.result["result"]) == (0, "All is done."), run.errors
    assert (work / "done.txt").read_text() == "0\nother\n2\n"
    assert mine.refused == []
    assert len(standby.completions) == 1
    assert not [text for text in (str(standby.requests), str(mine.raws)) if TOKEN in text or OURS in text]
    assert {headers["x-api-key"] for headers in mine.headers} == {TOKEN}
    assert all(headers["user-agent"].startswith("claude-cli/") for headers in mine.headers)
    assert not [headers for headers in mine.headers if "x-cc-boost-key" in headers]
