"""Processes that share facts and limits by a real server, which goes away and comes back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from ccproxy.state import SharedState
from ccproxy_middleware.routing import Pace, Rates, Turn
from ccproxy_middleware.toolkit.errors import ApiError
from support.serving.state_server import StateServer

pytestmark = pytest.mark.anyio

SOON = 20.0  # seconds within which what a test waits for has happened


async def until(condition: Callable[[], object]) -> float:
    """Wait for something; the seconds that it took."""
    start = time.monotonic()
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return time.monotonic() - start


@asynccontextmanager
async def sharing(server: StateServer, count: int = 2) -> AsyncIterator[list[SharedState]]:
    """So many that share the server's state, as workers do."""
    async with AsyncExitStack() as stack:
        states = [SharedState(server.url) for _ in range(count)]
        for state in states:
            await stack.enter_async_context(state.lifespan())
        await until(lambda: all(state.up for state in states))
        yield states


def connect(server: StateServer) -> Any:
    return Redis.from_url(server.url)


async def everything(server: StateServer) -> dict[str, Any]:
    """All that the server has, with its seconds to live."""
    client = connect(server)
    try:
        return {name.decode(): await client.ttl(name) for name in await client.keys("*")}
    finally:
        await client.aclose()


async def test_what_one_puts_the_others_know_soon(server: StateServer) -> None:
    async with sharing(server, 3) as (first, second, third):
        first.store.put("cooldown:a", b"429", 60)
        assert first.store.get("cooldown:a") == b"429"
        seconds = await until(lambda: second.store.get("cooldown:a") and third.store.get("cooldown:a"))
        assert seconds < 1
        assert list(third.store.items("cooldown:")) == [("cooldown:a", b"429")]
        second.store.delete("cooldown:a")
        await until(lambda: not first.store.get("cooldown:a") and not third.store.get("cooldown:a"))
        assert second.store.get("cooldown:a") is None


async def test_who_comes_later_knows_what_there_is(server: StateServer) -> None:
    async with sharing(server, 1) as (first,):
        for number in range(1000):
            first.store.put(f"affinity:{number}", b"%d" % number, 60)
        first.store.put("cooldown:short", b"x", 0.05)
        first.store.delete("affinity:7")
    async with sharing(server, 1) as (second,):
        known = dict(second.store.items("affinity:"))
        assert len(known) == 999
        assert known["affinity:999"] == b"999"
        await until(lambda: second.store.get("cooldown:short") is None)


async def test_facts_expire_on_the_server_and_in_every_copy(server: StateServer) -> None:
    async with sharing(server) as (first, second):
        first.store.put("cooldown:a", b"x", 0.5)
        await until(lambda: second.store.get("cooldown:a"))
        await until(lambda: not second.store.get("cooldown:a") and not first.store.get("cooldown:a"))
        first.store.put("cooldown:b", b"x", 0.2)
        limits = first.limits("up", Rates(rpm=5, tpm=1000, concurrency=2))
        await limits.take(10)
        kept = await everything(server)
        assert min(kept.values()) >= 0, f"something stays forever: {kept}"


async def test_all_end_with_the_value_that_came_last(server: StateServer) -> None:
    async with sharing(server, 4) as states:
        for turn in range(50):
            for number, state in enumerate(states):
                state.store.put("cooldown:a", f"{turn} {number}".encode(), 60)
            if turn % 5 == 0:
                await asyncio.sleep(0)
        for state in states:
            await until(lambda state=state: not state.store._pending and not state.store._sent)  # type: ignore[misc]
        for number, state in enumerate(states):
            state.store.put(f"affinity:last{number}", b"", 60)
        await until(lambda: all(len(list(state.store.items("affinity:"))) == 4 for state in states))
        values = {state.store.get("cooldown:a") for state in states}
        assert len(values) == 1
        assert values <= {f"49 {number}".encode() for number in range(4)}


async def test_server_that_is_killed_and_comes_back_empty_is_given_everything(
    server: StateServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ccproxy.state")
    async with sharing(server) as (first, second):
        first.store.put("cooldown:before", b"1", 60)
        second.store.put("affinity:before", b"2", 60)
        await until(lambda: second.store.get("cooldown:before") and first.store.get("affinity:before"))
        server.kill()
        await until(lambda: not first.up and not second.up)
        first.store.put("cooldown:meanwhile", b"3", 60)
        assert second.store.get("cooldown:before") == b"1"
        assert second.store.get("cooldown:meanwhile") is None
        await asyncio.sleep(0.5)
        assert sum(record.levelno >= logging.WARNING for record in caplog.records) == 2, "one for each process"
        server.start()
        await until(lambda: first.up and second.up)
        await until(lambda: second.store.get("cooldown:meanwhile"))
    async with sharing(server, 1) as (third,):
        assert {key for key, _ in third.store.items("")} >= {"cooldown:before", "cooldown:meanwhile"}
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 2
    assert all("STATE_URL" in line and "goes on with what it knows" in line for line in told)
    assert sum("is there again" in record.getMessage() for record in caplog.records) == 2


async def test_what_was_deleted_while_one_was_away_does_not_come_back(server: StateServer) -> None:
    async with sharing(server) as (first, second):
        first.store.put("cooldown:a", b"1", 60)
        await until(lambda: second.store.get("cooldown:a"))
        second._fail(ConnectionError("as if its network was away"))
        first.store.delete("cooldown:a")
        await until(lambda: second.up and second.store.get("cooldown:a") is None)
        assert first.store.get("cooldown:a") is None


async def test_server_that_hangs_delays_nobody_for_long(server: StateServer) -> None:
    async with sharing(server) as (first, _):
        pace = Pace("up", rpm=100, limits=first.limits("up", Rates(rpm=100)))
        assert await pace.try_enter(1)
        server.hang()
        start = time.monotonic()
        first.store.put("cooldown:a", b"1", 60)
        assert time.monotonic() - start < 0.5
        turns = await asyncio.gather(*(pace.enter(1, priority=0, session=None, timeout=20) for _ in range(20)))
        assert time.monotonic() - start < 10
        for turn in turns:
            turn.done()
        start = time.monotonic()
        for _ in range(20):
            assert await pace.try_enter(1)
        assert time.monotonic() - start < 5, "each waited for the server"
        server.go_on()
        await until(lambda: first.up)


async def test_limit_is_kept_over_all(server: StateServer) -> None:
    async with sharing(server, 4) as states:
        paces = [Pace("up", rpm=60, limits=state.limits("up", Rates(rpm=60))) for state in states]
        turns = [turn for _ in range(30) for pace in paces if (turn := await pace.try_enter(1))]
        assert len(turns) == 60


async def test_tokens_are_counted_and_put_right_over_all(server: StateServer) -> None:
    async with sharing(server) as (first, second):
        one, other = (Pace("up", tpm=1000, limits=state.limits("up", Rates(tpm=1000))) for state in (first, second))
        turn = await one.try_enter(900)
        assert turn is not None
        assert await other.try_enter(200) is None
        turn.done(100)
        second_turn = await other.enter(600, priority=0, session=None, timeout=SOON)
        assert second_turn.waited < 5
        second_turn.done(5000)
        async with asyncio.timeout(SOON):
            while turn := await one.try_enter(1):
                turn.done(1)
                await asyncio.sleep(0.05)


async def test_place_that_becomes_free_is_told_to_the_others(server: StateServer) -> None:
    async with sharing(server) as (first, second):
        one, other = (
            Pace("up", concurrency=2, limits=state.limits("up", Rates(concurrency=2))) for state in (first, second)
        )
        turns = [await one.try_enter(1) for _ in range(3)]
        assert [turn is None for turn in turns] == [False, False, True]
        waiting = asyncio.create_task(other.enter(1, priority=0, session=None, timeout=SOON))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        start = time.monotonic()
        assert turns[0] is not None
        turns[0].done()
        (await waiting).done()
        assert time.monotonic() - start < 0.9, "it was not told, but looked by itself"


async def test_pace_goes_on_by_its_own_counting_when_the_server_is_killed(server: StateServer) -> None:
    async with sharing(server) as (first, second):
        one, other = (
            Pace("up", rpm=10, limits=state.limits("up", Rates(rpm=10, concurrency=9))) for state in (first, second)
        )
        got: list[Turn | None] = [await one.try_enter(1) for _ in range(6)]
        assert all(got)
        server.kill()
        alone = [await one.try_enter(1) for _ in range(9)]
        assert sum(turn is not None for turn in alone) == 3, "9 at once"
        for turn in [*got, *alone]:
            if turn is not None:
                turn.done()
        assert sum([await one.try_enter(1) is not None for _ in range(9)]) == 1, "10 a minute, those before among them"
        assert sum([await other.try_enter(1) is not None for _ in range(15)]) == 9
        with pytest.raises(ApiError) as failed:
            await one.enter(1, priority=0, session=None, timeout=0.01)
        assert failed.value.status == 529


async def test_requests_of_a_process_that_was_killed_stop_counting(server: StateServer) -> None:
    async with sharing(server) as (first, second):
        rates = Rates(concurrency=1)
        assert not isinstance(await first.limits("up", rates).take(1), float)
        limits = second.limits("up", rates)
        assert isinstance(await limits.take(1), float)
        client = connect(server)
        [(name, until_then)] = await client.zrange("cc-boost:running:up", 0, -1, withscores=True)
        assert 20 < until_then / 1000 - time.time() <= 31
        await client.zadd("cc-boost:running:up", {name: 1000})  # as if half a minute had gone by
        await client.aclose()
        assert not isinstance(await limits.take(1), float)


async def test_facts_on_the_server_are_bounded(server: StateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccproxy.state.shared_store.MAX_FACTS", 50)
    async with sharing(server, 1) as (first,):
        for number in range(200):
            first.store.put(f"affinity:{number}", b"x" * 100, 60 + number)
        first.store.put("affinity:huge", b"x" * 1_000_000, 60)
        await until(lambda: not first.store._pending and not first.store._sent)
        names = [name for name in await everything(server) if name.startswith("cc-boost:fact:")]
        assert sorted(names) == sorted(f"cc-boost:fact:affinity:{number}" for number in range(150, 200))
        assert len(list(first.store.items(""))) == 201


async def test_server_that_refuses_to_write_is_told_of_once(
    server: StateServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with sharing(server) as (first, second):
        client = connect(server)
        await client.config_set("maxmemory", "1")
        first.store.put("cooldown:a", b"1", 60)
        await until(lambda: not first.up)
        await asyncio.sleep(1)
        assert first.store.get("cooldown:a") == b"1"
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
        await client.config_set("maxmemory", "0")
        await client.aclose()
        await until(lambda: second.store.get("cooldown:a"))


async def test_password_is_used_and_not_told(server: StateServer, caplog: pytest.LogCaptureFixture) -> None:
    client = connect(server)
    await client.config_set("requirepass", "planted-password")
    await client.aclose()
    right = server.url.replace("redis://", "redis://:planted-password@")
    wrong = server.url.replace("redis://", "redis://:planted-mistake@")
    async with AsyncExitStack() as stack:
        good, bad = SharedState(right), SharedState(wrong)
        for state in (good, bad):
            await stack.enter_async_context(state.lifespan())
        await until(lambda: good.up)
        await until(lambda: caplog.records)
        assert not bad.up
    assert "planted" not in caplog.text
    assert f"redis://127.0.0.1:{server.port}/3" in caplog.text


async def test_plans_are_shared_and_can_be_read_by_nobody_without_the_prompt(server: StateServer) -> None:
    async with sharing(server) as (first, second):
        await first.plans().set("a" * 64, b"planted-plan" * 100)
        mine, other = first.plans(), second.plans()
        await until(lambda: list(second.store.items("plan:")))
        assert await other.get("a" * 64) == await mine.get("a" * 64) == b"planted-plan" * 100
        assert await other.get("b" * 64) is None
        client = connect(server)
        for name in await client.keys("*"):
            assert b"a" * 64 not in name
            if name.startswith(b"cc-boost:fact:"):
                assert b"planted" not in await client.get(name)
        await client.aclose()
        [(name, sealed)] = second.store.items("plan:")
        second.store.put(name, sealed[:-1] + bytes([sealed[-1] ^ 1]), 60)
        assert await other.get("a" * 64) is None


async def test_state_works_without_its_lifespan(server: StateServer) -> None:
    async with sharing(server, 1) as (first,):
        mounted = SharedState(server.url)
        mounted.store.put("cooldown:a", b"1", 60)
        await until(lambda: first.store.get("cooldown:a"))
        await mounted.close()


async def test_databases_of_a_server_share_nothing(server: StateServer) -> None:
    async with sharing(server, 1) as (first,):
        other = SharedState(server.url.replace("/3", "/4"))
        async with other.lifespan():
            await until(lambda: other.up)
            first.store.put("cooldown:a", b"1", 60)
            await until(lambda: not first.store._pending and not first.store._sent)
            assert other.store.get("cooldown:a") is None
