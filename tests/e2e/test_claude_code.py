"""Claude Code itself, through the running proxy, with a provider that plays the model."""

import base64
import json
import shutil
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from support.clients.claude_code import ClaudeCode
from support.paths import DATA
from support.providers.faulty import answers_always, faulty, resets_mid_event, sized
from support.providers.scripted import (
    Answer,
    Chunks,
    Endless,
    Failure,
    Reply,
    ScriptedProvider,
    Silence,
    ToolCall,
    error_body,
)
from support.providers.turns import by_turn
from support.serving.proxied import proxied, proxy
from support.serving.servers import eventually

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

FILES = DATA / "files"
Start: TypeAlias = Callable[..., ClaudeCode]
BIG, SMALL = "big-model", "small-model"

TASK = {"description": "Count files", "prompt": "Count the files here.", "subagent_type": "Explore"}


def results_of_calls(body: dict[str, Any]) -> list[str]:
    """The results in a request, in the order of their calls, each of which they must follow directly."""
    messages = body["messages"]
    found: list[str] = []
    for n, message in enumerate(messages):
        ids = [call["id"] for call in message.get("tool_calls") or ()]
        results = {m["tool_call_id"]: m["content"] for m in messages[n + 1 : n + 1 + len(ids)]}
        assert set(results) == set(ids)
        found += [results[id_] for id_ in ids]
    return found


def parts_of(body: dict[str, Any], type: str) -> list[dict[str, Any]]:
    """The content parts of one type in a request."""
    contents = [message["content"] for message in body["messages"]]
    return [part for content in contents if isinstance(content, list) for part in content if part["type"] == type]


def test_plain_answer_with_its_usage(start: Start) -> None:
    usage = {
        "prompt_tokens": 5000,
        "completion_tokens": 7,
        "total_tokens": 5007,
        "prompt_tokens_details": {"cached_tokens": 4000},
    }
    provider = ScriptedProvider([Reply("Hello, traveller.", usage=usage)])
    with proxied(provider, big_model=BIG) as url:
        run = start(url).run("Say hello.")
    assert (run.code, run.result["subtype"], run.result["is_error"]) == (0, "success", False), run.errors
    assert run.result["result"] == "Hello, traveller."
    assert run.result["num_turns"] == 1
    shown = run.result["usage"]
    assert (shown["input_tokens"], shown["cache_read_input_tokens"], shown["output_tokens"]) == (1000, 4000, 7)
    [body] = provider.completions
    assert body["model"] == BIG
    assert body["stream"] is True
    assert "x-anthropic-billing-header" not in str(body)


def test_loop_of_five_turns_writes_edits_runs_and_reads_a_file(start: Start, work: Path) -> None:
    script = work / "greet.sh"
    change = {"file_path": str(script), "old_string": "morning", "new_string": "evening"}
    model = by_turn(
        Reply("I write.", [ToolCall("Write", {"file_path": str(script), "content": "echo good morning\n"})]),
        Reply(tool_calls=[ToolCall("Edit", change)]),
        Reply(tool_calls=[ToolCall("Bash", {"command": "sh greet.sh | tee said.txt"})]),
        Reply(tool_calls=[ToolCall("Read", {"file_path": str(script)})]),
        Reply("It says good evening."),
    )
    provider = ScriptedProvider(model)
    with proxied(provider) as url:
        run = start(url).run("Write a script that greets, and run it.")
    assert (run.code, run.result["result"]) == (0, "It says good evening."), run.errors
    assert run.result["num_turns"] == 5
    assert script.read_text() == "echo good evening\n"
    assert (work / "said.txt").read_text() == "good evening\n"
    assert len(provider.completions) == 5
    results = results_of_calls(provider.completions[-1])
    assert len(results) == 4
    assert results[2] == "good evening"
    assert "echo good evening" in results[3]
    for n, body in enumerate(provider.completions):
        assert results_of_calls(body) == results[:n]


def test_two_tools_in_one_message_both_run(start: Start, work: Path) -> None:
    calls = [
        ToolCall("Bash", {"command": "sleep 0.3; echo slow"}),
        ToolCall("Bash", {"command": "echo quick > quick.txt; echo quick"}),
    ]
    provider = ScriptedProvider(by_turn(Reply("Both.", calls), Reply("Done.")))
    with proxied(provider) as url:
        run = start(url).run("Run both.")
    assert (run.code, run.result["result"]) == (0, "Done."), run.errors
    assert (work / "quick.txt").exists()
    first, second = provider.completions
    assert results_of_calls(first) == []
    assert results_of_calls(second) == ["slow", "quick"]


def test_picture_that_is_read_reaches_the_provider(start: Start, work: Path) -> None:
    picture = shutil.copy(FILES / "gradient.png", work)
    provider = ScriptedProvider(
        by_turn(Reply(tool_calls=[ToolCall("Read", {"file_path": str(picture)})]), Reply("A gradient."))
    )
    with proxied(provider) as url:
        run = start(url).run("What does gradient.png show?")
    assert (run.code, run.result["result"]) == (0, "A gradient."), run.errors
    results_of_calls(provider.completions[1])
    [image] = parts_of(provider.completions[1], "image_url")
    kind, _, data = image["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/png"
    assert struct.unpack(">II", base64.b64decode(data)[16:24]) == (16, 16)


def test_text_of_a_pdf_that_is_read_reaches_the_provider(start: Start, work: Path) -> None:
    document = shutil.copy(FILES / "harbour.pdf", work)
    provider = ScriptedProvider(
        by_turn(Reply(tool_calls=[ToolCall("Read", {"file_path": str(document)})]), Reply("It blinks."))
    )
    with proxied(provider) as url:
        run = start(url).run("What does harbour.pdf say?")
    assert (run.code, run.result["result"]) == (0, "It blinks."), run.errors
    body = provider.completions[1]
    assert len(results_of_calls(body)) == 1
    assert "The harbour light blinks twice." in str(body["messages"][-2:])


def test_subagent_works_with_the_small_model(start: Start) -> None:
    call = ToolCall("Agent", {**TASK, "model": "haiku", "run_in_background": False})
    main = by_turn(Reply(tool_calls=[call]), Reply("There are three."))
    helper = by_turn(Reply(tool_calls=[ToolCall("Bash", {"command": "echo three"})]), Reply("I count three."))
    provider = ScriptedProvider(lambda body: (helper if body["model"] == SMALL else main)(body))
    with proxied(provider, big_model=BIG, small_model=SMALL) as url:
        run = start(url).run("How many files are there? Ask a helper.")
    assert (run.code, run.result["result"]) == (0, "There are three."), run.errors
    mains = [body for body in provider.completions if body["model"] == BIG]
    helpers = [body for body in provider.completions if body["model"] == SMALL]
    assert (len(mains), len(helpers)) == (2, 2)
    assert results_of_calls(helpers[1]) == ["three"]
    [result] = results_of_calls(mains[1])
    assert "I count three." in str(result)


def test_subagent_in_the_background_reports_later(start: Start) -> None:
    def model(body: dict[str, Any]) -> Answer:
        messages = str(body["messages"])
        if TASK["prompt"] in str(body["messages"][1]):
            return Reply("I count three.")
        if "I count three." in messages:
            return Reply("There are three.")
        if "tool_calls" not in messages:
            return Reply(tool_calls=[ToolCall("Agent", TASK)])
        return Reply("I wait for the helper.")

    with proxied(ScriptedProvider(model)) as url:
        run = start(url).run("How many files are there? Ask a helper.")
    assert (run.code, run.result["result"]) == (0, "There are three."), run.errors


def test_thinking_goes_back_to_a_provider_that_wants_it(start: Start) -> None:
    """Claude Code keeps the thinking only of the very model that it asked for."""
    turn = Reply("", [ToolCall("Bash", {"command": "echo three"})], reasoning="First I count.")
    provider = ScriptedProvider(by_turn(turn, Reply("Three.", reasoning="Now I know.")), allow=["thinking"])
    with proxied(provider, provider="deepseek", big_model="deepseek-chat") as url:
        run = start(url).run("How many?")
    assert (run.code, run.result["result"]) == (0, "Three."), run.errors
    assert [block["thinking"] for block in run.blocks("assistant", "thinking")] == ["First I count.", "Now I know."]
    [assistant] = [message for message in provider.completions[1]["messages"] if message["role"] == "assistant"]
    assert assistant["reasoning_content"] == "First I count."


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"ANTHROPIC_API_KEY": "good"}, 0),
        ({"ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "good"}, 0),
        ({"ANTHROPIC_API_KEY": "bad"}, 1),
    ],
    ids=["key", "token", "wrong"],
)
def test_client_key_is_checked(start: Start, variables: dict[str, str], code: int) -> None:
    provider = ScriptedProvider()
    with proxied(provider, anthropic_api_key="good") as url:
        run = start(url, **variables).run("Say hello.")
    assert (run.code, run.result["is_error"]) == (code, bool(code)), run.errors
    assert len(provider.completions) == 1 - code
    assert code == 0 or "Invalid API key" in run.result["result"]


def test_tool_that_is_searched_for_can_be_called(start: Start) -> None:
    provider = ScriptedProvider(
        by_turn(
            Reply(tool_calls=[ToolCall("ToolSearch", {"query": "select:CronList"})]),
            Reply(tool_calls=[ToolCall("CronList")]),
            Reply("No jobs."),
        )
    )
    with proxied(provider) as url:
        run = start(url, ENABLE_TOOL_SEARCH="true").run("Which jobs are there?")
    assert (run.code, run.result["result"]) == (0, "No jobs."), run.errors
    offered = ["CronList" in [tool["function"]["name"] for tool in body["tools"]] for body in provider.completions]
    assert offered == [False, True, True]
    found, jobs = results_of_calls(provider.completions[2])
    assert "CronList" in found
    assert jobs == "No scheduled jobs."


def test_prompt_that_is_too_long_is_compacted(start: Start) -> None:
    message = (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130042 tokens. "
        "Please reduce the length of the messages."
    )
    too_long = Failure(400, error_body(message, param="messages", code="context_length_exceeded"))
    call = Reply(tool_calls=[ToolCall("Bash", {"command": "echo lighthouse"})])
    loop = by_turn(call, call, call, too_long)

    def model(body: dict[str, Any]) -> Answer:
        if "Respond with TEXT ONLY" in str(body["messages"][-2:]):
            return Reply("<summary>A tool told the word, lighthouse.</summary>")
        if "A tool told the word" in str(body["messages"]):
            return Reply("The word is lighthouse.")
        return loop(body)

    provider = ScriptedProvider(model)
    with proxied(provider) as url:
        run = start(url).run("What is the word?")
    assert (run.code, run.result["result"]) == (0, "The word is lighthouse."), run.errors
    assert "compact_boundary" in [event.get("subtype") for event in run.events]
    assert len(provider.completions) == 6  # four turns, the last of them refused; the summary; the last turn again
    for body in provider.completions:
        results_of_calls(body)


@pytest.mark.parametrize("answer", [Endless(), Silence()], ids=["in mid-stream", "before the first byte"])
def test_interrupt_closes_the_providers_request_within_a_second(start: Start, answer: Answer) -> None:
    provider = ScriptedProvider([answer])
    with proxied(provider) as url, start(url).started("Talk for ever.", "--include-partial-messages") as process:
        if isinstance(answer, Silence):
            anyio.run(lambda: eventually(lambda: provider.active, limit=60))
        else:
            assert process.stdout is not None
            assert any("content_block_delta" in line for line in process.stdout)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        anyio.run(lambda: eventually(lambda: provider.disconnects))
    assert provider.disconnects[0].time - interrupted < 1
    assert provider.active == 0


def chunk(**delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": BIG, "choices": [choice]}


TEXT = chunk(content="It is sev")
CALL = chunk(
    tool_calls=[{"index": 0, "id": "call_1", "type": "function", "function": {"name": "Bash", "arguments": '{"comm'}}]
)


@pytest.mark.parametrize("chunks", [[TEXT], [CALL]], ids=["text", "call"])
def test_stream_that_is_cut_is_asked_for_again(start: Start, chunks: list[dict[str, Any]]) -> None:
    provider = ScriptedProvider([Chunks(chunks, done=False), Reply("It is seven.")])
    with proxied(provider) as url:
        run = start(url).run("How many?")
    assert (run.code, run.result["result"]) == (0, "It is seven."), run.errors
    assert len(provider.completions) == 2


def test_connection_that_breaks_in_mid_stream_is_asked_again(start: Start) -> None:
    completion = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is seven."}, "finish_reason": "stop"}]
    }
    whole = answers_always(sized(json.dumps(completion).encode()))
    with faulty(resets_mid_event, whole) as upstream, proxy(upstream.url) as url:
        run = start(url).run("How many?")
    assert (run.code, run.result["result"]) == (0, "It is seven."), run.errors
    assert len(upstream.requests) == 2


def test_stream_that_is_cut_behind_a_whole_block_is_an_error(start: Start) -> None:
    """It would be too late to ask again, so the turn must not pass for a success."""
    provider = ScriptedProvider([Chunks([TEXT, CALL], done=False)])
    with proxied(provider) as url:
        run = start(url, CLAUDE_CODE_MAX_RETRIES="1").run("How many?")
    assert run.result["is_error"]
    assert run.code != 0


def test_stream_that_is_always_cut_is_an_error(start: Start) -> None:
    provider = ScriptedProvider(
        lambda body: Chunks([TEXT], done=False) if body.get("stream") else Failure(500, headers={"retry-after": "0"})
    )
    with proxied(provider, max_retries=0) as url:
        run = start(url, CLAUDE_CODE_MAX_RETRIES="1").run("How many?")
    assert run.result["is_error"]
    assert run.code != 0
    assert "The server had an error" in run.result["result"]


def test_context_is_counted_without_the_provider(start: Start) -> None:
    provider = ScriptedProvider()
    with proxied(provider) as url:
        run = start(url).run("/context")
    assert (run.code, run.result["is_error"]) == (0, False), run.errors
    assert "System prompt" in run.result["result"]
    assert provider.requests == []
