"""Rows of real processes: which of them are there when one ends, is killed, or its database goes away."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from ccproxy.ledger import Ledger
from ccproxy_middleware.ledger import Row
from support.ledger_rows import NOW, row
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.postgres import Postgres
from support.serving.process import LIMIT, request_body, started, wait_until
from support.serving.servers import serve

pytestmark = pytest.mark.timeout(180)

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
VARIABLES = {"OPENAI_API_KEY": "none", "ANTHROPIC_API_KEY": "planted-client-key", "PROVIDER": "openai"}


def provider() -> ScriptedProvider:
    return ScriptedProvider(lambda body: Reply("hi", usage=USAGE))


def rows(url: str) -> list[Row]:
    async def read() -> list[Row]:
        ledger = Ledger(url)
        try:
            return [each async for each in ledger.rows()]
        finally:
            await ledger.aclose()

    return asyncio.run(read())


@pytest.mark.parametrize("way", ["cc-boost", "gunicorn"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_row_is_lost_at_a_sigterm(way: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/l.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with (
        serve(provider(), lifespan="off") as upstream,
        started(way, tmp_path, upstream.url, LEDGER=url, **VARIABLES) as running,
    ):
        for number in range(20):
            assert running.post(stream=number % 2 == 0).status_code == 200
        assert running.post(key="wrong").status_code == 401
        running.terminate()
        found = rows(url)
        assert sorted(each.status or 0 for each in found) == [200] * 20 + [401]
        # gpt-4o-mini: 1000 tokens at $0.15 a million, and 100 at $0.60
        assert {str(each.cost) for each in found if each.status == 200} == {"0.00021"}
        assert {each.key for each in found if each.status == 401} == {None}
        told = running.output.read_text()
    assert "planted-password" not in told
    assert "lost" not in told


def test_rows_of_a_second_at_most_are_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/l.db"
    answered: list[float] = []
    with (
        serve(provider(), lifespan="off") as upstream,
        started("uvicorn", tmp_path, upstream.url, LEDGER=url, **VARIABLES) as running,
        httpx.Client(headers={"x-api-key": running.key}) as client,
    ):
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert client.post(f"{running.url}/v1/messages", json=request_body()).status_code == 200
            answered.append(time.monotonic())
        running.process.kill()
        killed = time.monotonic()
        running.process.wait(LIMIT)
    with closing(sqlite3.connect(tmp_path / "l.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(rows(url)) >= sum(at < killed - 1 for at in answered) > 0
    before = len(rows(url))
    with (
        serve(provider(), lifespan="off") as upstream,
        started("uvicorn", tmp_path, upstream.url, LEDGER=url, **VARIABLES) as running,
    ):
        assert running.post().status_code == 200
        running.terminate()
    assert len(rows(url)) == before + 1


def test_database_that_is_away_delays_nothing_and_gets_all_rows_when_it_is_back(
    server: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    with (
        serve(provider(), lifespan="off") as upstream,
        started("uvicorn", tmp_path, upstream.url, LEDGER=postgres_url, **VARIABLES) as running,
    ):
        assert running.post().status_code == 200
        server.stop()
        try:
            slowest = 0.0
            for _ in range(30):
                began = time.monotonic()
                assert running.post().status_code == 200
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.1)  # over several tries to write
            assert slowest < 2
        finally:
            server.start()
        wait_until(lambda: "is written again" in running.output.read_text(), running)
        running.terminate()
        told = running.output.read_text()
    assert len(rows(postgres_url)) == 31
    assert told.count("can't be written") == 1
    assert "planted-password" not in told
    assert f"127.0.0.1:{server.port}/ledger" in told


def test_proxy_starts_without_its_database_and_writes_when_it_is_there(
    server: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    server.stop()
    try:
        with (
            serve(provider(), lifespan="off") as upstream,
            started("uvicorn", tmp_path, upstream.url, LEDGER=postgres_url, **VARIABLES) as running,
        ):
            assert running.post().status_code == 200
            server.start()
            wait_until(lambda: "is written again" in running.output.read_text(), running)
            running.terminate()
    finally:
        if not server.is_up:
            server.start()
    assert len(rows(postgres_url)) == 1


@pytest.mark.anyio
async def test_memory_is_bounded_while_the_database_is_away(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "no-folder").write_text("a file where the folder should be")
    path = tmp_path / "no-folder/l.db"
    ledger = Ledger(f"sqlite:///{path}", max_rows=50)
    async with ledger.lifespan():
        for number in range(120):
            ledger.write(row(number, cost=Decimal(1)))
        assert await ledger.spent("key 1", NOW) == 120
        (tmp_path / "no-folder").unlink()
        async with asyncio.timeout(30):
            while "is written again" not in caplog.text:  # noqa: ASYNC110 - there is nothing else to wait for
                await asyncio.sleep(0.05)
    assert [each.total_ms for each in await asyncio.to_thread(rows, f"sqlite:///{path}")] == list(range(70, 120))
    assert "was away for too long: 70 rows are lost" in caplog.text
    assert caplog.text.count("can't be written") == 1


@pytest.mark.anyio
async def test_rows_that_can_not_be_written_at_the_end_are_told(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccproxy.ledger.background._LAST_SECONDS", 0.5)
    (tmp_path / "file").write_text("")
    ledger = Ledger(f"sqlite:///{tmp_path}/file/l.db")
    async with ledger.lifespan():
        ledger.write(row())
    assert "can't be reached: 1 rows are lost at the end" in caplog.text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:planted@h/d", "LEDGER: given ****; it begins otherwise; accepted: true, or a URL that begins with"),
        ("sqlite://", "LEDGER: given ****; sqlite:// needs the path of a file"),
        ("postgresql://u:planted@h", "LEDGER: given ****; it names no database"),
        ("yes please", "LEDGER: given ****; it begins otherwise"),
    ],
)
def test_url_that_is_none_ends_the_start(url: str, words: str, tmp_path: Path) -> None:
    environment = {**os.environ, "LEDGER": url, "OPENAI_API_KEY": "k", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "ccproxy", "serve"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 2
    assert words in done.stderr
    assert "planted" not in done.stderr


def test_ledger_true_is_a_file_of_the_users_own(tmp_path: Path) -> None:
    with (
        serve(provider(), lifespan="off") as upstream,
        started("cc-boost", tmp_path, upstream.url, LEDGER="true", **VARIABLES) as running,
    ):
        running.post()
        running.terminate()
    assert len(rows(f"sqlite:///{tmp_path}/.local/share/cc-boost/ledger.db")) == 1


def test_killed_client_is_a_row(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/l.db"
    slow = ScriptedProvider(lambda body: Reply(["a"] * 200, delay=0.05))
    with (
        serve(slow, lifespan="off") as upstream,
        started("uvicorn", tmp_path, upstream.url, LEDGER=url, **VARIABLES) as running,
    ):
        with httpx.stream(
            "POST",
            f"{running.url}/v1/messages",
            json=request_body(stream=True),
            headers={"x-api-key": running.key, "x-cc-boost-project": "shop"},
        ) as answer:
            next(answer.iter_bytes())
        wait_until(lambda: slow.disconnects, running)
        running.terminate()
    (found,) = rows(url)
    assert (found.outcome, found.status, found.cost, found.project) == ("disconnected", 200, None, "shop")
    assert found.time < datetime.now(found.time.tzinfo)
