"""What is kept of the exchanges: the bytes of both sides with their times, the newest up to a number and a size."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import anyio

from .._record import Record
from .minutes import Minutes
from .redaction import ShownHeaders

_CHUNK_COST = 150  # bytes that Python takes for keeping a chunk, about


@dataclass(slots=True)
class Call:
    """One request and its answer as they passed at one place. Times are those of ``perf_counter``.

    ``answer`` holds each chunk of the answer with the time of its arrival. ``is_cut``: not all bytes were kept.
    ``own_error``: a layer of ours or the forwarding endpoint has answered, not the provider.
    """

    name: str
    method: str
    path: str
    headers: ShownHeaders
    started: float = field(default_factory=perf_counter)
    request: list[bytes] = field(default_factory=list)
    status: int | None = None
    answer_headers: ShownHeaders = field(default_factory=list)
    answer: list[tuple[float, bytes]] = field(default_factory=list)
    ended: float | None = None
    own_error: bool = False
    is_cut: bool = False


@dataclass(slots=True)
class Exchange:
    """One request of a client, and the requests to providers that it has caused. ``size`` is in bytes of memory."""

    id: str
    exchanges: "Exchanges"
    record: Record
    client: Call
    replay_of: str | None = None
    provider: list[Call] = field(default_factory=list)
    size: int = 0
    over: bool = False

    def make_room(self, size: int) -> bool:
        """Whether a chunk of this size may be kept."""
        return self.exchanges.make_room(self, size)

    def changed(self) -> None:
        """Tell the open pages."""
        self.exchanges.changed(self)

    def add_call(self, call: Call) -> None:
        """Take a request to a provider in; a second one of the same name gets a number."""
        same = sum(known.name.split(" ")[0] == call.name for known in self.provider)
        call.name += f" {same + 1}" if same else ""
        self.provider.append(call)


class Exchanges:
    """The newest exchanges: at most ``max_exchanges``, and ``max_bytes`` of what passed in them.

    One that is over ``max_bytes`` alone loses the rest. An id begins with the number of the process, since each
    worker of a server keeps its own.
    """

    def __init__(self, max_exchanges: int, max_bytes: int) -> None:
        if max_exchanges < 1 or max_bytes < 1:
            raise ValueError("max_exchanges and max_bytes must be at least 1")
        self.max_exchanges = max_exchanges
        self.max_bytes = max_bytes
        self.size = 0
        self.minutes = Minutes()
        self._kept: dict[str, Exchange] = {}
        self._count = 0
        self._viewers: set[Viewer] = set()

    @property
    def worker(self) -> int:
        """The number of this process; asked for each time, since a server may fork after it has made the app."""
        return os.getpid()

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._kept.values())

    def find(self, id: str) -> Exchange | None:
        """The exchange of this id, if it is kept."""
        return self._kept.get(id)

    def begin(self, record: Record, client: Call, replay_of: str | None) -> Exchange:
        """Keep an exchange from its start on."""
        self._count += 1
        exchange = Exchange(f"{self.worker}-{self._count}", self, record, client, replay_of)
        self._kept[exchange.id] = exchange
        if len(self._kept) > self.max_exchanges:
            self._forget(next(iter(self._kept.values())))
        self.changed(exchange)
        return exchange

    def end(self, exchange: Exchange) -> None:
        """The exchange is over, and its record complete."""
        exchange.over = True
        record = exchange.record
        decisions = record.decisions  # made now, since what makes them holds the parsed bodies
        record.explain = lambda: decisions
        self.minutes.add(record)
        self.changed(exchange)

    def make_room(self, exchange: Exchange, size: int) -> bool:
        """Make room for a chunk of this size, if need be instead of the oldest exchange. False: it can't be kept."""
        size += _CHUNK_COST
        if exchange.size + size > self.max_bytes or exchange.id not in self._kept:
            return False
        exchange.size += size
        self.size += size
        while self.size > self.max_bytes:
            self._forget(next(other for other in self._kept.values() if other is not exchange))
        return True

    def changed(self, exchange: Exchange) -> None:
        """Tell the open pages."""
        for viewer in self._viewers:
            viewer.tell(exchange)

    @contextmanager
    def watch(self) -> "Iterator[Viewer]":
        """An open page, while the block lasts."""
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def _forget(self, exchange: Exchange) -> None:
        del self._kept[exchange.id]
        self.size -= exchange.size


class Viewer:
    """What an open page has yet to hear of: each exchange at most once, however often it has changed."""

    def __init__(self) -> None:
        self._changed: dict[str, Exchange] = {}
        self._news = anyio.Event()

    def tell(self, exchange: Exchange) -> None:
        """Note a change. An exchange that is no longer kept is no news."""
        self._changed[exchange.id] = exchange
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next change, or after so many seconds."""
        with anyio.move_on_after(seconds):
            await self._news.wait()

    def take(self) -> list[Exchange]:
        """What has changed since the last time."""
        changed = list(self._changed.values())
        self._changed.clear()
        self._news = anyio.Event()
        return changed
