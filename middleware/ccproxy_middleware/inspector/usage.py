"""Usage and cost over days: the interface that the page queries, and the document that it gets."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from .views import Document

MAX_DAYS = 366
_SHOWN = 50  # groups of one kind at most
_GROUPS = {"days": "day", "models": "model", "agents": "class", "keys": "key"}


class Sum(Protocol):
    """The sum of some exchanges. ``name`` is None for those without one; ``unpriced`` of them have no known cost."""

    @property
    def name(self) -> str | None: ...
    @property
    def requests(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def input(self) -> int: ...
    @property
    def cached(self) -> int: ...
    @property
    def cache_write(self) -> int: ...
    @property
    def output(self) -> int: ...
    @property
    def cost(self) -> Decimal: ...
    @property
    def unpriced(self) -> int: ...


class Usage(Protocol):
    """Returns usage, for all processes that share it."""

    async def groups(self, by: str, since: datetime | None = None) -> Sequence[Sum]:
        """The sums of the exchanges since a time, by ``day``, ``model``, ``class`` or ``key``; days in their order."""
        ...


Budgets = Callable[[], Awaitable[Sequence[Document]]]
"""The caps of money: ``key``, ``period``, ``spent`` and ``cap`` in US dollars, ``reset`` in seconds since the epoch."""


async def usage_document(usage: Usage, budgets: Budgets | None, days: int) -> Document:
    """The cost of the last days, today included, and the used part of the budgets."""
    today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    since = (today - timedelta(days=days - 1)).astimezone(UTC)
    found = {name: [_shown(group) for group in await usage.groups(by, since)] for name, by in _GROUPS.items()}
    return {
        **{name: groups if name == "days" else groups[:_SHOWN] for name, groups in found.items()},
        "since": (today - timedelta(days=days - 1)).date().isoformat(),
        "until": today.date().isoformat(),
        "budgets": list(await budgets()) if budgets is not None else [],
    }


def _shown(group: Sum) -> Document:
    counts = ("name", "requests", "failed", "input", "cached", "cache_write", "output", "unpriced")
    return {**{name: getattr(group, name) for name in counts}, "cost": float(group.cost)}
