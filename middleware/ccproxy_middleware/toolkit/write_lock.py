"""A lock for the few tasks that write one answer."""

import anyio


class WriteLock:
    """Use ``async with`` to send something as a whole. anyio's own lock takes ten times as long if it is free."""

    __slots__ = ("_freed", "_taken")

    def __init__(self) -> None:
        self._taken = False
        self._freed: anyio.Event | None = None

    async def __aenter__(self) -> None:
        while self._taken:
            if self._freed is None:
                self._freed = anyio.Event()
            await self._freed.wait()
        self._taken = True

    async def __aexit__(self, *failure: object) -> None:
        self._taken = False
        if self._freed is not None:
            self._freed.set()
            self._freed = None
