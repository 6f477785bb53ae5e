"""Work that would hold the event loop up, in a worker thread."""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")

# The interpreter does one work at a time anyway: of two that go on, the event loop might have to wait for both.
_one: RunVar[anyio.CapacityLimiter] = RunVar("ccproxy.one_work")


async def in_thread(function: Callable[[], T]) -> T:
    """The result of a function that is called in a worker thread, or what it raises. One is called after the other.

    An exception doesn't go through the thread's future, which would be kept by its traceback, and keep it: all that its
    frames hold, such as a body, would stay until the garbage collector comes.
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
    """Whether the function has returned. ``outcome`` is what it returns or raises."""
    try:
        outcome.append(function())
    except Exception as error:
        outcome.append(error)
        return False
    return True
