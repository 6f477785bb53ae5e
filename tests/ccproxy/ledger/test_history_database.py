"""Exchanges in the ledger's database: real files and a real Postgres."""

import asyncio
import json
import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from ccproxy.ledger import History
from ccproxy_middleware.inspector import Entry
from support.serving.postgres import Postgres
from support.serving.servers import eventually

pytestmark = pytest.mark.anyio

T = TypeVar("T")

NOW = 1_790_000_000.0


def entry(number: int = 0, *, words: str = "", session: str | None = "one", size: int = 0, time: float = NOW) -> Entry:
    id_ = f"{int((time + number) * 1000):011x}{number:010x}"
    document = json.dumps({"id": id_, "noise": secrets.token_hex(size // 2)}).encode()
    line = json.dumps({"id": id_, "number": number}).encode()
    return Entry(id_, time + number, session, words or f"words {number}", line, document)


def made(each: Entry) -> Callable[[], Entry]:
    return lambda: each


async def kept(history: History, *entries: Entry) -> None:
    """Written, when this returns."""
    for each in entries:
        history.keep(len(each.document), made(each))
    await eventually(lambda: not history._waiting)


def numbers(lines: list[bytes]) -> list[int]:
    return [json.loads(line)["number"] for line in lines]


@pytest.fixture
def far() -> float:
    """Days that nothing here is older than."""
    return 100_000


async def test_what_is_kept_is_found_by_another_process(url: str, far: int) -> None:
    odd = Entry("x", NOW, "s\0\ud800", "a\0 \udfff b", b'{"number":9}', b"{}")
    async with History(url, days=far).lifespan():
        pass
    first = History(url, days=far)
    async with first.lifespan():
        await kept(first, *(entry(n) for n in range(3)), odd)
    other = History(url, days=far)
    async with other.lifespan():
        assert json.loads(await other.find(entry(1).id) or b"")["id"] == entry(1).id
        assert await other.find("nothing") is None
        assert await other.find("x\0") == b"{}"
        assert await other.session("one") == [entry(n).id for n in range(3)]
        assert len(await other.session("s\0\ud800")) == 1


async def test_search_looks_for_every_word_newest_first(url: str, far: int) -> None:
    history = History(url, days=far)
    async with history.lifespan():
        await kept(history, *(entry(n, words=f"fix 100% of_ {'dates' if n % 2 else 'times'} {n}") for n in range(6)))
        search = history.search
        assert numbers(await search([], before=None, limit=10)) == [5, 4, 3, 2, 1, 0]
        assert numbers(await search(["dates", "fix"], before=None, limit=2)) == [5, 3]
        assert numbers(await search(["dates"], before=entry(3).id, limit=9)) == [1]
        assert numbers(await search(["0%"], before=None, limit=9)) == [5, 4, 3, 2, 1, 0]
        assert numbers(await search(["x_ "], before=None, limit=9)) == []  # nothing in it is a wildcard
        assert numbers(await search(["%f"], before=None, limit=9)) == []


async def test_what_is_too_old_is_deleted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr("ccproxy.ledger.history.uniform", lambda *_: 0.01)
    today = time.time()
    old = [entry(n, time=today - 8 * 86400) for n in range(3)]
    first = History(url, days=100)
    async with first.lifespan():
        await kept(first, *old, entry(9, time=today))
    history = History(url, days=7)
    async with history.lifespan():
        assert await seen(lambda: history.search([], before=None, limit=9), lambda lines: numbers(lines) == [9])


async def test_bytes_are_bounded_and_the_oldest_go(url: str, far: int) -> None:
    history = History(url, days=far, max_bytes=1_000_000)
    async with history.lifespan():
        for n in range(40):
            await kept(history, entry(n, size=100_000))
        assert await seen(lambda: sizes(history), lambda found: sum(found) <= 1_000_000)
        left = numbers(await history.search([], before=None, limit=100))
    assert left == list(range(39, 39 - len(left), -1))
    assert 10 <= len(left) < 20  # 50 KB each, for what is hexadecimal has half as much in it


async def seen(ask: Callable[[], Awaitable[T]], fits: Callable[[T], bool]) -> bool:
    """Whether it comes to that within some seconds."""
    for _ in range(500):
        if fits(await ask()):
            return True
        await asyncio.sleep(0.02)
    return False


async def sizes(history: History) -> list[int]:
    from sqlalchemy import select

    from ccproxy.ledger.tables import history as table

    async with (await history.prepared()).connect() as connection:
        return list((await connection.execute(select(table.c.size))).scalars())


async def test_entries_wait_for_a_database_that_is_away(
    server: Postgres, postgres_url: str, far: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    history = History(postgres_url, days=far, max_waiting=10_000)
    async with history.lifespan():
        await kept(history, entry(0))
        server.stop()
        for n in range(1, 4):
            history.keep(4_000, made(entry(n)))  # the third is too much
        await eventually(lambda: "can't be written" in caplog.text)
        server.start()
        await eventually(lambda: not history._waiting, limit=30)
        assert numbers(await history.search([], before=None, limit=9)) == [2, 1, 0]
    assert "1 exchanges were not kept" in caplog.text
    assert "planted-password" not in caplog.text


async def test_entry_that_can_not_be_made_keeps_no_other_back(tmp_path: Path, far: int) -> None:
    def fails() -> Entry:
        raise RuntimeError("a bug")

    history = History(f"sqlite:///{tmp_path}/l.db", days=far)
    async with history.lifespan():
        history.keep(1, fails)
        await kept(history, entry(1))
        assert numbers(await history.search([], before=None, limit=9)) == [1]


async def test_end_waits_for_what_is_left(tmp_path: Path, far: int) -> None:
    history = History(f"sqlite:///{tmp_path}/l.db", days=far)
    async with history.lifespan():
        for n in range(50):
            history.keep(100, made(entry(n, size=20_000)))
    with closing(sqlite3.connect(tmp_path / "l.db")) as connection:
        assert connection.execute("SELECT count(*) FROM cc_boost_history").fetchone() == (50,)
        (packed,) = connection.execute("SELECT document FROM cc_boost_history LIMIT 1").fetchone()
    assert len(packed) < 15_000  # of 20 KB that are hexadecimal
