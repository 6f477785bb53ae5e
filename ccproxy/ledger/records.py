"""The results of queries to a ledger."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ccproxy_middleware.ledger import Row


@dataclass(slots=True)
class SessionUsage:
    """A session's usage so far.

    Tokens and cost are sums over all its exchanges; ``unpriced`` exchanges have no known cost. ``model`` and
    ``upstream``
    are those that answered its last request, and ``prompt`` is the number of tokens in that request.
    """

    requests: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    model: str | None = None
    upstream: str | None = None
    prompt: int | None = None
    key: str | None = None

    def add(self, row: Row) -> None:
        """Add an exchange that is newer than all before it."""
        self.requests += 1
        if row.cost is not None:
            self.cost += row.cost
        elif row.provider_calls:
            self.unpriced += 1
        self.input += row.input or 0
        self.cached += row.cached or 0
        self.cache_write += row.cache_write or 0
        self.output += row.output or 0
        self.key = row.key
        if is_main(row.class_) and row.provider_calls and (row.status or 500) < 400:
            self.model, self.upstream = row.model, row.upstream
            self.prompt = (row.input or 0) + (row.cached or 0) + (row.cache_write or 0)

    def as_json(self) -> dict[str, Any]:
        """The usage as ``GET /usage/session/{id}`` returns it."""
        return {
            "requests": self.requests,
            "cost": float(self.cost),
            "unpriced": self.unpriced,
            "input": self.input,
            "cached": self.cached,
            "cache_write": self.cache_write,
            "output": self.output,
            "model": self.model,
            "upstream": self.upstream,
            "prompt": self.prompt,
        }


def is_main(class_: str | None) -> bool:
    """Whether an exchange belongs to the conversation itself, as far as the client reports it."""
    return class_ in (None, "main")
