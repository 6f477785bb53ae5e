"""Which agent asks: Claude Code's hint headers, through the proxy into its inspector."""

from pathlib import Path
from typing import Any

import pytest

from support.clients.claude_code import ClaudeCode
from support.providers.scripted import Answer, Reply, ScriptedProvider, ToolCall
from support.serving.inspected import inspected

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

TASK = {"description": "Count files", "prompt": "Count the files here.", "subagent_type": "Explore"}


@pytest.mark.seen(
    "who asks", "session, prompt, agents and their parents in the inspector; nothing of it at the provider"
)
def test_agents_are_told_apart(claude_program: Path, tmp_path: Path) -> None:
    def model(body: dict[str, Any]) -> Answer:
        messages = str(body["messages"])
        if TASK["prompt"] in str(body["messages"][1]):
            return Reply("I count three.")
        if "I count three." in messages:
            return Reply("There are three.")
        return Reply(tool_calls=[ToolCall("Agent", {**TASK, "run_in_background": False})])

    provider = ScriptedProvider(model)
    with inspected(provider, anthropic_api_key=None) as proxy:
        client = ClaudeCode(claude_program, tmp_path, proxy.url, CLAUDE_CODE_GATEWAY_HINT_HEADERS="1")
        run = client.run("How many files are there? Ask a helper.")
        asked = proxy.listed()
    assert (run.code, run.result["result"]) == (0, "There are three."), run.errors
    classes = [exchange["request_class"] for exchange in asked]
    assert classes == ["main", "subagent", "main"]
    main, helper, _ = asked
    assert helper["agent_type"] == "Explore"
    assert helper["agent_id"]
    assert main["agent_id"] is None
    assert len({exchange["session_id"] for exchange in asked}) == 1
    assert len({exchange["prompt_id"] for exchange in asked}) == 1
    assert "Agent=" in asked[2]["tool_durations"]
    names = {name for request in provider.requests for name in request.headers}
    assert [name for name in names if name.startswith("x-claude")] == []
