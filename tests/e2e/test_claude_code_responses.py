"""Claude Code itself, with a provider that is asked by Responses and plays a model that reasons."""

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
from support.providers.scripted import Answer, Chunks, Endless, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.proxied import proxied
from support.serving.servers import eventually

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

FILES = DATA / "files"
Start: TypeAlias = Callable[..., ClaudeCode]
MODEL = "gpt-5.6"
RESPONSES: dict[str, Any] = {"provider": "openai", "big_model": MODEL}


def by_turn(*answers: Answer) -> Callable[[dict[str, Any]], Answer]:
    """A model that gives its n-th answer in the n-th turn, and the same one again if it is asked again."""

    def answer(body: dict[str, Any]) -> Answer:
        items = body["input"]
        ends = [n for n, item in enumerate(items) if item["type"] == "function_call_output"]
        turn = sum(items[n - 1]["type"] != "function_call_output" for n in ends)
        return answers[turn] if turn < len(answers) else Failure(400, "the test has no answer for this turn")

    return answer


def outputs(body: dict[str, Any]) -> list[Any]:
    """The results in a request, which stand behind their calls."""
    return [item["output"] for item in body["input"] if item["type"] == "function_call_output"]


def returned(body: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """The reasoning items in a request, each with the type of the item behind it."""
    items = body["input"]
    return [
        (item, "message" if items[n + 1]["type"] == "message" else items[n + 1]["type"])
        for n, item in enumerate(items)
        if item["type"] == "reasoning"
    ]


def check_reasoning(provider: ScriptedProvider) -> None:
    """Every request brings back all reasoning of the turns before, in order and byte for byte, without ids."""
    for n, body in enumerate(provider.responses):
        expected = [{name: value for name, value in item.items() if name != "id"} for item in provider.issued[:n]]
        assert [item for item, _ in returned(body)] == expected


def test_plain_answer_with_its_usage(start: Start) -> None:
    usage = {
        "input_tokens": 5000,
        "input_tokens_details": {"cached_tokens": 4000, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 5007,
    }
    provider = ScriptedProvider([Reply("Hello, traveller.", usage=usage)])
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("Say hello.")
    assert (run.code, run.result["result"]) == (0, "Hello, traveller."), run.errors
    shown = run.result["usage"]
    assert (shown["input_tokens"], shown["cache_read_input_tokens"], shown["output_tokens"]) == (1000, 4000, 7)
    [body] = provider.responses
    assert (body["model"], body["stream"], body["store"]) == (MODEL, True, False)
    assert "x-anthropic-billing-header" not in str(body)
    assert body["reasoning"]
    assert not provider.completions


def test_reasoning_returns_through_a_loop_that_writes_edits_runs_and_reads_a_file(start: Start, work: Path) -> None:
    script = work / "greet.sh"
    change = {"file_path": str(script), "old_string": "morning", "new_string": "evening"}
    write = ToolCall("Write", {"file_path": str(script), "content": "echo good morning\n"})
    model = by_turn(
        Reply("I write.", [write], reasoning="A file first."),
        Reply(tool_calls=[ToolCall("Edit", change)], reasoning="It is evening."),
        Reply(tool_calls=[ToolCall("Bash", {"command": "sh greet.sh | tee said.txt"})], reasoning="Now run it."),
        Reply(tool_calls=[ToolCall("Read", {"file_path": str(script)})], reasoning="What stands there?"),
        Reply("It says good evening.", reasoning="Done."),
    )
    provider = ScriptedProvider(model)
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("Write a script that greets, and run it.")
    assert (run.code, run.result["result"]) == (0, "It says good evening."), run.errors
    assert run.result["num_turns"] == 5
    assert script.read_text() == "echo good evening\n"
    assert (work / "said.txt").read_text() == "good evening\n"
    assert len(provider.responses) == 5
    check_reasoning(provider)
    assert [kind for _, kind in returned(provider.responses[-1])] == ["message", *["function_call"] * 3]
    assert outputs(provider.responses[-1])[2] == "good evening"
    for earlier, later in zip(provider.responses, provider.responses[1:], strict=False):  # the prefix stays the same
        assert later["instructions"] == earlier["instructions"]
        assert later["tools"] == earlier["tools"]


def test_two_tools_in_one_message_both_run(start: Start, work: Path) -> None:
    calls = [
        ToolCall("Bash", {"command": "sleep 0.3; echo slow"}),
        ToolCall("Bash", {"command": "echo quick > quick.txt; echo quick"}),
    ]
    provider = ScriptedProvider(by_turn(Reply("Both.", calls, reasoning="Two at once."), Reply("Done.")))
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("Run both.")
    assert (run.code, run.result["result"]) == (0, "Done."), run.errors
    assert (work / "quick.txt").exists()
    assert outputs(provider.responses[1]) == ["slow", "quick"]
    check_reasoning(provider)


def test_picture_that_is_read_stays_in_its_result(start: Start, work: Path) -> None:
    picture = shutil.copy(FILES / "gradient.png", work)
    provider = ScriptedProvider(
        by_turn(Reply(tool_calls=[ToolCall("Read", {"file_path": str(picture)})]), Reply("A gradient."))
    )
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("What does gradient.png show?")
    assert (run.code, run.result["result"]) == (0, "A gradient."), run.errors
    [output] = outputs(provider.responses[1])
    [image] = [part for part in output if part["type"] == "input_image"]
    kind, _, data = image["image_url"].partition(";base64,")
    assert kind == "data:image/png"
    assert struct.unpack(">II", base64.b64decode(data)[16:24]) == (16, 16)


def test_pdf_that_is_read_reaches_the_provider_as_a_file(start: Start, work: Path) -> None:
    document = shutil.copy(FILES / "harbour.pdf", work)
    provider = ScriptedProvider(
        by_turn(Reply(tool_calls=[ToolCall("Read", {"file_path": str(document)})]), Reply("It blinks."))
    )
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("What does harbour.pdf say?")
    assert (run.code, run.result["result"]) == (0, "It blinks."), run.errors
    files = base64.b64encode((FILES / "harbour.pdf").read_bytes()).decode()
    assert files in json.dumps(provider.responses[1]["input"])


def test_prompt_that_is_too_long_is_compacted(start: Start) -> None:
    message = "Your input exceeds the context window of this model. Please adjust your input and try again."
    too_long = Failure(400, error_body(message, param="input", code="context_length_exceeded"))
    call = Reply(tool_calls=[ToolCall("Bash", {"command": "echo lighthouse"})], reasoning="Once more.")
    loop = by_turn(call, call, call, too_long)

    def model(body: dict[str, Any]) -> Answer:
        if "Respond with TEXT ONLY" in str(body["input"][-2:]):
            return Reply("<summary>A tool told the word, lighthouse.</summary>")
        if "A tool told the word" in str(body["input"]):
            return Reply("The word is lighthouse.")
        return loop(body)

    provider = ScriptedProvider(model)
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("What is the word?")
    assert (run.code, run.result["result"]) == (0, "The word is lighthouse."), run.errors
    assert "compact_boundary" in [event.get("subtype") for event in run.events]


def test_interrupt_closes_the_providers_request_within_a_second(start: Start) -> None:
    provider = ScriptedProvider([Endless()])
    with (
        proxied(provider, **RESPONSES) as url,
        start(url).started("Talk for ever.", "--include-partial-messages") as process,
    ):
        assert process.stdout is not None
        assert any("content_block_delta" in line for line in process.stdout)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        anyio.run(lambda: eventually(lambda: provider.disconnects))
    assert provider.disconnects[0].time - interrupted < 1
    assert provider.active == 0


DELTA = {
    "type": "response.output_text.delta", "output_index": 0, "item_id": "msg_1", "content_index": 0, "delta": "It is s",
    "logprobs": [], "sequence_number": 3,
}  # fmt: skip


def test_stream_that_is_cut_is_asked_for_again(start: Start) -> None:
    provider = ScriptedProvider([Chunks([DELTA]), Reply("It is seven.")])
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("How many?")
    assert (run.code, run.result["result"]) == (0, "It is seven."), run.errors
    assert len(provider.responses) == 2


def test_provider_without_responses_is_asked_by_chat_completions(start: Start) -> None:
    provider = ScriptedProvider(lambda body: Reply("By chat."), has_responses=False)
    with proxied(provider, **RESPONSES) as url:
        run = start(url).run("Say hello.")
    assert (run.code, run.result["result"]) == (0, "By chat."), run.errors
    assert len(provider.completions) == 1
