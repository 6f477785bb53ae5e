"""A history in memory, and sums of what was used, for an inspector in process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ccproxy_middleware.inspector import Entry


@dataclass
class Group:
    """A sum of exchanges, as the ledger has it."""

    name: str | None
    requests: int = 2
    failed: int = 1
    input: int = 30
    cached: int = 20
    cache_write: int = 10
    output: int = 5
    cost: Decimal = Decimal("0.0125")
    unpriced: int = 0


class MemoryHistory:
    """Makes each entry at once."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.sizes: list[int] = []

    def keep(self, size: int, make: Callable[[], Entry]) -> None:
        self.sizes.append(size)
        entry = make()
        self.entries[entry.id] = entry

    async def find(self, id: str) -> bytes | None:
        return self.entries[id].document if id in self.entries else None

    async def search(self, words: Sequence[str], *, before: str | None, limit: int) -> list[bytes]:
        found = [self.entries[id_] for id_ in sorted(self.entries, reverse=True) if before is None or id_ < before]
        return [entry.line for entry in found if all(word in entry.words for word in words)][:limit]

    async def session(self, session: str) -> list[str]:
        return sorted(id_ for id_, entry in self.entries.items() if entry.session == session)
