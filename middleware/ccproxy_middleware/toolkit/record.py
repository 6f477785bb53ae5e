"""The facts about one exchange: the layers record them as they learn them, observers read them at the end.

The record is in the scope as ``ccproxy.record``. The outermost observer creates it (:func:`observe`) and measures the
times; every other layer calls :func:`get_record` and records its facts if there is a record.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from time import perf_counter, time
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .asgi import get_header
from .asker import NOBODY, Asker, read_asker
from .errors import ApiError, StreamAborted, error_type, request_id

logger = logging.getLogger("ccproxy")

Outcome = Literal["complete", "aborted", "disconnected", "failed"]
"""How an exchange ended.

The answer went out whole, was broken off after its start (also by the provider's own ``error`` event), the client left,
or a bug.
"""


@dataclass(slots=True)
class Attempt:
    """The result of one candidate in an exchange. ``started`` and ``ended`` are seconds since the exchange's start.

    ``reason``: why it was skipped; None: it has answered, or is about to. ``asked``: False for one that was skipped
    without being tried, since it is ``busy`` or in a cool-down. ``key`` is the index in the pool of keys, ``waited``
    the seconds for which it has waited for its turn, ``cooled`` the seconds of the cool-down that starts now.
    """

    upstream: str
    model: str
    started: float
    reason: str | None = None
    asked: bool = True
    key: int = 0
    status: int | None = None
    waited: float = 0.0
    cooled: float | None = None
    ended: float | None = None


@dataclass(slots=True)
class ProviderCall:
    """A call that a provider has answered for an exchange: for its answer, a plan, a verdict or a description.

    ``provider`` is the profile's name, ``model`` the requested one, ``answered_model`` the one named in the answer,
    ``service_tier`` the provider's. ``usage`` is Anthropic's usage object, whatever the provider's format; empty if
    none was received. ``cost`` is in US dollars; None: unknown.
    """

    upstream: str | None = None
    provider: str | None = None
    model: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    answered_model: str | None = None
    service_tier: str | None = None
    cost: Decimal | None = None


Price = Callable[[ProviderCall], Decimal | None]
"""What a call has cost, in US dollars; None where that is unknown."""


@dataclass(slots=True)
class Record:
    """The facts of one exchange. Times are seconds; unknown values are None or empty.

    ``stream``: the client requested a stream, or got one. ``usage`` is Anthropic's usage object. ``error`` is
    Anthropic's type of the error that the client got, also by an ``error`` event after a status of 200. ``retries`` are
    attempts at the provider beyond the first, ``upstream_connections`` those that were newly opened.
    ``boost_cache_hits`` are plans that came from the cache instead of the planner. ``images_described`` were replaced
    by text in the request; ``vision_requests`` are the questions to ``vision_model`` about the new ones, with time and
    tokens. ``web_searches`` were run for the model, ``web_searches_failed`` of them failed, in ``web_search_seconds``.
    ``explain`` creates ``decisions``. ``rule`` is the name of the rule by which the request was routed, ``upstream``
    the provider that has answered it, ``attempts`` are the candidates that were tried or skipped. ``calls`` are those
    that providers have answered, in the order in which they ended, and ``cost`` is their total in US dollars; None:
    unknown, or there was none. ``request_observers`` get the client's request, parsed, in Anthropic's format.
    ``queue_observers`` are called with an upstream and 1 when the exchange begins to wait there for its turn, and with
    -1 at the end of the wait.
    """

    request_id: str
    method: str
    path: str
    time: float = field(default_factory=time)  # since the epoch, of the start
    started: float = field(default_factory=perf_counter)
    requested_model: str | None = None
    model: str | None = None
    tier: str | None = None
    session_id: str | None = None
    client_key: str | None = None  # its name
    asker: Asker = NOBODY
    stream: bool = False
    status: int | None = None
    error: str | None = None
    error_message: str | None = None
    outcome: Outcome | None = None
    first_byte: float | None = None  # seconds after the start until the first byte of the answer's body
    duration: float | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    stop_reason: str | None = None
    provider: str | None = None  # the profile's name
    upstream_status: int | None = None
    upstream_request_id: str | None = None
    upstream_connections: int = 0
    retries: int = 0
    boost_outcome: str | None = None
    boost_loops: int | None = None
    boost_cache_hits: int = 0
    images_described: int = 0
    vision_model: str | None = None
    vision_requests: int = 0
    vision_seconds: float = 0.0
    vision_usage: Mapping[str, int] = field(default_factory=dict)
    web_searches: int = 0
    web_searches_failed: int = 0
    web_search_seconds: float = 0.0
    rule: str | None = None
    upstream: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[ProviderCall] = field(default_factory=list)
    price: Price | None = None
    cost: Decimal | None = None
    cache_break: str | None = None  # see Row
    explain: Callable[[], list[str]] | None = None
    start_observers: list[Callable[["Record"], None]] = field(default_factory=list)
    request_observers: list[Callable[[Mapping[str, Any]], None]] = field(default_factory=list)
    observers: list[Callable[["Record"], None]] = field(default_factory=list)
    queue_observers: list[Callable[[str, int], None]] = field(default_factory=list)

    @property
    def decisions(self) -> list[str]:
        """What a converter has left out or changed of the request, and why; computed when it is read. Never raises."""
        if self.explain is None:
            return []
        try:
            return self.explain()
        except Exception:
            logger.exception("a bug in the proxy: the decisions of an exchange can't be told (%s)", self.request_id)
            return ["the decisions can't be told: a bug, whose traceback is in the log"]

    def queue(self, upstream: str, change: int) -> None:
        """Notify the observers that the exchange waits at an upstream, or no longer does."""
        for observer in self.queue_observers:
            observer(upstream, change)

    def tell_request(self, data: Mapping[str, Any]) -> None:
        """Pass the request to the observers. Never raises."""
        observers, self.request_observers = self.request_observers, []
        for observer in observers:
            try:
                observer(data)
            except Exception:
                logger.exception("a bug in the proxy: an observer of requests has failed (%s)", self.request_id)

    def settle_cost(self) -> None:
        """Compute ``cost`` from the recorded calls. Never raises."""
        if self.price is None or not self.calls:
            return
        try:
            for call in self.calls:
                if call.cost is None and call.usage:
                    call.cost = self.price(call)
        except Exception:
            logger.exception("a bug in the proxy: the cost of an exchange can't be told (%s)", self.request_id)
        costs = [call.cost for call in self.calls]
        self.cost = None if None in costs else sum(filter(None, costs), Decimal(0))

    def fail(self, error: ApiError) -> None:
        """Record the failure that the client gets."""
        self.error, self.error_message = error.type, error.message


def get_record(scope: Scope) -> Record | None:
    """The exchange's record, if an outer layer keeps one."""
    record = scope.get("ccproxy.record")
    return record if isinstance(record, Record) else None


def get_calls(scope: Scope) -> list[ProviderCall] | None:
    """The list in which the calls for the exchange are recorded, including those for a layer's own questions."""
    calls = scope.get("ccproxy.calls")
    return calls if isinstance(calls, list) else None


async def observe(
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    observer: Callable[[Record], None],
    *,
    on_start: Callable[[Record], None] | None = None,
    on_queue: Callable[[str, int], None] | None = None,
) -> None:
    """Call the app, and ``observer`` with the record when the exchange is over, however it ends.

    ``on_start`` is called with the record when the answer starts, if it ever does; ``on_queue`` gets the arguments of
    ``queue_observers``. An exception of an observer is logged; it neither changes the answer nor prevents the call of
    another observer.
    """
    starts = [] if on_start is None else [on_start]
    queues = [] if on_queue is None else [on_queue]
    record = get_record(scope)
    if record is not None:  # an outer observer measures this exchange
        record.observers.append(observer)
        record.start_observers += starts
        record.queue_observers += queues
        return await app(scope, receive, send)
    id_ = request_id(scope)
    record = Record(
        id_,
        scope["method"],
        scope["path"],
        asker=read_asker(scope["headers"]),
        observers=[observer],
        start_observers=starts,
        queue_observers=queues,
    )

    async def send_timed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": list(message.get("headers", ()))}  # may be readable only once
            _note_start(record, message)
        elif message["type"] == "http.response.body":
            if record.first_byte is None and message.get("body"):
                record.first_byte = perf_counter() - record.started
            if not message.get("more_body", False):
                record.outcome = record.outcome or "complete"
        await send(message)

    try:
        known = {"ccproxy.request_id": id_, "ccproxy.record": record, "ccproxy.calls": record.calls}
        await app({**scope, **known}, receive, send_timed)
    except StreamAborted as aborted:
        record.outcome = "aborted"
        if aborted.error is not None:
            record.fail(aborted.error)
        raise
    except Exception:
        record.outcome = "failed"
        raise
    finally:
        record.duration = perf_counter() - record.started
        record.outcome = record.outcome or "disconnected"
        _settle_error(record)
        record.settle_cost()
        observers = [*record.observers]
        record.observers.clear()  # avoids a reference cycle through the record
        record.start_observers.clear()
        record.request_observers.clear()
        record.queue_observers.clear()
        _call_each(observers, record)


def _call_each(observers: list[Callable[[Record], None]], record: Record) -> None:
    for observer in observers:
        try:
            observer(record)
        except Exception:
            logger.exception("a bug in the proxy: an observer of exchanges has failed (%s)", record.request_id)


def _note_start(record: Record, message: Message) -> None:
    record.status = message["status"]
    if (get_header(message["headers"], b"content-type") or "").startswith("text/event-stream"):
        record.stream = True
    error = message.get("ccproxy.error")
    if error is not None:
        record.fail(error)
    _call_each(record.start_observers, record)


def _settle_error(record: Record) -> None:
    """Remove the error of a failed attempt if a later one succeeded, and set an error type that no layer has set."""
    if record.outcome == "disconnected":
        record.error = record.error_message = None
    elif record.outcome in ("aborted", "failed"):
        record.error = record.error or "api_error"
    elif record.status is not None and record.status < 400:
        record.error = record.error_message = None
    elif record.status is not None:
        record.error = record.error or error_type(record.status)
