"""cc-boost serve takes new settings at a HUP: a real process, with answers under way."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from support.outcomes import CLIENT_KEY, Answered, Refused, is_like, seen_on_the_wire
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.process import BIN, Running, free_port, started, wait_until
from support.serving.proxied import PROVIDER_KEY
from support.serving.servers import serve

MODEL = "claude-haiku-4-5"
KEYS = {"OPENAI_API_KEY": PROVIDER_KEY}
REFUSED = "the proxy keeps the old one"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Answers end once it is set."""
    event = threading.Event()
    yield event
    event.set()


def write(directory: Path, **settings: object) -> None:
    (directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def hang_up(proxy: Running) -> None:
    proxy.process.send_signal(signal.SIGHUP)


def refusals(proxy: Running) -> int:
    return proxy.output.read_text().count(REFUSED)


def model_in_use(proxy: Running, provider: ScriptedProvider) -> str:
    assert seen_on_the_wire(proxy.url, MODEL, False) == Answered()
    return str(provider.completions[-1]["model"])


@pytest.mark.parametrize("way", ["cc-boost", "python asgi.py"])
def test_new_requests_get_the_new_settings_and_running_answers_end_whole(
    way: str, tmp_path: Path, gate: threading.Event
) -> None:
    provider = ScriptedProvider(lambda body: Reply(["H", "i"], gate=gate) if body["model"] == "old" else Reply("Hi"))
    write(tmp_path, SMALL_MODEL="old", ANTHROPIC_API_KEY=CLIENT_KEY)
    with serve(provider) as server, started(way, tmp_path, server.url, **KEYS) as proxy, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(seen_on_the_wire, proxy.url, MODEL, stream) for stream in (True, False)]
        wait_until(lambda: len(provider.requests) == 2 and any(request.sent for request in provider.requests), proxy)
        write(tmp_path, SMALL_MODEL="new", ANTHROPIC_API_KEY=CLIENT_KEY)
        hang_up(proxy)
        wait_until(lambda: small_model(proxy) == "new", proxy)
        assert model_in_use(proxy, provider) == "new"
        write(tmp_path, SMALL_MODEL="newer", ANTHROPIC_API_KEY=CLIENT_KEY)
        hang_up(proxy)
        wait_until(lambda: small_model(proxy) == "newer", proxy)
        assert not any(future.done() for future in running)
        gate.set()
        for future in running:
            assert is_like(future.result(30), Answered()), future.result()
        assert model_in_use(proxy, provider) == "newer"
        assert proxy.terminate() == 0
    assert provider.disconnects == []
    assert "Traceback" not in proxy.output.read_text()


def is_up(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health").status_code == 200
    return False


def small_model(proxy: Running) -> object:
    return httpx.get(proxy.url).json()["models"]["SMALL_MODEL"]


def test_key_of_a_client_that_is_gone_counts_no_more(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hi"))
    write(tmp_path, ANTHROPIC_API_KEY=CLIENT_KEY)
    with serve(provider) as server, started("cc-boost", tmp_path, server.url, **KEYS) as proxy:
        assert seen_on_the_wire(proxy.url, MODEL, True) == Answered()
        write(tmp_path, ANTHROPIC_API_KEY="another")
        hang_up(proxy)
        wait_until(lambda: proxy.post(key="another").status_code == 200, proxy)
        assert is_like(
            seen_on_the_wire(proxy.url, MODEL, True), Refused(401, "authentication_error", "invalid API key")
        )


def test_rules_are_read_again(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hi"), models=["usual", "ruled", "ruled-again"])
    rules = tmp_path / "routes.toml"
    rules.write_text('[[route]]\nmodels = ["ruled"]\nwhen = { tier = "small" }\n')
    write(tmp_path, SMALL_MODEL="usual", ROUTES_FILE="routes.toml")
    with serve(provider) as server, started("cc-boost", tmp_path, server.url, **KEYS) as proxy:
        assert model_in_use(proxy, provider) == "ruled"
        rules.write_text('[[route]]\nmodels = ["ruled-again"]\nwhen = { tire = "small" }\n')
        hang_up(proxy)
        wait_until(lambda: refusals(proxy) == 1, proxy)
        assert "routes.toml, line 3: when.tire: there is no such condition" in proxy.output.read_text()
        assert model_in_use(proxy, provider) == "ruled"
        rules.write_text(rules.read_text().replace("tire", "tier"))
        hang_up(proxy)
        wait_until(lambda: model_in_use(proxy, provider) == "ruled-again", proxy)


BAD = [
    ("MAX_RETRIES=many", "MAX_RETRIES: given 'many' in .env"),
    ("CCPROXY_LAYERS=own:Missing", "has no attribute 'Missing'"),
    ("CCPROXY_LAYERS=own:Broken", "The app can't start: not today"),
]


def test_bad_settings_change_nothing(tmp_path: Path, gate: threading.Event) -> None:
    own = "class Broken:\n    def __init__(self, app):\n        raise RuntimeError('not today')\n"
    (tmp_path / "own.py").write_text(own)
    provider = ScriptedProvider(
        lambda body: Reply(["H", "i"], gate=gate) if len(provider.requests) == 1 else Reply("Hi")
    )
    write(tmp_path, SMALL_MODEL="old")
    with (
        serve(provider) as server,
        started(
            "cc-boost", tmp_path, server.url, **KEYS, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path[1:]])
        ) as proxy,
        ThreadPoolExecutor(1) as pool,
    ):
        running = pool.submit(seen_on_the_wire, proxy.url, MODEL, True)
        wait_until(lambda: provider.requests and provider.requests[0].sent, proxy)
        for number, (text, problem) in enumerate(BAD, 1):
            (tmp_path / ".env").write_text(f"SMALL_MODEL=bad\n{text}\n")
            hang_up(proxy)
            wait_until(lambda number=number: refusals(proxy) == number, proxy)  # type: ignore[misc]
            assert problem in proxy.output.read_text()
            assert model_in_use(proxy, provider) == "old"
        gate.set()
        assert running.result(30) == Answered()
        write(tmp_path, SMALL_MODEL="good")
        hang_up(proxy)
        wait_until(lambda: small_model(proxy) == "good", proxy)
        assert refusals(proxy) == len(BAD)


def test_address_stays_as_it_is(tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path[1:]), **KEYS}
    write(tmp_path, SMALL_MODEL="old", HOST="127.0.0.1", PORT=port)
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen([BIN / "cc-boost"], cwd=tmp_path, env=variables, stdout=file, stderr=file, text=True)
    proxy = Running(process, f"http://127.0.0.1:{port}", output, "")
    try:
        wait_until(lambda: is_up(proxy.url), proxy)
        write(tmp_path, SMALL_MODEL="new", HOST="127.0.0.1", PORT=other)
        hang_up(proxy)
        wait_until(lambda: small_model(proxy) == "new", proxy)
        wait_until(lambda: f"until then it listens on http://localhost:{port}" in output.read_text(), proxy)
        assert proxy.terminate() == 0
    finally:
        process.kill()
        process.wait()


def test_process_ends_with_its_terminal(tmp_path: Path) -> None:
    """The window is closed: a HUP that wants no new settings."""
    port = free_port()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_API_KEY": "k", "HOST": "127.0.0.1"}
        variables |= {"PORT": str(port), "PYTHONPATH": os.pathsep.join(sys.path[1:])}
        os.execve(BIN / "cc-boost", ["cc-boost"], variables)  # noqa: S606
    end = time.monotonic() + 30
    while not is_up(f"http://127.0.0.1:{port}"):
        assert time.monotonic() < end
        time.sleep(0.1)
    os.close(terminal)
    for _ in range(100):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError("it runs on without its terminal")
    assert os.waitstatus_to_exitcode(status) == 0
