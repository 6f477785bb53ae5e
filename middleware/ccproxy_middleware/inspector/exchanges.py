"""The stored exchanges: the bytes of both sides with their times, the newest ones up to a number and a size."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, time

import anyio

from ..toolkit.record import Record
from .minutes import Minutes
from .redaction import ShownHeaders
from .words import WORDS_COST, Words

# Approximate bytes that Python needs for a chunk, a header, and a call with its record.
_CHUNK_COST = 150
_HEADER_COST = 250
_CALL_COST = 1500
_ATTEMPT_COST = 300

_SPARE = 64 * 1024
_STRANGERS_PART = 8  # requests without a valid key have an eighth of the space


@dataclass(slots=True)
class Call:
    """One request and its answer as they passed at one place. Times are those of ``perf_counter``.

    ``request`` is complete once ``is_asked``. ``answer`` holds each chunk of the answer with its arrival time.
    ``is_cut``: not all bytes were kept. ``own_error``: one of our layers or the forwarding endpoint has answered, not
    the provider.
    """

    name: str
    method: str
    path: str
    headers: ShownHeaders
    started: float = field(default_factory=perf_counter)
    request: list[bytes] = field(default_factory=list)
    is_asked: bool = False
    status: int | None = None
    answer_headers: ShownHeaders = field(default_factory=list)
    answer: list[tuple[float, bytes]] = field(default_factory=list)
    ended: float | None = None
    own_error: bool = False
    is_cut: bool = False


@dataclass(slots=True, weakref_slot=True)
class Exchange:
    """One request of a client, and the requests to providers that it has caused. ``size`` is in bytes of memory.

    ``words``: a summary of it, once it has been computed. ``stranger``: it came without a valid key, and has only been
    refused.
    """

    id: str
    exchanges: "Exchanges"
    record: Record
    client: Call
    replay_of: str | None = None
    words: Words | None = None
    provider: list[Call] = field(default_factory=list)
    size: int = 0
    over: bool = False
    stranger: bool = False

    def make_room(self, size: int) -> bool:
        """Whether a chunk of this size may be kept."""
        return self.exchanges.make_room(self, size + _CHUNK_COST, is_chunk=True)

    def changed(self) -> None:
        """Notify the open pages."""
        self.exchanges.changed(self)

    def add_call(self, call: Call) -> None:
        """Add a request to a provider. If the name is taken, a number is appended."""
        self.admit()
        if not self.exchanges.make_room(self, _call_cost(call)):
            return self.exchanges.forget(self)
        same = sum(known.name.split(" ")[0] == call.name for known in self.provider)
        call.name += f" {same + 1}" if same else ""
        self.provider.append(call)

    def start_answer(self, call: Call, status: int, headers: ShownHeaders, own_error: bool) -> None:
        """The answer to one of its requests has started."""
        call.status, call.own_error = status, own_error
        if call is self.client and status < 400:
            self.admit()
        if self.exchanges.make_room(self, _headers_cost(headers)):
            call.answer_headers = headers
        else:
            call.is_cut = True
        self.changed()

    def admit(self) -> None:
        """Mark it as having a valid key, or as needing none."""
        self.exchanges.admit(self)

    def drop(self) -> None:
        """Release the bytes, even if the exchange is still referenced."""
        for call in (self.client, *self.provider):
            call.request.clear()
            call.answer.clear()
            call.is_cut = True
        self.provider.clear()


class Exchanges:
    """The newest exchanges: at most ``max_exchanges``, and at most ``max_bytes`` of their data.

    Bodies, headers and the facts about an exchange count. An exchange that alone exceeds ``max_bytes`` is truncated.
    Those without a valid key have a small part of both limits, so that nobody without a key can displace the others.

    An id begins with the time, so that ids sort by it, and is unique across processes.
    """

    def __init__(self, max_exchanges: int, max_bytes: int) -> None:
        if max_exchanges < 1 or max_bytes < 1:
            raise ValueError("max_exchanges and max_bytes must be at least 1")
        self.max_exchanges = max_exchanges
        self.max_bytes = max_bytes
        self.size = 0
        self.minutes = Minutes()
        self._kept: dict[str, Exchange] = {}
        self._strangers: dict[str, Exchange] = {}
        self._viewers: set[Viewer] = set()

    @property
    def worker(self) -> int:
        """The number of this process; read each time, since a server may fork after it has created the app."""
        return os.getpid()

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._kept.values())

    def find(self, id: str) -> Exchange | None:
        """The exchange with this id, if it is stored."""
        return self._kept.get(id)

    def begin(self, record: Record, client: Call, replay_of: str | None, *, stranger: bool = False) -> Exchange:
        """Store an exchange from its start on."""
        exchange = Exchange(_new_id(), self, record, client, replay_of, stranger=stranger)
        self._kept[exchange.id] = exchange
        if stranger:
            self._strangers[exchange.id] = exchange
            if len(self._strangers) > max(1, self.max_exchanges // _STRANGERS_PART):
                self.forget(next(iter(self._strangers.values())))
        if len(self._kept) > self.max_exchanges:
            self.forget(next(iter(self._kept.values())))
        if not self.make_room(exchange, _call_cost(client) + WORDS_COST):
            self.forget(exchange)
        self.changed(exchange)
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Mark an exchange as over, with its record complete."""
        exchange.over = True
        record = exchange.record
        self.minutes.add(record)
        if exchange.id not in self._kept:
            return
        decisions = record.decisions  # computed now, since it needs the parsed bodies
        record.explain = lambda: decisions
        if not self.make_room(exchange, _record_cost(record, decisions)):
            self.forget(exchange)
        self.changed(exchange)

    def admit(self, exchange: Exchange) -> None:
        """Count an exchange among those that may use all the space."""
        exchange.stranger = False
        self._strangers.pop(exchange.id, None)

    def make_room(self, exchange: Exchange, size: int, *, is_chunk: bool = False) -> bool:
        """Make room for so many bytes, by removing the oldest exchanges if necessary. False: they can't be kept.

        Chunks leave some space for the facts that are added at the end of the exchange.
        """
        room = self.max_bytes // _STRANGERS_PART if exchange.stranger else self.max_bytes
        spare = min(_SPARE, room // 8) if is_chunk else 0
        if exchange.size + size + spare > room or exchange.id not in self._kept:
            return False
        exchange.size += size
        self.size += size
        if exchange.stranger:
            while sum(other.size for other in self._strangers.values()) > room:
                self.forget(next(other for other in self._strangers.values() if other is not exchange))
        while self.size > self.max_bytes:
            self.forget(next(other for other in self._kept.values() if other is not exchange))
        return True

    def forget(self, exchange: Exchange) -> None:
        """Remove an exchange."""
        if self._kept.pop(exchange.id, None) is None:
            return
        self._strangers.pop(exchange.id, None)
        self.size -= exchange.size
        for viewer in self._viewers:
            viewer.forget(exchange)
        exchange.drop()

    def changed(self, exchange: Exchange) -> None:
        """Notify the open pages. An exchange that is no longer stored is not reported."""
        if exchange.id in self._kept:
            for viewer in self._viewers:
                viewer.tell(exchange)

    @property
    def viewers(self) -> int:
        """The number of open pages."""
        return len(self._viewers)

    @contextmanager
    def watch(self) -> "Iterator[Viewer]":
        """Register an open page for the duration of the block."""
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)


class Viewer:
    """The changes that an open page has not yet received: each stored exchange at most once, however often it has
    changed.
    """

    def __init__(self) -> None:
        self._changed: dict[str, Exchange] = {}
        self._news = anyio.Event()

    def tell(self, exchange: Exchange) -> None:
        """Record a change."""
        self._changed[exchange.id] = exchange
        self._news.set()

    def forget(self, exchange: Exchange) -> None:
        """Remove an exchange that is no longer stored, even if the page never reads."""
        self._changed.pop(exchange.id, None)

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


def _new_id() -> str:
    """About 20 characters, the first eleven of which are the milliseconds since the epoch."""
    return f"{int(time() * 1000):011x}{secrets.token_hex(5)}"


def _call_cost(call: Call) -> int:
    return _CALL_COST + 2 * sys.getsizeof(call.path) + _headers_cost(call.headers)


def _headers_cost(headers: ShownHeaders) -> int:
    return sum(_HEADER_COST + len(name) + len(value or "") for name, value in headers)


def _record_cost(record: Record, decisions: list[str]) -> int:
    """The size of the fields that a client or a provider can make long."""
    asker = record.asker
    names = (record.requested_model, record.model, record.session_id, record.upstream_request_id)
    agent = (asker.request_class, asker.agent_type, asker.agent_id, asker.parent_agent_id)
    more = (asker.prompt_id, asker.compaction, asker.tool_durations)
    told = (record.error_message, record.stop_reason, str(dict(record.usage)), *decisions)
    attempts = _ATTEMPT_COST * len(record.attempts) + sum(len(attempt.model) for attempt in record.attempts)
    calls = sum(_ATTEMPT_COST + len(str(dict(call.usage))) for call in record.calls)
    return attempts + calls + sum(sys.getsizeof(text) for text in (*names, *agent, *more, *told) if text is not None)
