"""``cc-boost claude`` with Claude Code itself, and a provider that plays the model."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from support.clients.claude_code import OFFLINE
from support.providers.anthropic_server import AnthropicServer
from support.providers.model_lists import listing
from support.providers.scripted import Answer, Endless, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.process import started
from support.serving.servers import serve

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
        return subprocess.Popen(
            [COMMAND, "claude", *arguments],
            cwd=tmp_path / "work",
            env=environment_of(tmp_path, base_url, **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return launch


def environment_of(directory: Path, base_url: str, **variables: str) -> dict[str, str]:
    return {
        "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "HOME": str(directory / "home"),
        "TMPDIR": str(directory / "tmp"),
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


@pytest.mark.seen("own access", "`cc-boost claude` leaves one's own key in place, and sends the proxy's beside it")
def test_own_key_reaches_anthropic_and_nobody_else(launch: Launch) -> None:
    own = "sk-ant-api03-the-clients-own"
    mine = AnthropicServer(lambda body: [{"type": "text", "text": "By my own access."}], strict=True, credentials=[own])
    provider = ScriptedProvider(by_question, api_key=KEY)
    with serve(provider, lifespan="off") as server, serve(mine, lifespan="off") as anthropic:
        process = launch(
            server.url, "-p", "Say hello.", "--model", "opus", ANTHROPIC_API_KEY=own, BIG_MODEL="mine:claude-opus-4-8",
            UPSTREAM_MINE_BASE_URL=f"{anthropic.url}/v1", UPSTREAM_MINE_API_KEY="client", UPSTREAM_MINE_API="anthropic",
        )  # fmt: skip
        output, errors, code = finish(process)
    assert (output, code) == ("By my own access.\n", 0), errors
    assert mine.refused == []
    assert {headers["x-api-key"] for headers in mine.headers} == {own}
    assert not [headers for headers in mine.headers if "x-cc-boost-key" in headers]
    assert own not in str(provider.requests)


def test_model_of_the_command_line_and_exit_code_when_the_provider_refuses(launch: Launch) -> None:
    provider = ScriptedProvider(lambda body: Failure(400, error_body("out of order")))
    with serve(provider, lifespan="off") as server:
        output, errors, code = finish(launch(server.url, "-p", "Say hello.", "--model", "sonnet"))
    assert code == 1
    assert "out of order" in output + errors
    assert {body["model"] for body in provider.completions} == {"middle-model"}


WINDOWS = [(32_768, "32.8k"), (131_072, "131.1k"), (200_000, "200k"), (262_144, "262.1k"), (1_048_576, "1m")]


@pytest.mark.seen("context size", "`/context` shows the true size of models with 32k, 128k, 200k, 262k and 1M")
@pytest.mark.parametrize(("window", "shown"), WINDOWS)
def test_context_command_shows_the_true_size(launch: Launch, window: int, shown: str) -> None:
    entry = {"id": "big-model", "context_length": window}
    with serve(listing(ScriptedProvider(), entry), lifespan="off") as server:
        output, errors, code = finish(launch(server.url, "-p", "/context", MIDDLE_MODEL="big-model"))
    assert code == 0, errors
    assert re.search(rf"Tokens:\*\* \S+ / {re.escape(shown)} ", output), output


@pytest.mark.seen(
    "context size",
    "`/context` shows the true size of a client that was started by hand, with what `cc-boost env` prints",
)
def test_context_command_shows_the_true_size_when_started_by_hand_with_the_printed_variables(
    claude_program: Path, launch: Launch, tmp_path: Path
) -> None:
    entry = {"id": "big-model", "context_length": 131_072}
    with serve(listing(ScriptedProvider(), entry), lifespan="off") as server:
        environment = environment_of(tmp_path, server.url, MIDDLE_MODEL="big-model", NO_PROXY="127.0.0.1,localhost")
        script = f'eval "$({COMMAND} env)" && exec claude -p /context'
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=tmp_path / "work",
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    assert "/ 131.1k " in done.stdout, done.stdout + done.stderr


@pytest.mark.seen("context size", "a conversation is compacted before a provider with 32k, 64k or 128k overflows")
@pytest.mark.parametrize("window", [32_768, 65_536, 131_072])
def test_conversation_is_compacted_before_the_window_is_full(launch: Launch, window: int) -> None:
    """The provider counts a token for three bytes, and refuses what is beyond its window."""
    overflows: list[int] = []
    most: list[int] = []

    def model(body: dict[str, Any]) -> Answer:
        tokens = len(json.dumps(body)) // 3
        most.append(tokens)
        usage = {"prompt_tokens": tokens, "completion_tokens": 5, "total_tokens": tokens + 5}
        if tokens > window:
            overflows.append(tokens)
            return Failure(400, error_body(f"This model's maximum context length is {window} tokens."))
        if "TEXT ONLY" in str(body["messages"][-2:]):
            return Reply("A summary.", usage=usage)
        if "A summary." in str(body["messages"]):
            return Reply("Done.", usage=usage)
        size = window // 5  # bytes: each turn adds a fifteenth of the window
        return Reply(tool_calls=[ToolCall("Bash", {"command": f"head -c {size} /dev/zero | tr '\\0' x"})], usage=usage)

    entry = {"id": "big-model", "context_length": window}
    with serve(listing(ScriptedProvider(model), entry), lifespan="off") as server:
        known = {"MIDDLE_MODEL": "big-model", "BASH_MAX_OUTPUT_LENGTH": "150000"}
        output, errors, code = finish(launch(server.url, "-p", "Go.", "--allowedTools", "Bash", **known))
    assert (output, code) == ("Done.\n", 0), errors
    assert overflows == []
    assert max(most) < window


@pytest.mark.seen("settings", "variables and the model of another gateway in settings.json are named and overridden")
def test_settings_of_another_gateway_are_overridden(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "home/.claude").mkdir()
    left = {"model": "glm-4.6", "env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": "sk-left"}}
    (tmp_path / "home/.claude/settings.json").write_text(json.dumps(left))
    provider = ScriptedProvider([Reply("Hello.")], api_key=KEY)
    with serve(provider, lifespan="off") as server:
        output, errors, code = finish(launch(server.url, "-p", "Say hello."))
    assert (output, code) == ("Hello.\n", 0), errors
    assert "model glm-4.6 points at another gateway" in errors
    assert provider.completions[0]["model"] == "big-model"


@pytest.mark.seen(
    "settings", "after `cc-boost setup` a plain `claude` goes through the proxy; `--undo` restores the file"
)
def test_every_claude_goes_through_the_proxy_after_setup(claude_program: Path, launch: Launch, tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hello."), api_key=KEY)
    settings = tmp_path / "home/.claude/settings.json"
    settings.parent.mkdir()
    settings.write_text('{"theme": "dark",   "model": "glm-4.6"}')
    before = settings.read_bytes()
    with (
        serve(listing(provider, {"id": "big-model", "context_length": 131_072}), lifespan="off") as server,
        started("cc-boost", tmp_path / "tmp", server.url, OPENAI_API_KEY=KEY, BIG_MODEL="big-model") as proxy,
    ):
        port = proxy.url.rpartition(":")[2]
        known = environment_of(
            tmp_path, server.url, PORT=port, MIDDLE_MODEL="big-model", NO_PROXY="127.0.0.1,localhost"
        )
        run: dict[str, Any] = {"cwd": tmp_path / "work", "capture_output": True, "text": True, "timeout": LIMIT}
        subprocess.run([COMMAND, "setup", "--yes"], env=known, check=True, **run)
        bare = {
            name: value
            for name, value in known.items()
            if not name.startswith(("ANTHROPIC_", "CLAUDE_CODE_", "OPENAI"))
        }
        done = subprocess.run(["claude", "-p", "Say hello."], env=bare, check=False, **run)
        context = subprocess.run(["claude", "-p", "/context"], env=bare, check=False, **run)
        subprocess.run([COMMAND, "setup", "--undo", "--yes"], env=known, check=True, **run)
    assert done.stdout == "Hello.\n", done.stderr
    assert provider.completions[0]["model"] == "big-model"
    assert "/ 131.1k " in context.stdout
    assert settings.read_bytes() == before


@pytest.mark.seen("background sessions", "`cc-boost claude --url ... --bg` goes on after the command has ended")
def test_background_session_lives_on_a_proxy_that_runs_by_itself(
    claude_program: Path, launch: Launch, tmp_path: Path
) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hello."), api_key=KEY)
    trusted = {str(tmp_path / "work"): {"hasTrustDialogAccepted": True}}
    (tmp_path / "home/.claude.json").write_text(json.dumps({"hasCompletedOnboarding": True, "projects": trusted}))
    with (
        serve(provider, lifespan="off") as server,
        started("cc-boost", tmp_path / "tmp", server.url, OPENAI_API_KEY=KEY, BIG_MODEL="big-model") as proxy,
    ):
        output, errors, code = finish(launch(server.url, "--url", proxy.url, "--bg", "Say hello in the background."))
        assert code == 0, errors
        session = re.search(r"claude stop (\w+)", output)
        try:
            assert session, output
            end = time.monotonic() + LIMIT
            while not any("in the background" in str(body) for body in provider.completions):
                assert time.monotonic() < end, output + errors
                time.sleep(0.1)
        finally:
            known = environment_of(tmp_path, server.url)
            for command in (["stop", session[1]] if session else [], ["daemon", "stop", "--any"]):
                if command:
                    subprocess.run(["claude", *command], env=known, cwd=tmp_path, capture_output=True, timeout=LIMIT)


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
