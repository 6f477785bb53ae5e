"""Other Python clients of Anthropic's API through the proxy: each does a small job with a tool."""

import sys
from pathlib import Path

import pytest

from integration.jobs import ANSWER, Model, run
from integration.need import need
from support.serving.proxied import proxied

LANGCHAIN = """
import os
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage

def look_up(word: str) -> str:
    "Look a word up in the dictionary."
    return "A tall tower with a lamp."

model = ChatAnthropic(
    model=os.environ["MODEL"], base_url=os.environ["PROXY"], api_key="any-text", streaming="STREAM" in os.environ
).bind_tools([look_up])
asked = [HumanMessage(os.environ["QUESTION"])]
first = model.invoke(asked)
[call] = first.tool_calls
print(model.invoke([*asked, first, ToolMessage(look_up(**call["args"]), tool_call_id=call["id"])]).text)
"""

PYDANTIC_AI = """
import os
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

def look_up(word: str) -> str:
    "Look a word up in the dictionary."
    return "A tall tower with a lamp."

provider = AnthropicProvider(api_key="any-text", base_url=os.environ["PROXY"])
agent = Agent(AnthropicModel(os.environ["MODEL"], provider=provider), tools=[look_up])
print(agent.run_sync(os.environ["QUESTION"]).output)
"""

AGENT_SDK = """
import os
import anyio
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, create_sdk_mcp_server, query, tool

@tool("look_up", "Look a word up in the dictionary.", {"word": str})
async def look_up(arguments):
    return {"content": [{"type": "text", "text": "A tall tower with a lamp."}]}

options = ClaudeAgentOptions(
    cli_path=os.environ["CLAUDE"],
    env={"ANTHROPIC_BASE_URL": os.environ["PROXY"], "ANTHROPIC_AUTH_TOKEN": "any-text", "ENABLE_TOOL_SEARCH": "false"},
    mcp_servers={"words": create_sdk_mcp_server("words", tools=[look_up])},
    allowed_tools=["mcp__words__look_up"],
)

async def main():
    async for message in query(prompt=os.environ["QUESTION"], options=options):
        if isinstance(message, ResultMessage):
            print(message.result)

anyio.run(main)
"""


def python(home: Path, source: str, **variables: str) -> str:
    return run(home, [sys.executable, "-c", source], **variables)


@pytest.mark.parametrize("more", [{"STREAM": "1"}, {}], ids=["stream", "whole"])
def test_langchain_calls_a_tool(tmp_path: Path, more: dict[str, str]) -> None:
    need("langchain_anthropic")
    with proxied(provider := Model()) as url:
        assert python(tmp_path, LANGCHAIN, PROXY=url, **more) == ANSWER
    provider.check()


def test_pydantic_ai_calls_a_tool(tmp_path: Path) -> None:
    need("pydantic_ai")
    with proxied(provider := Model()) as url:
        assert python(tmp_path, PYDANTIC_AI, PROXY=url) == ANSWER
    provider.check()


def test_agent_sdk_calls_a_tool(tmp_path: Path, claude_program: Path) -> None:
    need("claude_agent_sdk")
    with proxied(provider := Model("mcp__words__look_up")) as url:
        assert python(tmp_path, AGENT_SDK, PROXY=url, CLAUDE=str(claude_program)) == ANSWER
    provider.check()
