"""The process ends, loses a worker, or takes a new configuration: real processes, with answers under way."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from support.outcomes import CLIENT_KEY, Answered, Broken, Outcome, Refused, is_like, seen_on_the_wire
from support.pdfs import base64_of, children, slow
from support.providers.scripted import Reply, ScriptedProvider
from support.reliability import Row
from support.serving.process import Running, started, wait_until
from support.serving.proxied import PROVIDER_KEY
from support.serving.servers import serve

MODEL = "claude-haiku-4-5"
KEYS = {"OPENAI_API_KEY": PROVIDER_KEY, "ANTHROPIC_API_KEY": CLIENT_KEY}
SERVERS = ["cc-boost", "uvicorn", "gunicorn"]


class Expected(NamedTuple):
    """What the clients see whose answers were under way."""

    json: Outcome
    stream: Outcome


WHOLE = Expected(Answered(), Answered())
CUT = Expected(
    Refused(529, "overloaded_error", "this proxy is shutting down"),
    Broken("overloaded_error", "this proxy is shutting down", text="H"),
)
UNREAD = Expected(CUT.json, CUT.json)


def rows() -> list[Row]:
    """The rows of docs/reliability.md."""
    return [
        Row(fault, str(expected.json), str(expected.stream), test)
        for fault, expected, test in (
            (
                "SIGTERM or SIGINT; the answer ends within SHUTDOWN_TIMEOUT",
                WHOLE,
                "test_answers_finish_when_terminated",
            ),
            ("SIGTERM; the answer outlasts SHUTDOWN_TIMEOUT", CUT, "test_answers_are_cut_when_the_grace_is_over"),
            ("SIGTERM; a PDF takes longer to read than SHUTDOWN_TIMEOUT", UNREAD, "test_reading_ends_with_the_process"),
            ("another worker of gunicorn is killed", WHOLE, "test_nobody_notices_when_another_worker_is_killed"),
            ("gunicorn's arbiter is killed", WHOLE, "test_workers_end_when_the_arbiter_is_killed"),
            ("gunicorn takes a new configuration", WHOLE, "test_answers_go_on_when_the_configuration_changes"),
            ("gunicorn is given a bad configuration", WHOLE, "test_answers_go_on_when_the_configuration_changes"),
            (
                "gunicorn is reloaded twice, loses workers and ends meanwhile",
                WHOLE,
                "test_reload_does_not_hold_up_the_arbiter",
            ),
        )
    ]


class Clients(NamedTuple):
    """One client that waits for a JSON answer and one that has got the beginning of a stream."""

    json: Future[Outcome]
    stream: Future[Outcome]

    def check(self, expected: Expected) -> None:
        for future, outcome in zip(self, expected, strict=True):
            seen = future.result(30)
            assert is_like(seen, outcome), seen


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Answers end once it is set."""
    event = threading.Event()
    yield event
    event.set()


@contextmanager
def clients_of(proxy: Running, provider: ScriptedProvider) -> Iterator[Clients]:
    """Start both; the provider has sent the beginning of their answers."""
    before = len(provider.requests)
    with ThreadPoolExecutor(2) as threads:
        clients = Clients(*(threads.submit(seen_on_the_wire, proxy.url, MODEL, stream) for stream in (False, True)))
        wait_until(lambda: any(request.sent for request in provider.requests[before:]), proxy)
        wait_until(lambda: len(provider.requests) == before + 2, proxy)
        yield clients


def held(gate: threading.Event) -> Reply:
    return Reply(["H", "i"], gate=gate)


def is_refused(proxy: Running) -> bool:
    address = urlsplit(proxy.url)
    try:
        socket.create_connection((address.hostname, address.port)).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("way", "number"),
    [*((way, signal.SIGTERM) for way in SERVERS), ("cc-boost", signal.SIGINT), ("gunicorn", signal.SIGINT)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_answers_finish_when_terminated(
    way: str, number: signal.Signals, tmp_path: Path, gate: threading.Event
) -> None:
    provider = ScriptedProvider(lambda body: held(gate))
    with (
        serve(provider) as server,
        started(way, tmp_path, server.url, **KEYS) as proxy,
        clients_of(proxy, provider) as clients,
    ):
        proxy.process.send_signal(number)
        wait_until(lambda: is_refused(proxy), proxy)  # nobody else comes in
        gate.set()
        clients.check(WHOLE)
        assert proxy.process.wait(30) == 0
    assert "Traceback" not in proxy.output.read_text()


@pytest.mark.parametrize("way", SERVERS)
def test_answers_are_cut_when_the_grace_is_over(way: str, tmp_path: Path, gate: threading.Event) -> None:
    provider = ScriptedProvider(lambda body: held(gate))
    with (
        serve(provider) as server,
        started(way, tmp_path, server.url, SHUTDOWN_TIMEOUT="1", **KEYS) as proxy,
        clients_of(proxy, provider) as clients,
        ThreadPoolExecutor(1) as threads,
    ):
        openai = threads.submit(openai_stream, proxy.url)
        wait_until(lambda: len(provider.requests) == 3 and provider.requests[2].sent, proxy)
        assert proxy.terminate() == 0
        clients.check(CUT)
        assert '"type":"overloaded_error"' in openai.result(30)
    assert len(provider.disconnects) == 3
    output = proxy.output.read_text()
    assert "Traceback" not in output
    assert "ERROR" not in output
    assert "without completing" not in output


@pytest.mark.parametrize("way", ["cc-boost", "gunicorn"])
def test_reading_ends_with_the_process(way: str, tmp_path: Path) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": base64_of(slow())}
    messages = [{"role": "user", "content": [{"type": "document", "source": source}]}]
    variables = {**KEYS, "PROVIDER": "ollama", "SHUTDOWN_TIMEOUT": "1", "WEB_CONCURRENCY": "1"}
    with (
        serve(ScriptedProvider()) as server,
        started(way, tmp_path, server.url, **variables) as proxy,
        ThreadPoolExecutor(2) as threads,
    ):
        worker = proxy.process.pid if way == "cc-boost" else workers(proxy)[0]
        ask = partial(seen_on_the_wire, proxy.url, MODEL, messages=messages)
        clients = Clients(*(threads.submit(ask, stream) for stream in (False, True)))
        wait_until(lambda: len(children(worker)) == 2, proxy)
        readers = children(worker)
        assert proxy.terminate() == 0
        clients.check(UNREAD)
        assert not [number for number in readers if Path(f"/proc/{number}").exists()]
    assert "Traceback" not in proxy.output.read_text()


def openai_stream(url: str) -> str:
    """The last event of an OpenAI stream that breaks off."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    lines: list[str] = []
    with (
        pytest.raises(httpx.RemoteProtocolError),
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers={"x-api-key": CLIENT_KEY}) as answer,
    ):
        lines += (line for line in answer.iter_lines() if line)
    return lines[-1]


def test_nobody_notices_when_another_worker_is_killed(tmp_path: Path, gate: threading.Event) -> None:
    provider = ScriptedProvider(lambda body: held(gate))
    with serve(provider) as server, started("gunicorn", tmp_path, server.url, **KEYS) as proxy:
        wait_until(lambda: len(workers(proxy)) == 2, proxy)
        victim, other = workers(proxy)
        os.kill(victim, signal.SIGSTOP)  # so that the other one gets the clients
        with clients_of(proxy, provider) as clients:
            (tmp_path / ".env").write_text("MAX_RETRIES=bad\n")  # nobody has asked for it to be taken
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: len(workers(proxy)) == 2 and victim not in workers(proxy), proxy)
            gate.set()
            clients.check(WHOLE)
            os.kill(other, signal.SIGSTOP)
            try:
                assert seen_on_the_wire(proxy.url, MODEL, False) == Answered()  # by the new worker
            finally:
                os.kill(other, signal.SIGCONT)
        assert proxy.terminate() == 0


BAD = [
    ("MAX_RETRIES=many", "MAX_RETRIES: given 'many'"),
    ("CCPROXY_LAYERS=own:Missing", "has no attribute 'Missing'"),
    ("CCPROXY_LAYERS=own:Broken", "The app can't start: RuntimeError('not today')"),
]


def test_answers_go_on_when_the_configuration_changes(tmp_path: Path, gate: threading.Event) -> None:
    """A bad configuration changes nothing; the next good one is taken. The answers of the old one end as they would."""
    file = tmp_path / ".env"
    own = "class Broken:\n    def __init__(self, app):\n        raise RuntimeError('not today')\n"
    (tmp_path / "own.py").write_text(own)
    provider = ScriptedProvider(lambda body: held(gate) if len(provider.completions) <= 2 else Reply("Hi"))
    with (
        serve(provider) as server,
        started("gunicorn", tmp_path, server.url, **KEYS) as proxy,
        clients_of(proxy, provider) as clients,
    ):
        old = workers(proxy)
        for number, (text, problem) in enumerate(BAD, 1):
            file.write_text(f"SMALL_MODEL=bad\n{text}\n")
            proxy.process.send_signal(signal.SIGHUP)
            wait_until(partial(has_refused, proxy, number), proxy)
            assert problem in proxy.output.read_text()
            assert workers(proxy) == old
        file.write_text("SMALL_MODEL=good\n")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(set(workers(proxy)) - set(old)) == 2, proxy)
        wait_until(lambda: model_in_use(proxy, provider) == "good", proxy)
        gate.set()
        clients.check(WHOLE)
        wait_until(lambda: not set(old) & set(workers(proxy)), proxy)
        assert model_in_use(proxy, provider) == "good"
        assert proxy.terminate() == 0
    assert "Traceback" not in proxy.output.read_text()


def test_reload_does_not_hold_up_the_arbiter(tmp_path: Path, gate: threading.Event) -> None:
    """While old workers finish a stream, a lost worker is replaced, a second HUP taken and a SIGTERM heard."""
    file = tmp_path / ".env"
    provider = ScriptedProvider(lambda body: held(gate) if len(provider.completions) <= 2 else Reply("Hi"))
    with (
        serve(provider) as server,
        started("gunicorn", tmp_path, server.url, **KEYS) as proxy,
        clients_of(proxy, provider) as clients,
    ):
        for model in ("second", "third"):
            before = set(workers(proxy))
            file.write_text(f"SMALL_MODEL={model}\n")
            proxy.process.send_signal(signal.SIGHUP)
            wait_until(partial(has_started, proxy, 2, before), proxy)
            new = set(workers(proxy)) - before
            wait_until(partial(is_in_use, proxy, provider, model), proxy)
            os.kill(min(new), signal.SIGKILL)
            wait_until(partial(has_started, proxy, 1, before | new), proxy)
            assert not clients.stream.done()
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(proxy), proxy)
        gate.set()
        clients.check(WHOLE)
        assert proxy.process.wait(30) == 0
    assert "Traceback" not in proxy.output.read_text()


def test_replaced_worker_is_killed_when_its_time_is_over(tmp_path: Path, gate: threading.Event) -> None:
    provider = ScriptedProvider(lambda body: held(gate))
    with (
        serve(provider) as server,
        started("gunicorn", tmp_path, server.url, SHUTDOWN_TIMEOUT="0", WEB_CONCURRENCY="1", **KEYS) as proxy,
    ):
        (hangs,) = workers(proxy)
        os.kill(hangs, signal.SIGSTOP)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: workers(proxy) and hangs not in workers(proxy), proxy)
        assert proxy.terminate() == 0


def has_refused(proxy: Running, times: int) -> bool:
    """Whether so many new configurations were refused."""
    return proxy.output.read_text().count("the workers keep the old one") == times


def workers(proxy: Running) -> list[int]:
    """The processes of gunicorn's workers."""
    pid = proxy.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_started(proxy: Running, number: int, beside: set[int]) -> bool:
    """Whether there are so many workers beside these."""
    return len(set(workers(proxy)) - beside) == number


def is_in_use(proxy: Running, provider: ScriptedProvider, model: str) -> bool:
    return model_in_use(proxy, provider) == model


def model_in_use(proxy: Running, provider: ScriptedProvider) -> str:
    """The model that the provider is asked for by now."""
    assert seen_on_the_wire(proxy.url, MODEL, False) == Answered()
    return str(provider.completions[-1]["model"])


def test_workers_end_when_the_arbiter_is_killed(tmp_path: Path, gate: threading.Event) -> None:
    """They free the port for the next start, and finish what they have."""
    provider = ScriptedProvider(lambda body: held(gate))
    with (
        serve(provider) as server,
        started("gunicorn", tmp_path, server.url, **KEYS) as proxy,
        clients_of(proxy, provider) as clients,
    ):
        left = workers(proxy)
        proxy.process.kill()
        proxy.process.wait(30)
        end = time.monotonic() + 30
        while not is_refused(proxy) and time.monotonic() < end:
            time.sleep(0.05)
        assert is_refused(proxy)
        gate.set()
        clients.check(WHOLE)
        while any(map(lives, left)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(lives, left))


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
