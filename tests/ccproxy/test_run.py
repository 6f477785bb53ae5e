"""Each way to run the proxy, as a process with a real provider behind it: answers, warns, keeps secrets, ends well."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.provider import Failure, Reply, ScriptedProvider
from support.servers import serve

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECRETS = {
    "OPENAI_API_KEY": "planted-provider-key",
    "ANTHROPIC_API_KEY": "planted-client-key",
    "CUSTOM_HEADER_X_TENANT": "planted-tenant",
}
LIMIT = 30.0

UVICORN = [str(BIN / "uvicorn"), "--app-dir", str(ROOT), "asgi:app", "--host", "{host}", "--port", "{port}"]
GUNICORN = [str(BIN / "gunicorn"), "-c", str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT), "asgi:app"]
WAYS = {
    "cc-boost": [str(BIN / "cc-boost")],
    "python -m ccproxy": [sys.executable, "-m", "ccproxy", "serve"],
    "python asgi.py": [sys.executable, str(ROOT / "asgi.py")],
    "uvicorn": UVICORN,
    "gunicorn": GUNICORN,
}


@dataclass
class Running:
    """The proxy's process; ``output`` is all it has written, complete once it has ended."""

    process: subprocess.Popen[str]
    url: str
    output: Path

    def post(self, *, stream: bool = False, key: str = SECRETS["ANTHROPIC_API_KEY"]) -> httpx.Response:
        body = {
            "model": "claude-haiku-4-5",
            "max_tokens": 99,
            "messages": [{"role": "user", "content": "planted-prompt"}],
        }
        return httpx.post(f"{self.url}/v1/messages", json={**body, "stream": stream}, headers={"x-api-key": key})

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)


@contextmanager
def started(
    way: str, directory: Path, provider_url: str, *, host: str = "127.0.0.1", **variables: str
) -> Iterator[Running]:
    """Run the proxy on a free port until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "PYTHONUNBUFFERED": "1",
        "OPENAI_BASE_URL": f"{provider_url}/v1",
        "HOST": host,
        "PORT": port,
        "WEB_CONCURRENCY": "2" if way == "gunicorn" else "1",
        **variables,
    }
    command = [part.format(host=host, port=port) for part in WAYS[way]]
    output = directory / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=file, stderr=file, text=True)
    try:
        running = Running(process, f"http://127.0.0.1:{port}", output)
        _wait_for_health(running)
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(LIMIT)


def _wait_for_health(running: Running) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and running.process.poll() is None:
        try:
            if httpx.get(f"{running.url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError(f"the proxy did not start:\n{running.output.read_text()}")


@pytest.mark.parametrize("way", WAYS)
def test_answers_and_exits_0_when_run(way: str, tmp_path: Path) -> None:
    provider = ScriptedProvider(api_key=SECRETS["OPENAI_API_KEY"])
    with serve(provider) as server, started(way, tmp_path, server.url, **SECRETS) as proxy:
        answer = proxy.post()
        assert answer.status_code == 200, answer.text
        assert answer.json()["content"] == [{"type": "text", "text": "Hello from the provider."}]
        assert proxy.post(key="wrong").status_code == 401
        code = proxy.terminate()
    # uvicorn's own command ends as the signal asks once it has shut down in order.
    assert code == (-signal.SIGTERM if way == "uvicorn" else 0)
    assert "Traceback" not in proxy.output.read_text()


@pytest.mark.parametrize("way", WAYS)
def test_running_stream_finishes_when_terminated(way: str, tmp_path: Path) -> None:
    words = [f"word{n} " for n in range(10)]
    provider = ScriptedProvider([Reply(words, delay=0.1)])
    with serve(provider) as server, started(way, tmp_path, server.url, **SECRETS) as proxy:
        answers: list[httpx.Response] = []
        client = threading.Thread(target=lambda: answers.append(proxy.post(stream=True)))
        client.start()
        end = time.monotonic() + LIMIT
        while not (provider.requests and provider.requests[0].sent) and time.monotonic() < end:
            time.sleep(0.01)
        code = proxy.terminate()
        client.join(LIMIT)
    events = [json.loads(line[5:]) for line in answers[0].text.splitlines() if line.startswith("data:")]
    text = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    assert (text, events[-1]["type"]) == ("".join(words), "message_stop")
    assert provider.disconnects == []
    assert code == (-signal.SIGTERM if way == "uvicorn" else 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("host", "keys", "count"), [("0.0.0.0", "", 1), ("0.0.0.0", "k", 0), ("127.0.0.1", "", 0)])
def test_one_warning_when_everybody_can_spend_the_key(
    way: str, host: str, keys: str, count: int, tmp_path: Path
) -> None:
    variables = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": keys}
    with serve(ScriptedProvider()) as server, started(way, tmp_path, server.url, host=host, **variables) as proxy:
        proxy.terminate()
    output = proxy.output.read_text()
    assert output.count("without ANTHROPIC_API_KEY: everybody who reaches the port spends") == count
    assert output.count("WARNING") == count


@pytest.mark.parametrize("way", ["cc-boost", "uvicorn", "gunicorn"])
def test_no_secret_in_the_output_when_everything_is_logged(way: str, tmp_path: Path) -> None:
    answers: list[Reply | Failure] = [
        Reply("Hello"),
        Failure(500, "no luck"),
        Failure(401, "wrong key"),
        Reply("Hello"),
    ]
    provider = ScriptedProvider(answers, api_key=SECRETS["OPENAI_API_KEY"])
    variables = {**SECRETS, "LOG_LEVEL": "DEBUG", "MAX_RETRIES": "0"}
    with serve(provider) as server, started(way, tmp_path, server.url, **variables) as proxy:
        bodies = [proxy.post().text, proxy.post().text, proxy.post().text, proxy.post(stream=True).text]
        bodies += [proxy.post(key="wrong").text, httpx.get(proxy.url).text]
        bodies.append(httpx.get(f"{proxy.url}/test-connection", headers={"x-api-key": "planted-client-key"}).text)
        proxy.terminate()
    assert provider.requests[0].headers["x-tenant"] == "planted-tenant"
    assert "planted-" not in proxy.output.read_text() + "".join(bodies)


def test_two_workers_when_web_concurrency_is_two(tmp_path: Path) -> None:
    variables = {**SECRETS, "LOG_LEVEL": "INFO"}
    with serve(ScriptedProvider()) as server, started("gunicorn", tmp_path, server.url, **variables) as proxy:
        proxy.terminate()
    output = proxy.output.read_text()
    assert output.count("Booting worker") == 2
    assert "Using worker: uvicorn_worker.UvicornWorker" in output


def test_says_where_it_listens_when_started(tmp_path: Path) -> None:
    with serve(ScriptedProvider()) as provider, started("cc-boost", tmp_path, provider.url, **SECRETS) as proxy:
        health = httpx.get(f"{proxy.url}/health")
        proxy.terminate()
    url = proxy.url.replace("127.0.0.1", "localhost")
    assert proxy.output.read_text() == (
        f"cc-boost: {url} -> {provider.url}/v1. Use it: ANTHROPIC_BASE_URL={url} claude\n"
    )
    assert "server" not in health.headers


def test_settings_of_the_file_when_run_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-file\nSMALL_MODEL=tiny\n")
    provider = ScriptedProvider(api_key="from-file")
    with serve(provider) as server, started("cc-boost", tmp_path, server.url) as proxy:
        assert proxy.post().status_code == 200
        proxy.terminate()
    assert provider.completions[0]["model"] == "tiny"
