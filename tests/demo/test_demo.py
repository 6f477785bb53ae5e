"""``cc-boost demo``: it shows everything, believes nothing, and needs nothing."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import anthropic
import pytest

from ccproxy import create_app
from ccproxy.demo.command import CLIENT_KEY, demo_settings
from ccproxy.demo.conversation import converse
from ccproxy.demo.provider import demo_provider
from support.serving.process import free_port
from support.serving.servers import serve

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "demo"]

# What would break the demo if it were looked at.
HOSTILE = {
    "OPENAI_BASE_URL": "nonsense",
    "PORT": "99999",
    "ANTHROPIC_API_KEY": "real",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}


def environment(directory: Path) -> dict[str, str]:
    (directory / ".env").write_text("OPENAI_API_KEY=real\nMAX_RETRIES=-1\n")
    return {"PATH": "/usr/bin:/bin", "HOME": str(directory), **HOSTILE}


def test_everything_arrives_when_run(tmp_path: Path) -> None:
    result = subprocess.run(
        COMMAND, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")
    number = re.search(r"tool +The number is (\d{6})\.", result.stdout)
    assert number is not None
    assert result.stdout.count(number.group(1)) == 2  # by the tool, and in the model's own answer
    assert 'call     read_file {"path": "note.txt"' in result.stdout
    assert "(tool_use, " in result.stdout
    assert "(end_turn, " in result.stdout
    assert result.stdout.endswith(
        "Everything arrived: streamed text, a tool call and its result, stop reasons, usage.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_everything_arrives_by_responses(tmp_path: Path) -> None:
    command = [*COMMAND, "--api", "responses", "--verbose"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "its result, the provider's own reasoning, stop reasons, usage.\n" in result.stdout
    [_, second] = (
        json.loads(part) for part in re.findall(r"as the provider got it\n(\{.*?\n\})\n", result.stdout, re.DOTALL)
    )
    kinds = [item["type"] for item in second["input"]]
    assert kinds == ["message", "reasoning", "message", "function_call", "function_call_output"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_everything_arrives_from_a_model_without_tools(tmp_path: Path, api: str) -> None:
    command = [*COMMAND, "--prompted", "--api", api, "--verbose"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "a tool call and its result, stop reasons, usage.\n" in result.stdout
    requests = re.findall(r"as the provider got it\n(\{.*?\n\})\n", result.stdout, re.DOTALL)
    assert len(requests) == 2
    assert not any("tools" in json.loads(request) for request in requests)
    assert '<tool_response name=\\"read_file\\">' in requests[1]


def test_converted_requests_when_verbose(tmp_path: Path) -> None:
    result = subprocess.run(
        [*COMMAND, "--verbose"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0
    first, second = (
        json.loads(part) for part in re.findall(r"as the provider got it\n(\{.*?\n\})\n", result.stdout, re.DOTALL)
    )
    assert first["tools"][0]["function"]["name"] == "read_file"
    assert first["stream"] is second["stream"] is True
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]


def test_proxy_stays_up_when_served(tmp_path: Path) -> None:
    port = free_port()
    command = [*COMMAND, "--serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"ANTHROPIC_BASE_URL=http://localhost:{port} ANTHROPIC_AUTH_TOKEN=demo claude\n"
        with anthropic.Anthropic(base_url=f"http://localhost:{port}", api_key="demo") as client:
            answer = client.messages.create(
                model="claude-opus-4-8", max_tokens=999, messages=[{"role": "user", "content": "Hello"}]
            )
            counted = client.messages.count_tokens(
                model="claude-opus-4-8", messages=[{"role": "user", "content": "Hello"}]
            )
        assert answer.content[0].type == "text"
        assert "demo provider" in answer.content[0].text
        assert counted.input_tokens > 0
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_one_line_when_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*COMMAND, "--serve", "--port", port]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60
        )
    assert result.stderr == f"Can't listen on HOST 127.0.0.1, PORT {port}: Address already in use.\n"
    assert (result.returncode, result.stdout) == (1, "")


Change = Callable[[bytes], bytes]


class Spoiled:
    """The proxy with every chunk of its answers changed on the way out."""

    def __init__(self, app: Any, change: Change) -> None:
        self.app = app
        self.change = change

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def spoil(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": self.change(message.get("body", b""))}
            await send(message)

        await self.app(scope, receive, spoil)


def _drop(name: bytes) -> Change:
    return lambda body: re.sub(rb"event: " + name + rb"\n[^\n]*\n\n", b"", body)


def _swap(old: bytes, new: bytes) -> Change:
    return lambda body: body.replace(old, new)


SPOILED: list[tuple[Change, str]] = [
    (_swap(b"", b""), ""),
    (lambda body: b"", "message_stop"),
    (_drop(b"message_stop"), "message_stop"),
    (_swap(b'"stop_reason":"tool_use"', b'"stop_reason":null'), "stop reason tool_use"),
    (_swap(b'"stop_reason":"end_turn"', b'"stop_reason":null'), "stop reason end_turn"),
    (_swap(b"note", b"vote"), "read_file of note.txt"),
    (_swap(b'"text_delta","text":"', b'"text_delta","text":"","x":"'), "the text before the tool call"),
    (lambda body: re.sub(rb'"output_tokens":\d+', b'"output_tokens":0', body), "usage.output_tokens"),
    (lambda body: re.sub(rb'"input_tokens":\d+', b'"input_tokens":7', body), "more input tokens"),
    (lambda body: re.sub(rb"msg_\w+", b"msg_same", body), "a message id of its own"),
    (lambda body: re.sub(rb"\b\d{6}\b", b"unknown", body), "the number from the file"),
    (_swap(b"claude-sonnet-5", b"demo-large"), "the model's name"),
    (
        _swap(b"event: message_delta\ndata: ", b'data: {"type":"error","error":{"message":"oh no"}}\n\ndata: '),
        "broke off: oh no",
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("change", "missing"), SPOILED)
async def test_says_what_is_missing_when_an_answer_is_spoiled(change: Change, missing: str) -> None:
    written: list[str] = []
    with serve(demo_provider()) as provider:
        app = create_app(demo_settings(provider.url))
        with serve(Spoiled(app, change)) as proxy:
            found = await converse(proxy.url, CLIENT_KEY, written.append)
    assert missing in "; ".join(found)
    assert bool(found) is bool(missing)


@pytest.mark.anyio
async def test_says_why_when_the_proxy_refuses() -> None:
    with serve(demo_provider()) as provider, serve(create_app(demo_settings(provider.url))) as proxy:
        (found,) = await converse(proxy.url, "wrong", lambda text: None)
    assert found.startswith("the conversation broke off: HTTP 401: ")
