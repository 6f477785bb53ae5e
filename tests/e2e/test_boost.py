"""Real clients through the running proxy with boost: the Anthropic SDK, and Claude Code itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam

from support.clients.claude_code import ClaudeCode
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, ToolCall
from support.serving.boosted import CLAUDE, READ, Boosted, boosted

FIRST = "What is in a.txt?"


def prompt_of(body: dict[str, Any]) -> str:
    text: str = body["messages"][-1]["content"]
    return text


def planning(*guidances: str, summary: str) -> ScriptedProvider:
    """A planner that counts the results in the conversation it is shown."""

    def plan(body: dict[str, Any]) -> Answer:
        conversation = prompt_of(body).partition("<conversation>")[2].partition("</conversation>")[0]
        done = conversation.count("[result of ") + conversation.count("[error of ")
        if done < len(guidances):
            attempt = re.search(r"attempt (\d) of 3", prompt_of(body))
            assert attempt
            guidance = f"{guidances[done]} This is attempt {attempt[1]}."
            return Reply(f"ANALYSIS:\nStep {done + 1}.\n\n**GUIDANCE:**\n{guidance}", delay=0.002)
        return Reply(f"SUMMARY: {summary}", delay=0.002)

    return ScriptedProvider(plan)


def executing(*calls: ToolCall) -> ScriptedProvider:
    """An executor that makes the call whose number stands in its guidance, the first one only when asked again."""

    def execute(body: dict[str, Any]) -> Answer:
        assert body["messages"][-1]["role"] == "system"
        guidance = str(body["messages"][-1]["content"])
        if "Call 0 " in guidance and "attempt 1" in guidance:
            return Reply("I could do that.")
        for number, call in enumerate(calls):
            if f"Call {number} " in guidance:
                return Reply(f"Step {number}.", [call])
        return Failure(400, f"no guidance: {guidance}")

    return ScriptedProvider(execute)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_sdk_holds_a_conversation_with_a_tool(stream: bool) -> None:
    planner = planning("Call 0 now.", summary="It is forty-two.")
    executor = executing(ToolCall("Read", {"path": "a.txt"}))
    messages: list[MessageParam] = [{"role": "user", "content": FIRST}]
    with (
        boosted(planner, executor) as running,
        Anthropic(api_key="k", base_url=running.url, max_retries=0) as client,
    ):
        first = ask(client, messages, stream)
        [use] = [block for block in first.content if block.type == "tool_use"]
        assert (first.stop_reason, use.name, use.input) == ("tool_use", "Read", {"path": "a.txt"})
        messages.append({"role": "assistant", "content": first.content})
        messages.append(
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "forty-two"}]}
        )
        second = ask(client, messages, stream)
    assert second.stop_reason == "end_turn"
    assert second.content[0].type == "text"
    assert second.content[0].text == "It is forty-two."
    assert first.usage.input_tokens > 100


def ask(client: Anthropic, messages: list[MessageParam], stream: bool) -> Any:
    arguments: dict[str, Any] = {"model": CLAUDE, "max_tokens": 500, "tools": [READ], "messages": messages}
    if not stream:
        return client.messages.create(**arguments)
    with client.messages.stream(**arguments) as events:
        return events.get_final_message()


@pytest.mark.claude_code
@pytest.mark.timeout(600)
def test_claude_code_writes_edits_and_runs_a_file_in_four_boosted_turns(claude_program: Path, tmp_path: Path) -> None:
    script = tmp_path / "work" / "greet.sh"
    change = {"file_path": str(script), "old_string": "morning", "new_string": "evening"}
    executor = executing(
        ToolCall("Write", {"file_path": str(script), "content": "echo good morning\n"}),
        ToolCall("Edit", change),
        ToolCall("Bash", {"command": f"sh {script}", "description": "Run it"}),
        ToolCall("Read", {"file_path": str(script)}),
    )
    planner = planning(
        *(f"Call {number} with the tool {tool}." for number, tool in enumerate(("Write", "Edit", "Bash", "Read"))),
        summary="The script says good evening.",
    )
    with boosted(planner, executor) as running:
        claude = ClaudeCode(claude_program, tmp_path, running.url)
        run = claude.run("Write greet.sh, make it say good evening, and run it.", "--model", "opus")
    assert (run.code, run.result["subtype"], run.result["is_error"]) == (0, "success", False), run.errors
    assert run.result["result"] == "The script says good evening."
    assert script.read_text() == "echo good evening\n"
    results = [block["content"] for block in run.blocks("user", "tool_result")]
    assert "good evening" in json.dumps(results[2])
    check_turns(running)


def check_turns(running: Boosted) -> None:
    """Six plans and five executions, of which the first was only talk.

    What Claude Code tells the model besides is no request of the person's.
    """
    assert (len(running.prompts), len(running.executor.completions)) == (6, 5)
    for prompt in running.prompts:
        asked = prompt.partition("<request>\n")[2].partition("\n</request>")[0]
        assert asked == "Write greet.sh, make it say good evening, and run it."
        assert "x-anthropic-billing-header" not in prompt
        assert "## Bash" in prompt
    last = running.prompts[-1]
    for label in ("[assistant calls Write]", "[result of Edit]", "[result of Bash]\ngood evening", "[result of Read]"):
        assert label in last
