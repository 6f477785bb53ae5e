"""The free capacity within an upstream's limits, counted in this process."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from limits.aio.storage import Storage
    from limits.aio.storage.base import SlidingWindowCounterSupport

logger = logging.getLogger("ccproxy.routing")

_AGAIN = 0.01  # seconds, added so that an entry has really left the window when it is checked again
_ANY = 2**53  # no limit


@dataclass(frozen=True, slots=True)
class Rates:
    """An upstream's limits; None is no limit. ``rpm`` and ``tpm``: requests and tokens in any ``window`` seconds."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    window: int = 60

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "concurrency", "window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")


@dataclass(frozen=True, slots=True)
class Place:
    """A counted request: its tokens, when it started (monotonic seconds), and its number among those in progress."""

    tokens: int
    since: float
    id: str


class PaceLimits(Protocol):
    """Counts the requests that a Pace starts, for one process or for all that share a store."""

    async def take(self, tokens: int) -> Place | float:
        """Count a request if the limits allow it; otherwise return the seconds until the next attempt makes sense.

        They are infinite if a request must end first; then the callback of ``on_free`` is called.
        """
        ...

    def release(self, place: Place, tokens: int) -> None:
        """The request is over and has used so many tokens. Its place becomes free soon; this does not block."""
        ...

    def on_free(self, wake: Callable[[], None]) -> None:
        """Set the callback for when a place among the concurrent requests has become free."""
        ...


class RateCounter:
    """Requests and tokens of a sliding minute, counted by the package ``limits`` in one of its storages.

    Requests are counted exactly. Tokens are counted per minute; those of the previous minute are weighted by its share
    in the sliding window. This allows for later corrections.
    """

    def __init__(self, name: str, rates: Rates, storage: "Storage") -> None:
        from limits import RateLimitItemPerSecond
        from limits.aio.strategies import MovingWindowRateLimiter

        self._name = name
        self._rates = rates
        self._exact = MovingWindowRateLimiter(storage)
        self._weighed = cast("SlidingWindowCounterSupport", storage)
        self._requests = RateLimitItemPerSecond(rates.rpm, rates.window, "requests") if rates.rpm else None
        self._key = f"tokens/{name}/{rates.window}"

    async def hit(self, tokens: int) -> float:
        """Count a request of so many tokens; at most the whole limit is counted.

        A result other than 0: nothing was counted, and capacity may be free after so many seconds.
        """
        tokens = self._at_most(tokens)
        if tokens and not await self._add(tokens, self._rates.tpm or 0):
            return await self._until_room_for(tokens)
        if self._requests and not await self._exact.hit(self._requests, self._name):
            await self._add(-tokens, _ANY)
            free = (await self._exact.get_window_stats(self._requests, self._name)).reset_time
            return max(0.0, free - time.time()) + _AGAIN
        return 0.0

    async def correct(self, place: Place, tokens: int) -> None:
        """Correct the count to the actual use. The unused part is returned as far as it still counts."""
        more = self._at_most(tokens) - self._at_most(place.tokens)
        if more < 0:
            more = int(more * max(0.0, 1 - (time.monotonic() - place.since) / self._rates.window))
        await self._add(more, _ANY)

    async def _add(self, tokens: int, limit: int) -> bool:
        if not tokens:
            return True
        return await self._weighed.acquire_sliding_window_entry(self._key, limit, self._rates.window, tokens)

    async def _until_room_for(self, tokens: int) -> float:
        counts = await self._weighed.get_sliding_window(self._key, self._rates.window)
        return _AGAIN + seconds_until((self._rates.tpm or 0) - tokens, *counts, self._rates.window)

    def _at_most(self, tokens: int) -> int:
        return min(max(tokens, 0), self._rates.tpm or 0)


def seconds_until(count: int, before: int, before_left: float, now: int, now_left: float, window: int) -> float:
    """When a sliding count falls to ``count``. The previous window has ``before_left`` seconds left.

    The current window counts in full until ``window`` seconds before the end of ``now_left``.
    """
    if now <= count:
        return max(0.0, before_left - (count - now) * window / before) if before > 0 else 0.0
    return max(0.0, now_left - window) + window * (1 - max(0, count) / now)


class LocalLimits:
    """PaceLimits of this process. Raises ModuleNotFoundError where a rate is set and ``limits`` is not installed."""

    def __init__(self, name: str, rates: Rates) -> None:
        self._limit = rates.concurrency
        self._running = 0
        self._refused = False
        self._wake: Callable[[], None] = _nobody
        self._ids = count(1)
        self._work = Work()
        self._rates: RateCounter | None = None
        if rates.rpm or rates.tpm:
            from .pace_memory import PaceMemory

            self._rates = RateCounter(name, rates, PaceMemory())

    async def take(self, tokens: int) -> Place | float:
        if self._limit is not None and self._running >= self._limit:
            self._refused = True
            return math.inf
        self._running += 1
        seconds: float | None = None
        try:
            seconds = await self._rates.hit(tokens) if self._rates else 0.0
        finally:
            if seconds != 0.0:
                self._free()
        return seconds or Place(tokens, time.monotonic(), str(next(self._ids)))

    async def count(self, tokens: int) -> None:
        """Count a request that was admitted elsewhere, whether or not the limits allow it."""
        self._running += 1
        if self._rates:
            await self._rates.hit(tokens)

    def release(self, place: Place, tokens: int) -> None:
        self._free()
        if self._rates:
            self._work.begin(self._rates.correct(place, tokens))

    def on_free(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def _free(self) -> None:
        self._running -= 1
        if self._refused:
            self._refused = False
            self._wake()


class Work:
    """Work that continues after a call that does not block. Its exceptions are logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def over(self) -> None:
        """Wait until all of it has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a pace can't be put right: %s", type(error).__name__)


def _nobody() -> None:
    """No request waits."""
