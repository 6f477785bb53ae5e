"""Find the item that an event of a stream belongs to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .output_items import Kind, kind_of
from .streamed_items import StreamedItem, new_item


class KnownItems:
    """The items of one answer. They are identified by ``output_index``, else by id; else the last item of a kind is
    used.

    Some hosts send another id with every event, some no index.
    """

    __slots__ = ("_all", "_by_id", "_by_index", "_hosted", "_last")

    def __init__(self, *, hosted: bool = False) -> None:
        self._hosted = hosted  # see kind_of
        self._all: list[StreamedItem] = []
        self._by_index: dict[tuple[Kind, int], StreamedItem] = {}
        self._by_id: dict[tuple[Kind, str], StreamedItem] = {}
        self._last: dict[Kind, StreamedItem] = {}

    def add(self, kind: Kind, index: Any, id_: Any, data: Mapping[str, Any]) -> StreamedItem:
        """Add a new item."""
        number = index if isinstance(index, int) else None
        item = new_item(kind, number, id_, data)
        self._all.append(item)
        if number is not None:
            self._by_index[kind, number] = item
        if item.id:
            self._by_id[kind, item.id] = item
        self._last[kind] = item
        return item

    def find(self, kind: Kind | None, event: Mapping[str, Any], id_: Any) -> StreamedItem | None:
        """The item that an event belongs to; ``id_`` is the id in the event."""
        if kind is None:
            return None
        index = event.get("output_index")
        if isinstance(index, int):
            found = self._by_index.get((kind, index))
            item = event.get("item")
            if found is not None and found.done and isinstance(item, dict) and not _same(found.data, item):
                return None  # a host that gives all items one index
            return found
        if isinstance(id_, str) and id_:
            return self._by_id.get((kind, id_))
        last = self._last.get(kind)
        announces = event.get("type") == "response.output_item.added"
        return None if announces or last is None or last.done else last

    def match(
        self, output: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[StreamedItem | None, Mapping[str, Any], int]]:
        """The items of the finished answer with the streamed items, or None, and their positions."""
        found: dict[int, StreamedItem] = {}
        used: set[int] = set()
        for n, item in enumerate(output):
            kind = kind_of(item, hosted=self._hosted)
            if kind is None:
                continue
            id_ = item.get("id")
            known = self._by_index.get((kind, n))
            if known is None and isinstance(id_, str):
                known = self._by_id.get((kind, id_))
            if known is not None and id(known) not in used:
                found[n] = known
                used.add(id(known))
        left: dict[str, list[StreamedItem]] = {}  # by kind, in reverse order
        for streamed in reversed(self._all):
            if id(streamed) not in used:
                left.setdefault(streamed.kind, []).append(streamed)
        for n, item in enumerate(output):
            kind = kind_of(item, hosted=self._hosted)
            if kind is not None:
                rest = left.get(kind)
                yield found.get(n) or (rest.pop() if rest else None), item, n

    def unfinished(self) -> list[StreamedItem]:
        """The incomplete items, in the order in which they arrived."""
        return [item for item in self._all if not item.done]


def _same(known: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether two items are the same, whatever ids the host puts in its events."""
    if known.get("id") and known.get("id") == item.get("id"):
        return True
    return all(known.get(name) == item.get(name) for name in ("call_id", "content", "encrypted_content", "summary"))
