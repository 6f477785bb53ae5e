"""What is kept of the exchanges: the bytes of both sides with their times, the newest up to a number and a size."""

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

# Bytes that Python takes for keeping a chunk, a header, and a call with its record, about.
_CHUNK_COST = 150
_HEADER_COST = 250
_CALL_COST = 1500
_ATTEMPT_COST = 300

_SPARE = 64 * 1024
_STRANGERS_PART = 8  # requests without a key that is right have an eighth of the room


@dataclass(slots=True)
class Call:
    """One request and its answer as they passed at one place. Times are those of ``perf_counter``.

    ``request`` is whole once ``is_asked``. ``answer`` holds each chunk of the answer with the time of its arrival.
    ``is_cut``: not all bytes were kept.
    ``own_error``: a layer of ours or the forwarding endpoint has answered, not the provider.
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

    ``words``: what it is about, once somebody has looked. ``stranger``: it came without a key that is right, and
    nothing but a refusal has come of it.
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
        """Tell the open pages."""
        self.exchanges.changed(self)

    def add_call(self, call: Call) -> None:
        """Take a request to a provider in; a second one of the same name gets a number."""
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
        """It is no stranger's, or one who needs no key."""
        self.exchanges.admit(self)

    def drop(self) -> None:
        """Let the bytes go, whoever still holds the exchange."""
        for call in (self.client, *self.provider):
            call.request.clear()
            call.answer.clear()
            call.is_cut = True
        self.provider.clear()


class Exchanges:
    """The newest exchanges: at most ``max_exchanges``, and ``max_bytes`` of what passed in them.

    Counted are bodies, headers and what is known of an exchange. One that is over ``max_bytes`` alone loses the rest.
    Those of strangers have a small part of both, so that nobody without a key can push the others out.

    An id begins with the time, so that ids sort by it, and is found by no other process that keeps its own.
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
        """The number of this process; asked for each time, since a server may fork after it has made the app."""
        return os.getpid()

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._kept.values())

    def find(self, id: str) -> Exchange | None:
        """The exchange of this id, if it is kept."""
        return self._kept.get(id)

    def begin(self, record: Record, client: Call, replay_of: str | None, *, stranger: bool = False) -> Exchange:
        """Keep an exchange from its start on."""
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
        """The exchange is over, and its record complete."""
        exchange.over = True
        record = exchange.record
        self.minutes.add(record)
        if exchange.id not in self._kept:
            return
        decisions = record.decisions  # made now, since what makes them holds the parsed bodies
        record.explain = lambda: decisions
        if not self.make_room(exchange, _record_cost(record, decisions)):
            self.forget(exchange)
        self.changed(exchange)

    def admit(self, exchange: Exchange) -> None:
        """Count an exchange among those that have all the room."""
        exchange.stranger = False
        self._strangers.pop(exchange.id, None)

    def make_room(self, exchange: Exchange, size: int, *, is_chunk: bool = False) -> bool:
        """Make room for so many bytes, if need be instead of the oldest exchanges. False: they can't be kept.

        Chunks leave some room for what will be known of the exchange at its end.
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
        """Keep an exchange no longer."""
        if self._kept.pop(exchange.id, None) is None:
            return
        self._strangers.pop(exchange.id, None)
        self.size -= exchange.size
        for viewer in self._viewers:
            viewer.forget(exchange)
        exchange.drop()

    def changed(self, exchange: Exchange) -> None:
        """Tell the open pages. An exchange that is no longer kept is no news."""
        if exchange.id in self._kept:
            for viewer in self._viewers:
                viewer.tell(exchange)

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._viewers)

    @contextmanager
    def watch(self) -> "Iterator[Viewer]":
        """An open page, while the block lasts."""
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)


class Viewer:
    """What an open page has yet to hear of: each exchange that is kept at most once, however often it has changed."""

    def __init__(self) -> None:
        self._changed: dict[str, Exchange] = {}
        self._news = anyio.Event()

    def tell(self, exchange: Exchange) -> None:
        """Note a change."""
        self._changed[exchange.id] = exchange
        self._news.set()

    def forget(self, exchange: Exchange) -> None:
        """An exchange is no longer kept, even if the page never reads."""
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
    """Some 20 characters, the first eleven of which are the milliseconds since the epoch."""
    return f"{int(time() * 1000):011x}{secrets.token_hex(5)}"


def _call_cost(call: Call) -> int:
    return _CALL_COST + 2 * sys.getsizeof(call.path) + _headers_cost(call.headers)


def _headers_cost(headers: ShownHeaders) -> int:
    return sum(_HEADER_COST + len(name) + len(value or "") for name, value in headers)


def _record_cost(record: Record, decisions: list[str]) -> int:
    """Of what a client or a provider can make long."""
    asker = record.asker
    names = (record.requested_model, record.model, record.session_id, record.upstream_request_id)
    agent = (asker.request_class, asker.agent_type, asker.agent_id, asker.parent_agent_id)
    more = (asker.prompt_id, asker.compaction, asker.tool_durations)
    told = (record.error_message, record.stop_reason, str(dict(record.usage)), *decisions)
    attempts = _ATTEMPT_COST * len(record.attempts) + sum(len(attempt.model) for attempt in record.attempts)
    calls = sum(_ATTEMPT_COST + len(str(dict(call.usage))) for call in record.calls)
    return attempts + calls + sum(sys.getsizeof(text) for text in (*names, *agent, *more, *told) if text is not None)
