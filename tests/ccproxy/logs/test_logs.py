"""The log: a line for each exchange, of one form for all loggers, that no client can forge and that keeps secrets."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.logs.body_log import SHOWN, BodyLog
from ccproxy.logs.exchange_log import log_exchange
from ccproxy.logs.formats import logging_config
from ccproxy_middleware.toolkit.record import Record
from support.asgi import Inner, call, http_scope
from support.providers.scripted import Failure, Raw, Reply, ScriptedProvider
from support.serving.process import Running, request_body, started
from support.serving.proxied import proxied
from support.serving.servers import serve

MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "planted-words"}]}
SECRETS = {"OPENAI_API_KEY": "planted-provider-key", "ANTHROPIC_API_KEY": "planted-client-key"}


def formatted(format: str, record: logging.LogRecord) -> str:
    formatter = dict(logging_config("DEBUG", format)["formatters"]["line"])  # type: ignore[arg-type]
    made: logging.Formatter = formatter.pop("()")(**formatter)
    return made.format(record)


def log_record(message: str, *args: object, exc_info: Any = None, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("ccproxy.test")
    return logger.makeRecord(logger.name, logging.WARNING, "file", 1, message, args, exc_info, extra=extra)


def exception() -> Any:
    try:
        raise ValueError("bad\n2026-01-01 [warning] forged")
    except ValueError:
        return sys.exc_info()


NASTY = "a\r\n2026-01-01 [warning  ] forged \x1b[31m \u2028 \ud83d \u202e"


@pytest.mark.parametrize("exc_info", [None, exception()])
def test_json_is_one_object_on_a_line(exc_info: Any) -> None:
    line = formatted("json", log_record("model %s", NASTY, exc_info=exc_info, model=NASTY, count=3))
    assert len(line.splitlines()) == 1
    told = json.loads(line.encode())
    assert list(told)[:4] == ["timestamp", "level", "logger", "event"]
    assert (told["level"], told["logger"], told["event"]) == ("warning", "ccproxy.test", f"model {NASTY}")
    assert (told["model"], told["count"]) == (NASTY, 3)
    assert ("ValueError: bad" in told.get("exception", "")) == (exc_info is not None)


def test_text_is_one_line_whatever_a_client_sends() -> None:
    line = formatted("text", log_record("model %s", NASTY, model=NASTY, spaced="a b", count=3))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert line.endswith("spaced='a b' count=3")


def test_text_has_a_traceback_that_passes_for_no_record() -> None:
    first, *rest = formatted("text", log_record("it failed", exc_info=exception())).splitlines()
    assert "it failed" in first
    assert any("raise ValueError" in line for line in rest)
    assert all(line.startswith("    ") for line in rest)


def test_second_copy_of_uvicorns_messages_is_dropped() -> None:
    assert "31m" not in formatted("json", log_record("Started", color_message="\x1b[31mStarted"))


@contextmanager
def exchanges(caplog: pytest.LogCaptureFixture, level: int, *answers: Any, **settings: Any) -> Iterator[str]:
    caplog.set_level(level, "ccproxy")
    with proxied(ScriptedProvider(answers or None), **settings) as url:
        yield url


def told(caplog: pytest.LogCaptureFixture, logger: str = "ccproxy.exchange") -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == logger]


def fields(record: logging.LogRecord, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name, None) for name in names}


def test_line_tells_what_is_known_of_an_exchange(caplog: pytest.LogCaptureFixture) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    reply = Reply("Hello", usage=usage, headers={"cf-ray": "edge-1", "x-request-id": "up-1"})
    headers = {"x-request-id": "mine-1", "x-claude-code-session-id": "session-1"}
    with exchanges(caplog, logging.INFO, Failure(503), reply) as url:
        answer = httpx.post(f"{url}/v1/messages", json={**MESSAGE, "stream": True}, headers=headers)
    assert answer.headers["request-id"] == "mine-1"
    (record,) = told(caplog)
    assert (record.levelname, record.getMessage()) == ("INFO", "POST /v1/messages")
    expected = {
        "status": 200,
        "outcome": "complete",
        "error": None,
        "request_id": "mine-1",
        "session_id": "session-1",
        "client_model": "claude-haiku-4-5",
        "model": "gpt-4o-mini",
        "tier": "SMALL_MODEL",
        "stream": True,
        "input_tokens": 6,
        "output_tokens": 5,
        "cache_read_tokens": 4,
        "stop_reason": "end_turn",
        "retries": 1,
        "upstream_status": 200,
        "upstream_request_id": "up-1",
    }
    assert fields(record, *expected) == expected
    times = fields(record, "first_byte_ms", "duration_ms")
    assert 0 < times["first_byte_ms"] <= times["duration_ms"]
    assert "planted" not in str(vars(record))


def test_line_tells_which_agent_has_asked(caplog: pytest.LogCaptureFixture) -> None:
    told_of = {"prompt_id": "p1", "agent_id": "a1", "parent_agent_id": "a0", "agent_type": "Explore"}
    headers = {f"x-claude-code-{name.replace('_', '-')}": value for name, value in told_of.items()}
    with exchanges(caplog, logging.INFO) as url:
        httpx.post(f"{url}/v1/messages", json=MESSAGE, headers={**headers, "x-claude-code-request-class": "subagent"})
    (record,) = told(caplog)
    expected = {**told_of, "request_class": "subagent"}
    assert fields(record, *expected) == expected


@pytest.mark.parametrize(
    ("answer", "request_", "expected"),
    [
        (Failure(400, "no"), {}, {"status": 400, "outcome": "complete", "error": "invalid_request_error"}),
        (Failure(401, "no"), {}, {"status": 502, "error": "api_error", "upstream_status": 401}),
        (Reply("a"), {"max_tokens": "x"}, {"status": 400, "client_model": "claude-haiku-4-5", "upstream_status": None}),
        (Reply("a"), {"model": "m" * 999}, {"status": 200, "model": "m" * 197 + "..."}),
        (
            Raw([b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n']),
            {"stream": True},
            {"status": 200, "outcome": "aborted", "error": "api_error"},
        ),
    ],
)
def test_line_tells_how_an_exchange_failed(
    caplog: pytest.LogCaptureFixture, answer: Any, request_: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    with exchanges(caplog, logging.INFO, answer, max_retries=0) as url, httpx.Client() as client:
        try:
            client.post(f"{url}/v1/messages", json={**MESSAGE, **request_})
        except httpx.RemoteProtocolError:
            assert expected["outcome"] == "aborted"
    (record,) = told(caplog)
    assert fields(record, *expected) == expected


def test_refused_client_has_a_line_and_pages_have_none(caplog: pytest.LogCaptureFixture) -> None:
    with exchanges(caplog, logging.INFO, anthropic_api_key="planted-client-key") as url:
        httpx.post(f"{url}/v1/messages", json=MESSAGE, headers={"x-api-key": "planted-wrong"})
        for page in ("/", "/health", "/metrics"):
            assert httpx.get(url + page, headers={"x-api-key": "planted-client-key"}).status_code == 200
    (record,) = told(caplog)
    assert fields(record, "status", "error") == {"status": 401, "error": "authentication_error"}
    assert "planted" not in caplog.text


def test_decisions_of_the_converters_are_told_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    with exchanges(caplog, logging.DEBUG) as url:
        httpx.post(f"{url}/v1/messages", json={**MESSAGE, "top_k": 4}, headers={"x-request-id": "mine-1"})
        httpx.get(f"{url}/health")
    records = told(caplog)
    assert [record.getMessage() for record in records] == [
        "POST /v1/messages",
        "top_k is left out: top_k is drop",
        "GET /health",
    ]
    assert fields(records[1], "request_id") == {"request_id": "mine-1"}
    assert "planted" not in caplog.text


def test_nothing_is_worked_out_for_a_log_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    def explain() -> list[str]:
        raise AssertionError

    caplog.set_level(logging.INFO, "ccproxy")
    log_exchange(Record("id", "POST", "/v1/messages", explain=explain))
    assert len(told(caplog)) == 1


@pytest.mark.parametrize("given", ["a b", "x" * 129, "é", ""])
def test_request_id_that_is_no_id_is_replaced(given: str) -> None:
    with proxied(ScriptedProvider()) as url:
        answer = httpx.get(f"{url}/health", headers=[(b"x-request-id", given.encode())])
    assert answer.headers["request-id"].startswith("req_")


def test_bodies_are_told_on_both_sides_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "A" * 20_000}
    content = [
        {"type": "image", "source": image},
        {"type": "text", "text": "provider-key, sk-ant-abcdefghijklmnop, Authorization: Bearer abcdef and words"},
    ]
    with exchanges(caplog, logging.DEBUG, Reply("provider-key"), log_bodies=True, log_level="DEBUG") as url:
        httpx.post(f"{url}/v1/messages", json={**MESSAGE, "messages": [{"role": "user", "content": content}]})
    records = told(caplog, "ccproxy.bodies")
    names = ["client's request", "provider's request", "provider's answer", "client's answer"]
    assert [record.getMessage() for record in records] == names
    bodies = [str(fields(record, "body")["body"]) for record in records]
    assert all("and words" in body and "(20000 characters)" in body for body in bodies[:2])
    assert "claude-haiku-4-5" in bodies[0]
    assert "gpt-4o-mini" in bodies[1]
    assert not [body for body in bodies if "provider-key" in body or "abcdef" in body or len(body) > 1000]


def test_no_body_is_told_unless_it_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with exchanges(caplog, logging.DEBUG, log_level="DEBUG") as url:
        httpx.post(f"{url}/v1/messages", json=MESSAGE)
    assert told(caplog, "ccproxy.bodies") == []
    assert "planted" not in caplog.text


@pytest.mark.anyio
async def test_long_body_is_cut_and_passes_whole(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ccproxy.bodies")
    inner = Inner(body=[b"word " * 10_000, b"secret" * 50_000])
    app = BodyLog(inner, side="client", secrets=["secret"])
    body = b"x y " * 100_000
    answer = await call(app, http_scope("POST", "/", {"content-encoding": "identity"}), body, chunks=7)
    assert (inner.bodies, len(answer.body)) == ([body], 350_000)
    request, response = told(caplog, "ccproxy.bodies")
    assert fields(request, "bytes") == {"bytes": 400_000}
    for record in (request, response):
        assert len(str(fields(record, "body")["body"])) == SHOWN + 3
    zipped = Inner(headers={"content-encoding": "gzip"}, body=b"\x1f\x8b")
    await call(BodyLog(zipped, side="client", secrets=[]), http_scope("POST", "/"))
    assert fields(told(caplog, "ccproxy.bodies")[-1], "body") == {"body": "(gzip)"}


def talk(proxy: Running) -> None:
    """A healthy run: plain, streamed, counted, listed, looked at."""
    with httpx.Client(base_url=proxy.url, headers={"x-api-key": "planted-client-key"}, timeout=30.0) as client:
        for stream in (False, True):
            assert client.post("/v1/messages", json=request_body(stream=stream)).status_code == 200
        counted = {key: value for key, value in request_body().items() if key in ("model", "messages")}
        assert client.post("/v1/messages/count_tokens", json=counted).status_code == 200
        for page in ("/", "/health", "/v1/models", "/metrics"):
            assert client.get(page).status_code == 200


@pytest.mark.parametrize("way", ["uvicorn", "gunicorn"])
def test_healthy_run_is_quiet_at_warning(way: str, tmp_path: Path) -> None:
    with serve(ScriptedProvider()) as upstream, started(way, tmp_path, upstream.url, **SECRETS) as proxy:
        talk(proxy)
        proxy.terminate()
    assert proxy.output.read_text() == ""


def test_every_line_of_every_logger_is_json(tmp_path: Path) -> None:
    variables = {**SECRETS, "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json", "LOG_BODIES": "true"}
    with serve(ScriptedProvider()) as upstream, started("gunicorn", tmp_path, upstream.url, **variables) as proxy:
        talk(proxy)
        proxy.terminate()
    text = proxy.output.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    loggers = {line["logger"] for line in lines}
    assert {"ccproxy.exchange", "ccproxy.bodies", "uvicorn.error", "gunicorn.error"} <= loggers
    assert len([line for line in lines if line["event"] == "POST /v1/messages"]) == 2
    assert "planted-provider-key" not in text
    assert "planted-client-key" not in text


WITHOUT_DESCRIPTORS = """
import logging, os, resource
from ccproxy.logs.formats import configure_logging
configure_logging("INFO", "json")
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    raise ValueError("why")
except ValueError:
    logging.getLogger("ccproxy").exception("none left: %s", "x")
for number in held:
    os.close(number)
logging.getLogger("ccproxy").info("some again")
"""


def test_record_is_written_when_no_descriptor_is_left() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    command = [sys.executable, "-c", WITHOUT_DESCRIPTORS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["level"], first["logger"], first["event"]) == ("error", "ccproxy", "none left: x")
    assert "ValueError: why" in first["exception"]
    assert second["event"] == "some again"
    assert "timestamp" in second
