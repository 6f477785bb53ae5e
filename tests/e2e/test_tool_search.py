"""Claude Code with 150 tools of an MCP server, in front of a provider that takes 128."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxy_middleware.conversion.counting import estimate_request
from support.clients import mcp_tools
from support.clients.claude_code import ClaudeCode, Run
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.proxied import proxied

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

TOOLS = 150
NAME = "mcp__words__look_up_7"


def model(body: dict[str, Any]) -> Answer:
    """One that looks for a tool, calls it, and says what it has told; with a provider that takes 128 tools."""
    if (number := len(body["tools"])) > 128:
        words = "Expected an array with maximum length 128, but got an array with length"
        message = f"Invalid 'tools': array too long. {words} {number} instead."
        return Failure(400, error_body(message, param="tools", code="array_above_max_length"))
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    calls = [ToolCall("ToolSearch", {"query": f"select:{NAME}"}), ToolCall(NAME, {"word": "lighthouse"})]
    return Reply(tool_calls=[calls[turn]]) if turn < 2 else Reply("A tall tower with a lamp.")


def run(program: Path, directory: Path, provider: ScriptedProvider, **variables: str) -> Run:
    server = {"command": sys.executable, "args": [mcp_tools.__file__, str(TOOLS)]}
    configuration = json.dumps({"mcpServers": {"words": server}})
    with proxied(provider) as url:
        client = ClaudeCode(program, directory, url, **variables)
        return client.run("What is a lighthouse?", "--mcp-config", configuration, "--allowedTools", NAME, "ToolSearch")


@pytest.mark.seen("tool search", "on by itself: 150 MCP tools work with a provider that takes 128, 12 tools are sent")
def test_tools_are_loaded_when_they_are_needed(claude_program: Path, tmp_path: Path) -> None:
    provider = ScriptedProvider(model)
    result = run(claude_program, tmp_path, provider)
    assert (result.code, result.result["result"]) == (0, "A tall tower with a lamp."), result.errors
    offered = [[tool["function"]["name"] for tool in body["tools"]] for body in provider.completions]
    assert [NAME in names for names in offered] == [False, True, True]
    assert max(map(len, offered)) < 20
    assert "look_up_7 says" in str(provider.completions[2]["messages"][-1])


@pytest.mark.seen(
    "tool search", "turned off by the person: refused once, with the remedy; nearly four times the tokens"
)
def test_persons_own_choice_is_left_and_the_refusal_tells_the_remedy(claude_program: Path, tmp_path: Path) -> None:
    searching, all_at_once = ScriptedProvider(model), ScriptedProvider(model)
    for name in ("on", "off"):
        (tmp_path / name).mkdir()
    run(claude_program, tmp_path / "on", searching)
    result = run(claude_program, tmp_path / "off", all_at_once, ENABLE_TOOL_SEARCH="false")
    [refused] = all_at_once.completions
    assert len(refused["tools"]) > TOOLS
    assert "array too long" in result.result["result"]
    assert "ENABLE_TOOL_SEARCH=true" in result.result["result"]
    tokens = [estimate_request(body) for body in (searching.completions[0], refused)]
    assert tokens[1] > 2 * tokens[0]
