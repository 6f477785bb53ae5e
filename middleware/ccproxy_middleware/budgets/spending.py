"""What a key has spent, and the refusal of a key that has reached its limit."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

from ..toolkit.errors import ApiError
from .limits import KeyLimits

logger = logging.getLogger("ccproxy.budgets")

_MAX_SUMS = 10_000
_CENT = Decimal("0.01")


class Spending(Protocol):
    """Returns what each key has spent, for all processes that share it."""

    async def spent(self, key: str, since: datetime) -> Decimal:
        """US dollars that the key with this name has spent since a moment (UTC).

        This includes the cost of all exchanges of this process that were over when the result is returned.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on cost: ``dollars`` in a ``period`` (``daily``, ``monthly``) from ``since`` until ``reset``, in UTC."""

    dollars: Decimal
    period: str
    since: datetime
    reset: datetime


def caps_of(limits: KeyLimits, now: datetime) -> list[Cap]:
    """The caps that apply at a moment, sorted so that the one with the latest reset comes first."""
    caps = []
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    if limits.usd_per_month is not None:
        caps.append(Cap(limits.usd_per_month, "monthly", month, (month + timedelta(days=32)).replace(day=1)))
    if limits.usd_per_day is not None:
        caps.append(Cap(limits.usd_per_day, "daily", day, day + timedelta(days=1)))
    return caps


def reached(key: str, cap: Cap, spent: Decimal, now: datetime) -> ApiError:
    """The 429 for a key that has reached its limit, with the headers by which Claude Code recognizes an exhausted
    limit.

    Without ``representative-claim`` and ``overage-status`` Claude Code shows the message unchanged.
    """
    reset = int(cap.reset.timestamp())
    headers = {
        "retry-after": str(max(1, math.ceil(reset - now.timestamp()))),
        "x-should-retry": "false",
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(reset),
        "anthropic-ratelimit-unified-overage-reset": str(reset),
        "anthropic-ratelimit-unified-overage-utilization": "1",
        "anthropic-ratelimit-unified-overage-surpassed-threshold": "1",
        "anthropic-ratelimit-unified-overage-period": cap.period,
        "anthropic-ratelimit-unified-overage-disabled-reason": "org_spend_cap_reached",
    }
    when = f"{cap.reset:%b} {cap.reset.day}, {cap.reset:%H:%M} UTC"
    message = (
        f"{cap.period} spend limit of the key {key} reached: {_dollars(spent, ROUND_FLOOR)} of "
        f"{_dollars(cap.dollars, ROUND_CEILING)} spent \u00b7 resets {when} \u00b7 "
        "whoever runs this proxy can raise the limit"
    )
    return ApiError(429, "billing_error", message, headers=headers.items())


class Accounts:
    """What the keys have spent: the last result of Spending, plus what this process has added since.

    Spending is queried at most once a second for each key and period. While it fails, its last result is used, plus
    what this process adds; the first failure is logged.
    """

    fresh = 1.0  # seconds for which a result is valid
    patience = 2.0  # seconds until a query times out
    pause = 5.0  # seconds until the next query after a failure

    def __init__(self, spending: Spending, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._spending = spending
        self._clock = clock
        self._sums: dict[tuple[str, str], _Sum] = {}
        self._warned = False

    async def spent(self, key: str, cap: Cap) -> Decimal:
        """What a key has spent in the period of the cap."""
        sum_ = self._sums.get((key, cap.period))
        if sum_ is None or sum_.since != cap.since:
            while len(self._sums) >= _MAX_SUMS:
                del self._sums[next(iter(self._sums))]
            self._sums[key, cap.period] = sum_ = _Sum(cap.since)
        if self._clock() >= sum_.next:
            await self._ask(key, sum_)
        return sum_.known + sum_.own

    def add(self, key: str, began: float, cost: Decimal) -> None:
        """Add a completed exchange of the key: when it began (seconds since the epoch) and its cost."""
        for period in ("daily", "monthly"):
            sum_ = self._sums.get((key, period))
            if sum_ is not None and began >= sum_.since.timestamp():
                sum_.own += cost

    async def _ask(self, key: str, sum_: "_Sum") -> None:
        async with sum_.lock:
            if self._clock() < sum_.next:
                return  # another request has queried meanwhile
            try:
                async with asyncio.timeout(self.patience):
                    known = await self._spending.spent(key, sum_.since)
            except Exception as error:
                sum_.next = self._clock() + self.pause
                if not self._warned:
                    self._warned = True
                    logger.warning(
                        "what the keys have spent can't be read (%s): this process counts on from what it knows",
                        type(error).__name__,
                    )
                return
            sum_.known, sum_.own = known, Decimal(0)
            sum_.next = self._clock() + self.fresh
            self._warned = False


@dataclass(slots=True)
class _Sum:
    since: datetime
    known: Decimal = Decimal(0)
    own: Decimal = Decimal(0)  # cost in this process since the last result
    next: float = -math.inf  # when to query again
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def _dollars(amount: Decimal, rounding: str) -> str:
    """In cents, or unrounded where a cent is too coarse."""
    in_cents = amount >= 1 or amount == amount.quantize(_CENT, rounding)
    return f"${amount.quantize(_CENT, rounding):,}" if in_cents else f"${amount.normalize():f}"
