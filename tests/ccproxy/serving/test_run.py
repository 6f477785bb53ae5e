"""Each way to run the proxy, as a process with a real provider behind it: answers, warns, ends well.

How answers under way end with the process is in tests/reliability/test_life.py.
"""

import os
import socket
from pathlib import Path

import httpx
import pytest

from support.providers.scripted import ScriptedProvider
from support.serving.process import WAYS, started
from support.serving.servers import serve

KEYS = {"OPENAI_API_KEY": "provider-key", "ANTHROPIC_API_KEY": "client-key"}


@pytest.mark.parametrize("way", WAYS)
def test_answers_and_exits_0_when_run(way: str, tmp_path: Path) -> None:
    provider = ScriptedProvider(api_key="provider-key")
    with serve(provider) as server, started(way, tmp_path, server.url, host="0.0.0.0", **KEYS) as proxy:
        answer = proxy.post()
        assert answer.status_code == 200, answer.text
        assert answer.json()["content"] == [{"type": "text", "text": "Hello from the provider."}]
        assert proxy.post(key="wrong").status_code == 401
        code = proxy.terminate()
    assert code == 0
    output = proxy.output.read_text()
    assert "Traceback" not in output
    assert "warning" not in output.lower()


@pytest.mark.parametrize("way", WAYS)
def test_one_warning_when_everybody_can_spend_the_key(way: str, tmp_path: Path) -> None:
    with (
        serve(ScriptedProvider()) as server,
        started(way, tmp_path, server.url, host="0.0.0.0", OPENAI_API_KEY="k") as proxy,
    ):
        proxy.terminate()
    output = proxy.output.read_text()
    assert output.count("without ANTHROPIC_API_KEY: anyone who can reach the port can spend") == 1
    assert output.lower().count("warning") == 1


def test_two_workers_when_web_concurrency_is_two(tmp_path: Path) -> None:
    with serve(ScriptedProvider()) as server, started("gunicorn", tmp_path, server.url, LOG_LEVEL="INFO", **KEYS) as it:
        it.terminate()
    output = it.output.read_text()
    assert output.count("Booting worker") == 2
    assert "Using worker: ccproxy.worker.Worker" in output


def test_says_where_it_listens_when_started(tmp_path: Path) -> None:
    with serve(ScriptedProvider()) as provider, started("cc-boost", tmp_path, provider.url, **KEYS) as proxy:
        health = httpx.get(f"{proxy.url}/health")
        proxy.terminate()
    url = proxy.url.replace("127.0.0.1", "localhost")
    assert proxy.output.read_text() == (
        f"cc-boost: {url} -> {provider.url}/v1. Use it: ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=your-key claude\n"
    )
    assert "server" not in health.headers


def test_settings_of_the_file_when_run_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-file\nSMALL_MODEL=tiny\n")
    provider = ScriptedProvider(api_key="from-file")
    with serve(provider) as server, started("cc-boost", tmp_path, server.url) as proxy:
        assert proxy.post().status_code == 200
        proxy.terminate()
    assert provider.completions[0]["model"] == "tiny"


@pytest.mark.parametrize("way", ["cc-boost", "python asgi.py", "gunicorn"])
@pytest.mark.parametrize(
    "shell",
    ["2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"],
    ids=["no stderr", "none", "full", "both full"],
)
def test_serves_without_standard_streams(way: str, shell: str, tmp_path: Path) -> None:
    with serve(ScriptedProvider()) as server, started(way, tmp_path, server.url, shell=shell, **KEYS) as proxy:
        assert [proxy.post().status_code for _ in range(3)] == [200] * 3
        for process in (proxy.process.pid, *children(proxy.process.pid)):
            standard = {os.readlink(f"/proc/{process}/fd/{number}") for number in range(3)}
            assert not any(name.startswith("socket:") for name in standard)
        assert proxy.terminate() == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("way", ["cc-boost", "gunicorn"])
def test_address_in_brackets_is_listened_at_and_told_as_a_url(way: str, tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with serve(ScriptedProvider()) as server, started(way, tmp_path, server.url, host="[::1]", **KEYS) as proxy:
        assert proxy.post().status_code == 200
        proxy.terminate()
    assert "[[" not in proxy.output.read_text()
