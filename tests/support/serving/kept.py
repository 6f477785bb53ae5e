"""A history in memory, for an inspector in process."""

from collections.abc import Callable, Sequence

from ccproxy_middleware.inspector import Entry


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
