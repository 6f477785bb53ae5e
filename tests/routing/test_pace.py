"""An upstream's pace: who gets a turn, in what order, and when."""

import asyncio
import contextlib
import gc
from collections import Counter

import pytest

from ccproxy_middleware.routing import LocalLimits, Pace, Turn, priority_of
from ccproxy_middleware.routing.pace_limits import seconds_until
from ccproxy_middleware.routing.pace_queue import TurnQueue, Waiter
from ccproxy_middleware.toolkit.asker import Asker
from ccproxy_middleware.toolkit.errors import ApiError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Line:
    """Requests that wait for turns of a pace with room for one at once; each ends as soon as it has begun."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def add(self, name: str, *, priority: int = 0, session: str | None = None) -> None:
        async def ask() -> None:
            turn = await self.pace.enter(1, priority=priority, session=session or name, timeout=30)
            self.order.append(name)
            turn.done()

        self.tasks.append(asyncio.create_task(ask()))
        await asyncio.sleep(0)

    async def over(self) -> list[str]:
        async with asyncio.timeout(20):
            await asyncio.gather(*self.tasks)
        return self.order


def limits_of(pace: Pace) -> LocalLimits:
    assert isinstance(pace._limits, LocalLimits)
    return pace._limits


async def tokens_counted(pace: Pace) -> int:
    await limits_of(pace)._work.over()
    rates = limits_of(pace)._rates
    assert rates is not None
    before, _, now, _ = await rates._weighed.get_sliding_window(rates._key, 60)
    return before + now


async def full(pace: Pace) -> Turn:
    turn = await pace.try_enter(1)
    assert turn is not None
    assert await pace.try_enter(1) is None
    return turn


async def test_places_at_once_are_limited_and_free_again() -> None:
    pace = Pace("a", concurrency=2)
    first, second = [await pace.enter(1, priority=0, session=None, timeout=1) for _ in range(2)]
    assert await pace.try_enter(1) is None
    third = asyncio.create_task(pace.enter(1, priority=0, session=None, timeout=20))
    await asyncio.sleep(0)
    assert pace.waiting == 1
    first.done()
    first.done()  # of no effect
    turn = await third
    assert turn.waited > 0
    assert (pace.waiting, pace.waited) == (0, 1)
    assert pace.waits > 0
    assert await pace.try_enter(1) is None
    second.done()
    turn.done()
    assert [await pace.try_enter(1) is None for _ in range(3)] == [False, False, True]


async def test_main_conversation_goes_before_subagents_and_background_work() -> None:
    pace = Pace("a", concurrency=1)
    turn = await full(pace)
    line = Line(pace)
    for name, asker in (
        ("background", Asker(request_class="auxiliary")),
        ("subagent", Asker(request_class="subagent")),
        ("workflow", Asker(request_class="workflow")),
        ("main", Asker(request_class="main")),
        ("unknown", Asker()),
        ("compaction", Asker(request_class="compaction")),
    ):
        await line.add(name, priority=priority_of(asker))
    turn.done()
    assert await line.over() == ["main", "unknown", "compaction", "subagent", "workflow", "background"]


async def test_sessions_take_turns() -> None:
    pace = Pace("a", concurrency=1)
    turn = await full(pace)
    line = Line(pace)
    for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        await line.add(name, session=name[0])
    turn.done()
    assert await line.over() == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_who_has_waited_long_goes_first_whatever_its_class() -> None:
    class Impatient(Pace):
        patience = 0.3

    pace = Impatient("a", concurrency=1)
    turn = await full(pace)
    line = Line(pace)
    await line.add("background", priority=2)
    await asyncio.sleep(0.4)
    await line.add("main")
    turn.done()
    assert await line.over() == ["background", "main"]


async def test_wait_ends_with_529_and_retry_after() -> None:
    pace = Pace("Second", rpm=2, concurrency=7)
    for _ in range(2):
        await pace.enter(1, priority=0, session=None, timeout=1)
    with pytest.raises(ApiError) as failed:
        await pace.enter(1, priority=0, session=None, timeout=0.05)
    error = failed.value
    assert (error.status, error.type) == (529, "overloaded_error")
    assert "Second" in error.message
    assert "(RPM 2, CONCURRENCY 7)" in error.message
    [(name, value)] = error.headers
    assert name == "retry-after"
    assert 55 <= int(value) <= 60
    assert pace.waiting == 0


async def test_one_that_goes_away_leaves_its_place_to_the_next() -> None:
    pace = Pace("a", concurrency=1)
    turn = await full(pace)
    line = Line(pace)
    for name in "abc":
        await line.add(name, session="s")
    line.tasks[0].cancel()
    line.tasks[1].cancel()
    await asyncio.wait(line.tasks[:2])
    assert pace.waiting == 1
    turn.done()
    await line.tasks[2]
    assert line.order == ["c"]
    await full(pace)


async def test_turn_that_comes_in_the_moment_of_leaving_is_given_back() -> None:
    pace = Pace("a", concurrency=1)
    for steps in range(12):  # of the event loop, between the end of one request and the cancelling of another
        turn = await full(pace)
        waiting = asyncio.create_task(pace.enter(1, priority=0, session=None, timeout=20))
        await asyncio.sleep(0)
        turn.done()
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await waiting).done()
        last = await pace.enter(1, priority=0, session=None, timeout=5)
        last.done()
        for _ in range(5):
            await asyncio.sleep(0)
    assert pace.waiting == 0


async def test_requests_in_a_sliding_window_come_at_once_and_then_as_they_leave_it() -> None:
    pace = Pace("a", rpm=5, window=1)
    loop = asyncio.get_running_loop()
    start = loop.time()
    times: list[float] = []

    async def ask() -> None:
        turn = await pace.enter(1, priority=0, session=None, timeout=30)
        times.append(loop.time() - start)
        turn.done()

    await asyncio.gather(*(ask() for _ in range(12)))
    assert times[4] < 0.9
    for early, late in zip(times, times[5:], strict=False):
        assert late - early > 0.95
    assert times[-1] < 10


async def test_tokens_are_limited_and_put_right_by_what_was_used() -> None:
    pace = Pace("a", tpm=1000)
    turn = await pace.try_enter(900)
    assert turn is not None
    assert await pace.try_enter(200) is None
    turn.done(100)
    await limits_of(pace)._work.over()
    second = await pace.try_enter(800)
    assert second is not None
    assert await pace.try_enter(200) is None
    second.done(2000)
    await limits_of(pace)._work.over()
    assert await pace.try_enter(1) is None


async def test_request_that_finds_no_room_for_itself_costs_no_tokens() -> None:
    pace = Pace("a", rpm=1, tpm=1000)
    assert await pace.try_enter(10) is not None
    for _ in range(200):
        assert await pace.try_enter(100) is None
    assert await tokens_counted(pace) == 10


async def test_request_larger_than_the_limit_gets_all_there_is() -> None:
    pace = Pace("a", tpm=1000)
    turn = await pace.try_enter(5000)
    assert turn is not None
    assert await pace.try_enter(1) is None


async def test_without_limits_nobody_waits() -> None:
    pace = Pace("a")
    turns = [await pace.try_enter(10**9) for _ in range(100)]
    assert all(turns)


@pytest.mark.parametrize("limit", ["rpm", "tpm", "concurrency", "window"])
def test_limit_below_one_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match=f"{limit} must be at least 1"):
        Pace("a", **{limit: 0})  # type: ignore[arg-type]


async def test_waiting_costs_no_work_and_leaves_nothing_behind() -> None:
    pace = Pace("a", concurrency=1)
    turn = await full(pace)
    asked: Counter[str] = Counter()
    take = pace._limits.take

    async def counted(tokens: int) -> object:
        asked["take"] += 1
        return await take(tokens)

    pace._limits.take = counted  # type: ignore[method-assign, assignment]
    line = Line(pace)
    for number in range(300):
        await line.add(str(number), priority=number % 3, session=str(number % 7))
    await asyncio.sleep(0.2)
    assert asked["take"] < 310
    turn.done()
    assert len(await line.over()) == 300
    assert asked["take"] < 1000
    gc.collect()
    assert not [found for found in gc.get_objects() if isinstance(found, Waiter)]


def test_queue_forgets_whoever_leaves() -> None:
    queue = TurnQueue(patience=20)
    loop = asyncio.new_event_loop()
    waiters = [Waiter(1, n % 3, str(n % 5), float(n), loop.create_future()) for n in range(60)]
    for waiter in waiters:
        queue.add(waiter)
    assert queue.first(59.0) is waiters[0]
    for waiter in reversed(waiters):
        queue.remove(waiter)
        queue.remove(waiter)
    assert (len(queue), queue.first(100.0), queue._classes) == (0, None, {})
    loop.close()


@pytest.mark.parametrize(
    ("count", "before", "before_left", "now", "now_left", "seconds"),
    [
        (5, 0, 0.0, 3, 90.0, 0.0),  # there is room
        (5, 10, 30.0, 3, 90.0, 18.0),  # 10 * 12 / 60 + 3 are 5
        (5, 10, 30.0, 5, 90.0, 30.0),
        (5, 10, 30.0, 10, 90.0, 60.0),  # this window ends in 30 seconds, and half of it is gone 30 later
        (0, 0, 0.0, 10, 120.0, 120.0),
        (-7, 0, 0.0, 10, 120.0, 120.0),
        (5, 10, 2.0, -4, 62.0, 0.0),
    ],
)
def test_time_until_there_is_room(
    count: int, before: int, before_left: float, now: int, now_left: float, seconds: float
) -> None:
    assert seconds_until(count, before, before_left, now, now_left, 60) == pytest.approx(seconds)


async def test_what_counts_in_memory_is_bounded() -> None:
    from ccproxy_middleware.routing.pace_memory import PaceMemory

    memory = PaceMemory()
    taken = [await memory.acquire_entry("requests", 5, 60) for _ in range(500)]
    assert (sum(taken), len(memory.events["requests"])) == (5, 5)
    assert not await memory.acquire_entry("requests", 5, 60, amount=6)
    for number in range(50):
        await memory.incr(f"tokens/{number}", 0.001, amount=7)
        await asyncio.sleep(0.002)
    assert await memory.get("tokens/49") == 0
    assert await memory.incr("tokens/now", 60, amount=-3) == -3
    assert await memory.incr("tokens/now", 60, amount=5) == 2
    assert (dict(memory.storage), len(memory.expirations)) == ({"tokens/now": 2}, 1)
    assert memory.timer is None, "no thread looks for what has expired"
