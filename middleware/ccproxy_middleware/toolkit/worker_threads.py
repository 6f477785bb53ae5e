"""Work that would block the event loop, run in a worker thread."""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")

# The interpreter runs one task at a time anyway: with two in progress, the event loop might wait for both.
_one: RunVar[anyio.CapacityLimiter] = RunVar("ccproxy.one_work")


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function in a worker thread. Returns its result, or raises its exception. Calls run one after the other.

    The exception is not passed through the thread's future: its traceback would reference the future, and the future
    the exception. Everything that its frames hold, such as a body, would stay until the garbage collector runs.
    """
    outcome: list[T | Exception] = []
    limiter = _one.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(1)
        _one.set(limiter)
    try:
        if await anyio.to_thread.run_sync(_call, function, outcome, limiter=limiter):
            return outcome[0]  # type: ignore[return-value]
        raise outcome[0]  # type: ignore[misc]
    finally:
        outcome.clear()


def _call(function: Callable[[], T], outcome: list[T | Exception]) -> bool:
    """Whether the function has returned. ``outcome`` is its result or its exception."""
    try:
        outcome.append(function())
    except Exception as error:
        outcome.append(error)
        return False
    return True
