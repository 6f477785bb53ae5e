"""Claude Code itself with models that act by text: calls that no server reads, and tools that are prompted."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from support.clients.claude_code import ClaudeCode, Run
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, error_body
from support.providers.toolless import REFUSAL
from support.serving.proxied import proxied
from support.text_calls import JSON_FORMS, TEXT_FORMS

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

Start: TypeAlias = Callable[..., ClaudeCode]
SECRET = "Oslo is sunny"


def form_of(name: str) -> Callable[..., str]:
    """A writer of calls in a form, by the values of their arguments."""
    if name in TEXT_FORMS:
        return TEXT_FORMS[name]
    return lambda tool, **values: JSON_FORMS[name](tool, json.dumps(values))


def conversation(write: Callable[..., str], note: Path) -> tuple[str, ...]:
    """What the model says, turn by turn: two calls at once, an edit, and its last word."""
    return (
        "I write a note.\n\n" + write("Write", file_path=str(note), content=f"{SECRET}\n<b>\n"),
        write("Read", file_path=str(note)) + "\n" + write("Bash", command="wc -c < note.txt", timeout="5000"),
        "One change.\n"
        + write("Edit", file_path=str(note), old_string="sunny", new_string='"rainy"', replace_all="true"),
        "It says:\n```\n" + write("Bash", command="echo no call") + "\n```",
    )


def assistants(body: dict[str, Any]) -> int:
    return sum(message["role"] == "assistant" for message in body["messages"])


def check(run: Run, note: Path, last: str) -> None:
    assert (run.code, run.result["is_error"], run.result["result"]) == (0, False, last), run.errors
    assert run.result["num_turns"] in (4, 5)  # the two calls of one turn count as two in some versions
    assert note.read_text() == f"{SECRET.replace('sunny', chr(34) + 'rainy' + chr(34))}\n<b>\n"
    assert [block["name"] for block in run.blocks("assistant", "tool_use")] == ["Write", "Read", "Bash", "Edit"]
    assert not [block for block in run.blocks("user", "tool_result") if block.get("is_error")]


@pytest.mark.seen("calls in text", "several turns of tool calls that come as text, in five forms of models")
@pytest.mark.parametrize("form", ["qwen", "qwen-coder", "dsml-v4", "mistral-list", "llama-python-tag"])
def test_calls_in_text_run_over_several_turns(start: Start, work: Path, form: str) -> None:
    texts = conversation(form_of(form), work / "note.txt")
    if form == "mistral-list":  # its calls stand in one list
        texts = (texts[0], texts[1].replace("]\n[TOOL_CALLS] [", ", "), *texts[2:])
    provider = ScriptedProvider(lambda body: Reply(texts[assistants(body)] if body.get("tools") else "A title"))
    with proxied(provider, provider_options={"text_tool_calls": "auto"}) as url:
        run = start(url).run("Write a note, and change it.")
    check(run, work / "note.txt", texts[-1])
    with_tools = [body for body in provider.completions if body.get("tools")]
    assert len(with_tools) == 4
    calls = [call["function"]["name"] for m in with_tools[-1]["messages"] for call in m.get("tool_calls") or ()]
    assert calls == ["Write", "Read", "Bash", "Edit"]


@pytest.mark.seen("prompted tools", "several turns of tool calls with a provider that refuses tools, one call repaired")
def test_prompted_tools_run_over_several_turns(start: Start, work: Path) -> None:
    texts = conversation(form_of("qwen"), work / "note.txt")
    spoiled = "One change.\n<tool_call>{Edit}</tool_call>"
    repairs = 0

    def model(body: dict[str, Any]) -> Answer:
        nonlocal repairs
        if body.get("tools"):
            return Failure(400, error_body(REFUSAL))
        if "<tools>" not in str(body["messages"][0]["content"]):
            return Reply("A title")
        if "can't be read" in str(body["messages"][-1]["content"]):
            repairs += 1
            return Reply(texts[2])
        turn = assistants(body)
        return Reply(spoiled if turn == 2 else texts[turn])

    provider = ScriptedProvider(model, allow=["tools"])
    with proxied(provider) as url:
        run = start(url).run("Write a note, and change it.")
    check(run, work / "note.txt", texts[-1])
    assert repairs == 1
    prompts = [body for body in provider.completions if "<tools>" in str(body["messages"][0]["content"])]
    assert len([body for body in provider.completions if body.get("tools")]) == 1  # refused once, and learned
    assert len(prompts) == 5
    assert not any(message.get("tool_calls") for body in prompts for message in body["messages"])
    assert f'<tool_response name="Read">\n1\t{SECRET}' in str(prompts[-1]["messages"]).replace("\\n", "\n").replace(
        "\\t", "\t"
    )
    for earlier, later in pairwise(prompts):  # the prompt stays the same, for the provider's cache
        if "can't be read" not in str(earlier["messages"][-1]) and "can't be read" not in str(later["messages"][-1]):
            assert later["messages"][0] == earlier["messages"][0]


def test_prompted_tools_without_streams(start: Start, work: Path) -> None:
    texts = conversation(form_of("qwen"), work / "note.txt")
    provider = ScriptedProvider(
        lambda body: Reply(texts[assistants(body)] if "<tools>" in str(body["messages"][0]["content"]) else "A title")
    )
    with proxied(provider, provider_options={"tools": "prompted", "streaming": "never"}) as url:
        run = start(url).run("Write a note, and change it.")
    check(run, work / "note.txt", texts[-1])
    assert not any(body.get("stream") or body.get("tools") for body in provider.completions)
