"""How long a body may be silent."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType


class IdleLimit:
    """Raises TimeoutError where the read of a chunk takes longer than ``seconds``; what lies between two reads is free.

    One timer serves all reads of a body: ``asyncio.timeout`` around each costs more than the read. ``expired`` tells a
    TimeoutError of this limit from others.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._reading_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def expired(self) -> bool:
        return self._timeout.expired()

    async def __aenter__(self) -> "IdleLimit":
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._seconds, self._check)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._timer is not None  # noqa: S101
        self._timer.cancel()
        await self._timeout.__aexit__(kind, exc, traceback)

    async def read(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The next chunk, None at the end."""
        self._reading_since = self._loop.time()
        chunk = await anext(chunks, None)
        self._reading_since = None
        return chunk

    def _check(self) -> None:
        now = self._loop.time()
        since = now if self._reading_since is None else self._reading_since
        left = since + self._seconds - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._check)
        else:
            self._timeout.reschedule(now)
