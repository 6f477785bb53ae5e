"""An upstream's concurrency and rate limits: requests wait for their turn instead of being refused by the upstream."""

import asyncio
import logging
import math

from ..toolkit.errors import ApiError
from .pace_limits import LocalLimits, PaceLimits, Place, Rates
from .pace_queue import TurnQueue, Waiter

logger = logging.getLogger("ccproxy.routing")


class Turn:
    """A request's permission to call its upstream. ``done`` must be called once it is over. ``waited``: seconds."""

    __slots__ = ("_limits", "_place", "waited")

    def __init__(self, limits: PaceLimits, place: Place, waited: float) -> None:
        self._limits = limits
        self._place: Place | None = place
        self.waited = waited

    def done(self, tokens_used: int | None = None) -> None:
        """The request is over and has used so many tokens, or the expected number if None. Later calls do nothing.

        It does not block; waiting requests are notified soon afterwards.
        """
        place, self._place = self._place, None
        if place is not None:
            self._limits.release(place, place.tokens if tokens_used is None else tokens_used)


class Pace:
    """The limits of the upstream ``name``: requests and tokens in any ``window`` seconds, and concurrent requests.

    None is no limit. Bursts are allowed: after a quiet window, everything that a window allows may start at once.
    ``limits`` replaces the counting in this process. Raises ValueError for a limit below 1, and ModuleNotFoundError
    where a rate is set and the package ``limits`` is not installed. Needs asyncio.

    ``waiting``: the number of requests that wait. ``waits`` and ``waited``: how many have waited, and their total
    seconds.
    """

    patience = 20.0  # seconds of waiting after which a request comes first, whatever its priority

    def __init__(
        self,
        name: str,
        *,
        rpm: int | None = None,
        tpm: int | None = None,
        concurrency: int | None = None,
        window: int = 60,
        limits: PaceLimits | None = None,
    ) -> None:
        self.name = name
        self.rates = Rates(rpm, tpm, concurrency, window)
        self.waited = 0
        self.waits = 0.0
        self._limits = LocalLimits(name, self.rates) if limits is None else limits
        self._limits.on_free(self._wake)
        self._queue = TurnQueue(patience=self.patience)
        self._free = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._soon = 0.0  # when a place may be free, by the event loop's clock

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def try_enter(self, tokens: int) -> Turn | None:
        """A turn for a request of so many tokens, or None if it would have to wait or others are waiting already."""
        if len(self._queue):
            return None
        taken = await self._limits.take(tokens)
        return Turn(self._limits, taken, 0.0) if isinstance(taken, Place) else None

    async def enter(self, tokens: int, *, priority: int, session: str | None, timeout: float) -> Turn:  # noqa: ASYNC109
        """A turn, after a wait of at most ``timeout`` seconds; after that a 529 ``overloaded_error`` with
        ``retry-after``.

        A lower ``priority`` comes first, and the sessions of one priority alternate. See :func:`priority_of`.
        """
        if turn := await self.try_enter(tokens):
            return turn
        loop = asyncio.get_running_loop()
        waiter = Waiter(tokens, priority, session, loop.time(), loop.create_future())
        self._queue.add(waiter)
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._serve())
        elif self._queue.first(loop.time()) is waiter:
            self._free.set()
        try:
            async with asyncio.timeout(timeout):
                granted: Turn = await waiter.turn
                return granted
        except BaseException as error:
            if waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
                waiter.turn.result().done(0)  # it came at the same moment
            if isinstance(error, TimeoutError):
                raise self._too_long(timeout) from None
            raise
        finally:
            self._leave(waiter, loop.time())

    def _leave(self, waiter: Waiter, now: float) -> None:
        if self._queue.first(now) is waiter:
            self._free.set()
        self._queue.remove(waiter)
        self.waited += 1
        self.waits += now - waiter.since

    async def _serve(self) -> None:
        """Grant turns in the order of the queue until no request waits."""
        loop = asyncio.get_running_loop()
        while waiter := self._queue.first(loop.time()):
            self._free.clear()
            try:
                taken = await self._limits.take(waiter.tokens)
            except Exception as error:
                logger.exception("the pace of %s can't be counted", self.name)
                self._queue.remove(waiter)
                if not waiter.turn.done():
                    waiter.turn.set_exception(error)
                continue
            if not isinstance(taken, Place):
                self._soon = loop.time() + taken
                await self._until_room(taken)
                continue
            self._queue.remove(waiter, served=True)
            if waiter.turn.done():  # it was cancelled, and is still in the queue
                self._limits.release(taken, 0)
            else:
                waiter.turn.set_result(Turn(self._limits, taken, loop.time() - waiter.since))

    async def _until_room(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._free.wait()
        except TimeoutError:
            pass

    def _too_long(self, timeout: float) -> ApiError:
        limits = {"RPM": self.rates.rpm, "TPM": self.rates.tpm, "CONCURRENCY": self.rates.concurrency}
        told = ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
        message = f"the upstream {self.name} had no turn for this request within {timeout:g} seconds ({told})"
        seconds = self._soon - asyncio.get_running_loop().time()
        retry = min(60, max(1, math.ceil(seconds))) if seconds < math.inf else 5
        return ApiError(529, "overloaded_error", message, headers=[("retry-after", str(retry))])

    def _wake(self) -> None:
        self._free.set()
