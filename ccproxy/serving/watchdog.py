"""Reports, while it happens, a request that blocks the event loop: every stream waits meanwhile."""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("ccproxy")

_PAUSE = 0.25  # fraction of the limit between two checks: every block that lasts the whole limit is detected
_FRAMES = 6  # the innermost frames of the running code


@contextmanager
def watched_loop(limit: float = 1.0) -> Iterator[None]:
    """Log a warning when the running event loop is blocked for ``limit`` seconds, and name the request.

    A thread asks the loop for a sign of life several times within ``limit``. This adds no other cost to requests.
    """
    watchdog = _Watchdog(asyncio.get_running_loop(), limit)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.end.set()


class _Watchdog(threading.Thread):
    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.end = threading.Event()
        self._loop = loop
        self._limit = limit
        self._loops_thread = threading.get_ident()

    def run(self) -> None:
        alive = threading.Event()
        while not self.end.wait(self._limit * _PAUSE):
            alive.clear()
            try:
                self._loop.call_soon_threadsafe(alive.set)
            except RuntimeError:  # the loop is closed
                return
            if not alive.wait(self._limit * (1 - _PAUSE)):
                self._tell()
                while not alive.wait(self._limit):  # once for each block
                    if self.end.is_set() or self._loop.is_closed():
                        return

    def _tell(self) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._loops_thread)
        if task is None or frame is None:  # it has resumed by now
            return
        code = "".join(traceback.format_stack(frame)[-_FRAMES:])
        fields = {"request_id": task.get_name(), "seconds": self._limit, "code": code}
        logger.warning("the event loop is held up", extra=fields)
