"""Plans for prompts: from the cache, from a call that is already in progress, or from a new one.

A planner call runs in a task of its own, so that a client that disconnects doesn't end it for others that wait for the
same plan. It is cancelled when the last one disconnects.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from ..toolkit.record import ProviderCall
from .cache import BoostCache
from .plan import read_plan
from .planner import Planner, PlannerAnswer, PlannerError

logger = logging.getLogger("ccproxy.boost")

_Ask = Callable[[Callable[[str], None], list[ProviderCall]], Awaitable[PlannerAnswer]]


class Plans:
    """Calls the planner as rarely as possible. Needs asyncio; one instance may serve several event loops."""

    def __init__(self, planner: Planner, cache: BoostCache) -> None:
        self._planner = planner
        self._cache = cache
        self._flights: dict[tuple[asyncio.AbstractEventLoop, str], _Flight] = {}

    async def stream(
        self, prompt: str, request_id: str, calls: list[ProviderCall] | None = None
    ) -> AsyncGenerator[str | PlannerAnswer, None]:
        """The text of the planner's answer as it arrives, and at the end the whole answer; a cached one is returned at
        once.

        The provider calls that were made for it are added to the ``calls`` of only one of the requests that share it.
        Raises PlannerError. Close it (``aclosing``) to stop listening.
        """
        planner = self._planner
        identity = f"{','.join(planner.models)}\0{planner.max_tokens}\0{prompt}".encode("utf-8", "surrogatepass")
        key = hashlib.sha256(identity).hexdigest()
        stored = await self._stored(key)
        if stored is not None:
            yield stored
            return

        async def ask(on_text: Callable[[str], None], made: list[ProviderCall]) -> PlannerAnswer:
            answer = await planner.ask(prompt, request_id, on_text, made)
            if read_plan(answer.text).kind != "OTHER":
                await self._store(key, answer)
            return answer

        place = (asyncio.get_running_loop(), key)
        flight = self._flights.get(place)
        if flight is None:

            def forget(ended: _Flight) -> None:
                if self._flights.get(place) is ended:
                    del self._flights[place]

            flight = self._flights[place] = _Flight(ask, forget)
        async with aclosing(flight.listen(calls)) as pieces:
            async for piece in pieces:
                yield piece

    async def _stored(self, key: str) -> PlannerAnswer | None:
        try:
            data = await self._cache.get(key)
            return None if data is None else PlannerAnswer.load(data)
        except Exception as error:
            logger.warning("the cache of plans can't be read: %s", type(error).__name__)
            return None

    async def _store(self, key: str, answer: PlannerAnswer) -> None:
        try:
            await self._cache.set(key, answer.dump())
        except Exception as error:
            logger.warning("the cache of plans can't be written: %s", type(error).__name__)


class _Flight:
    """A call to the planner, and all its listeners. ``on_over`` is called once no further listener may join."""

    def __init__(self, ask: _Ask, on_over: "Callable[[_Flight], None]") -> None:
        self._pieces: list[str] = []
        self._calls: list[ProviderCall] = []  # that no listener has taken yet
        self._news = asyncio.Event()
        self._listeners = 0
        self._on_over = on_over
        self._task = asyncio.create_task(self._run(ask))
        self._task.add_done_callback(self._over)

    async def listen(self, calls: list[ProviderCall] | None) -> AsyncGenerator[str | PlannerAnswer, None]:
        """All text so far and to come, then the whole answer. Raises PlannerError."""
        self._listeners += 1
        read = 0
        try:
            while True:
                news = self._news
                if read < len(self._pieces):
                    text = "".join(self._pieces[read:])
                    read = len(self._pieces)
                    yield text
                elif self._task.done():
                    break
                else:
                    await news.wait()
            if self._task.cancelled():
                raise PlannerError("the call was cancelled")
            answer = self._task.result()
            self._give(calls)
            yield answer
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._on_over(self)
                self._task.cancel()
            self._give(calls)

    def _give(self, calls: list[ProviderCall] | None) -> None:
        """The first listener to ask when they are over records them in its exchange."""
        if calls is not None:
            calls += self._calls
            self._calls.clear()

    async def _run(self, ask: _Ask) -> PlannerAnswer:
        return await ask(self._on_text, self._calls)

    def _on_text(self, text: str) -> None:
        self._pieces.append(text)
        self._wake()

    def _over(self, task: "asyncio.Task[PlannerAnswer]") -> None:
        self._on_over(self)
        self._wake()
        if not task.cancelled():
            task.exception()  # possibly no listener is left

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
