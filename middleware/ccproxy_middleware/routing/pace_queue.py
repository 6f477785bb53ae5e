"""The order of the requests that wait for a turn."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ..toolkit.asker import Asker

_PRIORITIES = {"subagent": 1, "workflow": 1, "auxiliary": 2}


def priority_of(asker: Asker) -> int:
    """0 for the main conversation and for requests that don't state one, 1 for subagents, 2 for background work."""
    return _PRIORITIES.get(asker.request_class or "", 0)


@dataclass(eq=False, slots=True)
class Waiter:
    """A waiting request. ``since``: seconds of the event loop's clock; ``turn`` ends its wait, with a Turn."""

    tokens: int
    priority: int
    session: str | None
    since: float
    turn: "asyncio.Future[Any]"


class TurnQueue:
    """The waiting requests: first those that have waited ``patience`` seconds, then by priority, with sessions
    alternating.

    Requests without a session are treated as one session. No operation takes longer when more requests wait.
    """

    def __init__(self, *, patience: float) -> None:
        self._patience = patience
        self._arrivals: OrderedDict[Waiter, None] = OrderedDict()
        self._classes: dict[int, OrderedDict[str | None, OrderedDict[Waiter, None]]] = {}

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(self, waiter: Waiter) -> None:
        sessions = self._classes.setdefault(waiter.priority, OrderedDict())
        sessions.setdefault(waiter.session, OrderedDict())[waiter] = None
        self._arrivals[waiter] = None

    def first(self, now: float) -> Waiter | None:
        """The next one, which stays in the queue; None if there is none."""
        if not self._arrivals:
            return None
        eldest = next(iter(self._arrivals))
        if now - eldest.since >= self._patience:
            return eldest
        sessions = self._classes[min(self._classes)]
        return next(iter(next(iter(sessions.values()))))

    def remove(self, waiter: Waiter, *, served: bool = False) -> None:
        """Remove one that has got a turn (``served``: then its session goes to the end of the queue) or was
        cancelled.
        """
        if self._arrivals.pop(waiter, waiter) is waiter:
            return  # it was removed already
        sessions = self._classes[waiter.priority]
        waiting = sessions[waiter.session]
        del waiting[waiter]
        if not waiting:
            del sessions[waiter.session]
        elif served:
            sessions.move_to_end(waiter.session)
        if not sessions:
            del self._classes[waiter.priority]
