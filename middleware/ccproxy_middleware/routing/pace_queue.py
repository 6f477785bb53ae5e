"""Who is next among those that wait for a turn."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..toolkit.asker import Asker

if TYPE_CHECKING:
    from .pace import Turn

_PRIORITIES = {"subagent": 1, "workflow": 1, "auxiliary": 2}


def priority_of(asker: Asker) -> int:
    """0 for the main conversation and for whoever tells nothing, 1 for subagents, 2 for work in the background."""
    return _PRIORITIES.get(asker.request_class or "", 0)


@dataclass(eq=False, slots=True)
class Waiter:
    """One that waits. ``since``: seconds of the event loop's clock; ``turn`` ends its wait."""

    tokens: int
    priority: int
    session: str | None
    since: float
    turn: "asyncio.Future[Turn]"


class TurnQueue:
    """Those that wait: whoever has waited ``patience`` seconds first, then by priority, each session in its turn.

    Waiters without a session share one place among the sessions. Nothing here takes longer when more of them wait.
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
        """The next one, who stays in the queue; None where nobody waits."""
        if not self._arrivals:
            return None
        eldest = next(iter(self._arrivals))
        if now - eldest.since >= self._patience:
            return eldest
        sessions = self._classes[min(self._classes)]
        return next(iter(next(iter(sessions.values()))))

    def remove(self, waiter: Waiter, *, served: bool = False) -> None:
        """Take one out who has got a turn (``served``: then its session goes behind the others) or has gone away."""
        if self._arrivals.pop(waiter, waiter) is waiter:
            return  # it was out already
        sessions = self._classes[waiter.priority]
        waiting = sessions[waiter.session]
        del waiting[waiter]
        if not waiting:
            del sessions[waiter.session]
        elif served:
            sessions.move_to_end(waiter.session)
        if not sessions:
            del self._classes[waiter.priority]
