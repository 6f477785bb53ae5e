"""``cc-boost claude`` with Claude Code itself, and a provider that plays the model."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from support.claude_code import OFFLINE
from support.provider import Answer, Endless, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.servers import serve

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(300)]

COMMAND = str(Path(sys.executable).parent / "cc-boost")
KEY = "provider-key"
LIMIT = 90
TASK: dict[str, Any] = {"description": "Count files", "prompt": "Count the files here.", "run_in_background": False}

Launch: TypeAlias = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(claude_program: Path, tmp_path: Path) -> Launch:
    """Start ``cc-boost claude`` in an empty project, with a fresh home."""
    for name in ("bin", "home", "work", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "claude").symlink_to(claude_program)

    def launch(base_url: str, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path / "tmp"),
            "SHELL": "/bin/bash",
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{base_url}/v1",
            "BIG_MODEL": "big-model",
            "MIDDLE_MODEL": "middle-model",
            "SMALL_MODEL": "small-model",
            **OFFLINE,  # without NO_PROXY: the proxy on this machine must be reached all the same
            # Leftovers of other gateways, which must not lead it astray.
            "ANTHROPIC_API_KEY": "sk-ant-left-over",
            "ANTHROPIC_MODEL": "glm-4.6",
            "ANTHROPIC_SMALL_FAST_MODEL": "glm-4.5-air",
            "CLAUDE_CODE_SUBAGENT_MODEL": "glm-4.6",
            "CLAUDE_CODE_USE_BEDROCK": "1",
            **variables,
        }
        return subprocess.Popen(
            [COMMAND, "claude", *arguments],
            cwd=tmp_path / "work",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return launch


def finish(process: "subprocess.Popen[str]") -> tuple[str, str, int]:
    try:
        output, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return output, errors, process.returncode


def by_question(body: dict[str, Any]) -> Answer:
    """A model that hands the work to two subagents and reports what they say."""
    if TASK["prompt"] in str(body["messages"][1]):
        return Reply("I count three.")
    if any(message["role"] == "tool" for message in body["messages"]):
        return Reply("There are three.")
    explorer = {**TASK, "subagent_type": "Explore", "model": "haiku"}
    return Reply(
        tool_calls=[ToolCall("Agent", explorer), ToolCall("Agent", {**TASK, "subagent_type": "general-purpose"})]
    )


def test_every_request_goes_to_the_mapped_models_without_the_key_of_the_run(launch: Launch) -> None:
    provider = ScriptedProvider(by_question, api_key=KEY)
    with serve(provider, lifespan="off") as server:
        output, errors, code = finish(launch(server.url, "-p", "How many files?", "--allowedTools", "Agent"))
    assert (output, code) == ("There are three.\n", 0), errors
    assert errors == ""
    models = [body["model"] for body in provider.completions]
    assert set(models) == {"big-model", "small-model"}
    assert len(models) == 4
    for request in provider.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert "x-api-key" not in request.headers
        assert b"sk-ant-left-over" not in request.raw


def test_model_of_the_command_line_and_exit_code_when_the_provider_refuses(launch: Launch) -> None:
    provider = ScriptedProvider(lambda body: Failure(400, error_body("out of order")))
    with serve(provider, lifespan="off") as server:
        output, errors, code = finish(launch(server.url, "-p", "Say hello.", "--model", "sonnet"))
    assert code == 1
    assert "out of order" in output + errors
    assert {body["model"] for body in provider.completions} == {"middle-model"}


def test_conversation_is_compacted_before_a_small_window_is_full(launch: Launch) -> None:
    usage = {"prompt_tokens": 25_000, "completion_tokens": 5, "total_tokens": 25_005}

    def model(body: dict[str, Any]) -> Answer:
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        if "TEXT ONLY" in str(body["messages"][-2:]):
            return Reply("A summary.")
        if turn < 4 and "A summary." not in str(body["messages"]):
            return Reply(tool_calls=[ToolCall("Bash", {"command": f"echo {turn}"})], usage=usage)
        return Reply("Done.")

    entry: dict[str, Any] = {"id": "big-model", "object": "model", "meta": {"n_ctx": 32_768}}
    provider = ScriptedProvider(model)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].endswith("/models"):
            return await provider(scope, receive, send)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"data": [entry]}).encode()})

    with serve(app, lifespan="off") as server:
        output, errors, code = finish(launch(server.url, "-p", "Go.", "--allowedTools", "Bash"))
    assert (output, code) == ("Done.\n", 0), errors
    assert any("A summary." in str(body["messages"]) for body in provider.completions)


def test_sigterm_ends_claude_code_and_its_request(launch: Launch) -> None:
    provider = ScriptedProvider(lambda body: Endless())
    with serve(provider, lifespan="off") as server:
        process = launch(server.url, "-p", "Say hello.")
        end = time.monotonic() + LIMIT
        while not (provider.completions and provider.active) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors, code = finish(process)
        assert code == 128 + signal.SIGTERM, errors
        assert provider.disconnects
        assert not provider.active


@pytest.mark.parametrize("variables", [{}, {"SAFEGUARDS_MODEL": "judge"}], ids=["own check", "verdicts"])
def test_auto_mode_needs_no_setting(launch: Launch, tmp_path: Path, variables: dict[str, str]) -> None:
    calls = [
        ToolCall("Bash", {"command": f'python3 -c \'open("{name}", "w")\''}) for name in ("harmless", "harmful.txt")
    ]

    def model(body: dict[str, Any]) -> Answer:
        if "You are a security monitor" in str(body["messages"][0]["content"]):
            return Reply(f"<severity>{90 if 'harmful.txt' in str(body['messages'][-1]) else 9}</severity>")
        answered = any(message["role"] == "tool" for message in body["messages"])
        return Reply("Done.") if answered else Reply("I run both.", calls)

    with serve(provider := ScriptedProvider(model), lifespan="off") as server:
        process = launch(server.url, "-p", "Run both.", "--permission-mode", "auto", **variables)
        output, errors, code = finish(process)
    assert (code, output.strip()) == (0, "Done."), errors
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["harmless"]
    judges = {"middle-model"} if not variables else {"judge"}
    assert {body["model"] for body in provider.completions} == {"big-model"} | judges
