"""Rows in a real database and out of it: SQLite and Postgres."""

import asyncio
import os
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ccproxy.ledger import Ledger
from ccproxy.ledger.database import make_engine, prepare
from ccproxy.ledger.tables import MIGRATIONS, TooNew, schema
from ccproxy_middleware.ledger import Row
from support.ledger_rows import NOW, row

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def written(url: str, *rows: Row) -> None:
    ledger = Ledger(url)
    async with ledger.lifespan():
        for each in rows:
            ledger.write(each)


async def read(url: str, since: datetime | None = None) -> list[Row]:
    ledger = Ledger(url)
    try:
        return [each async for each in ledger.rows(since)]
    finally:
        await ledger.aclose()


async def test_row_comes_back_as_it_was(url: str) -> None:
    full = Row(
        NOW.replace(microsecond=123_000), "s", "p", "a", "b", "main", "ü", "key 1", "BIG_MODEL", "near", "m", 200,
        "complete", 1, 2, 3, 4, 5, Decimal("0.123456789"), 6, 7, 8, "message 3",
    )  # fmt: skip
    nothing = Row(NOW + timedelta(seconds=1))
    await written(url, full, nothing)
    assert await read(url) == [full, nothing]


async def test_all_rows_are_there_when_the_lifespan_is_over(url: str) -> None:
    await written(url, *(row(n) for n in range(3000)))
    assert [each.total_ms for each in await read(url)] == list(range(3000))


async def test_row_is_there_within_a_second(url: str) -> None:
    ledger = Ledger(url)
    async with ledger.lifespan():
        ledger.write(row())
        began = time.monotonic()
        while not [each async for each in ledger.rows()]:
            assert time.monotonic() - began < 1
            await asyncio.sleep(0.02)


async def test_many_workers_that_start_at_once_make_the_tables_once(url: str) -> None:
    await asyncio.gather(*(written(url, *(row(n * 100 + i) for i in range(100))) for n in range(8)))
    assert sorted(each.total_ms or 0 for each in await read(url)) == list(range(800))


async def test_migration_runs_once_and_keeps_the_rows(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await written(url, row())
    ran = []

    def step(connection: object) -> None:
        ran.append(connection)

    monkeypatch.setattr("ccproxy.ledger.tables.MIGRATIONS", (*MIGRATIONS, step))
    await asyncio.gather(*(written(url) for _ in range(4)))
    assert len(ran) == 1
    assert await read(url) == [row()]


async def test_tables_of_a_later_version_are_left_alone(url: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine(url)
    await prepare(engine)
    async with engine.begin() as connection:
        await connection.execute(schema.update().values(version=99))
    with pytest.raises(TooNew):
        await prepare(engine)
    await engine.dispose()
    ledger = Ledger(url)
    async with ledger.lifespan():
        pass
    assert "its tables are of version 99, and this cc-boost knows 2: update it" in caplog.text


async def test_old_rows_are_deleted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ccproxy.ledger import queries

    monkeypatch.setattr(queries, "_AT_ONCE", 3)
    old = [row(n, time=NOW - timedelta(days=91, milliseconds=n)) for n in range(10)]
    await written(url, *old, row(99, time=NOW - timedelta(days=89)))
    engine = make_engine(url)
    assert await queries.forget(engine, NOW - timedelta(days=90)) == 10
    await engine.dispose()
    assert [each.total_ms for each in await read(url)] == [99]


async def test_costs_add_up_exactly(url: str) -> None:
    await written(url, *(row(n, cost=Decimal("0.1")) for n in range(30)), row(31, cost=None), row(32, key="key 2"))
    ledger = Ledger(url)
    assert await ledger.spent("key 1", NOW - timedelta(days=1)) == Decimal(3)
    assert await ledger.spent("key 2", NOW - timedelta(days=1)) == Decimal("0.000000125")
    assert await ledger.spent("key 1", NOW + timedelta(days=1)) == 0
    assert await ledger.spent("nobody", NOW - timedelta(days=1)) == 0
    await ledger.aclose()


async def test_spending_is_told_at_once_by_this_process_and_soon_by_another(url: str) -> None:
    since = NOW - timedelta(days=1)
    one, other = Ledger(url), Ledger(url)
    async with one.lifespan(), other.lifespan():
        assert await one.spent("key 1", since) == 0
        for n in range(20):
            one.write(row(n, cost=Decimal(1)))
            assert await one.spent("key 1", since) >= n + 1
        end = time.monotonic() + 10
        while await other.spent("key 1", since) != 20:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        assert await one.spent("key 1", since) == 20
        assert await one.spent("key 2", since) == 0


async def test_sums_by_each_column(url: str) -> None:
    await written(
        url,
        row(1, session="a", cost=Decimal(2)),
        row(2, session="a", cost=None, input=5),
        row(3, session="b", cost=Decimal(3), status=500),
        row(4, session=None, cost=None, provider_calls=0, status=401, input=None, cached=None, output=None),
    )
    ledger = Ledger(url)
    groups = {group.name: group for group in await ledger.groups("session")}
    assert list(groups) == ["b", "a", None]  # from the dearest
    assert (groups["a"].requests, groups["a"].cost, groups["a"].unpriced, groups["a"].input) == (2, Decimal(2), 1, 105)
    assert (groups["b"].failed, groups["b"].cost, groups["b"].cached, groups["b"].output) == (1, Decimal(3), 20, 10)
    assert (groups[None].failed, groups[None].unpriced, groups[None].input) == (1, 0, 0)
    assert [(g.name, g.requests) for g in await ledger.groups("status")] == [("500", 1), ("200", 2), ("401", 1)]
    assert await ledger.groups("model", NOW + timedelta(days=1)) == []
    await ledger.aclose()


@pytest.fixture
def zone() -> object:
    before = os.environ.get("TZ")

    def put(name: str) -> None:
        os.environ["TZ"] = name
        time.tzset()

    yield put
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("UTC", {"2026-03-28": 1, "2026-03-29": 2}),
        ("Asia/Kathmandu", {"2026-03-29": 2, "2026-03-30": 1}),  # 5:45 before UTC
        ("Europe/Berlin", {"2026-03-29": 3}),  # on whose 29 March an hour is missing
    ],
)
async def test_days_are_those_of_this_place(url: str, zone: object, name: str, days: dict[str, int]) -> None:
    assert callable(zone)
    zone(name)
    times = ((28, 23, 10), (29, 18, 10), (29, 18, 20))
    await written(url, *(row(time=datetime(2026, 3, day, hour, minute, tzinfo=UTC)) for day, hour, minute in times))
    ledger = Ledger(url)
    assert {group.name: group.requests for group in await ledger.groups("day")} == days
    await ledger.aclose()


async def test_session_is_summed_up(url: str) -> None:
    last = row(5, model="big", upstream="near", input=1000, cached=500, cache_write=0)
    side = row(6, class_="auxiliary", model="small")
    refused = row(7, status=429, provider_calls=0, cost=None)
    await written(url, row(1, cost=Decimal(1)), row(2, cost=None), last, side, refused, row(9, session="other"))
    ledger = Ledger(url)
    usage = await ledger.session("s-1")
    assert usage is not None
    assert (usage.requests, usage.unpriced, usage.key) == (5, 1, "key 1")
    assert usage.cost == Decimal("1.00000025")
    assert (usage.model, usage.upstream, usage.prompt) == ("big", "near", 1500)
    assert await ledger.session("unknown") is None
    await ledger.aclose()


async def test_row_that_the_database_does_not_take_is_told_and_does_not_keep_the_others(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await written(postgres_url, row(1), replace(row(2), status=99_999), row(3))
    assert [each.total_ms for each in await read(postgres_url)] == [1, 3]
    assert "the ledger does not take a row" in caplog.text


async def test_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep/ledger.db"
    await written(f"sqlite:///{path}", row())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
