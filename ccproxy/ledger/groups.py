"""Summing up rows."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

GROUPS = ("day", "session", "model", "key", "project", "agent", "class", "upstream", "tier", "prompt", "status")
"""The groupings for sums of rows; all except ``day`` are columns."""

GroupBy = Literal["day", "session", "model", "key", "project", "agent", "class", "upstream", "tier", "prompt", "status"]


@dataclass(slots=True)
class Group:
    """The sum of some rows. ``name`` is None for rows without a value in the grouping column.

    ``priced`` rows have a known cost, ``unpriced`` ones an unknown cost.
    """

    name: str | None
    requests: int = 0
    failed: int = 0
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cost: Decimal = field(default_factory=Decimal)
    priced: int = 0
    unpriced: int = 0

    def add(self, other: "Group") -> None:
        """Add another sum to this one."""
        for name in (
            "requests",
            "failed",
            "input",
            "cached",
            "cache_write",
            "output",
            "reasoning",
            "priced",
            "unpriced",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost += other.cost
