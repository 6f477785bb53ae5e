"""The layer that computes the cost of an exchange and passes on a row for it."""

from collections.abc import Callable
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..toolkit.asgi import get_header, route_path
from ..toolkit.record import Price, Record, get_record, observe
from .breaks import Breaks, Digests, digests_of
from .row import Row, make_row

_PATH = "/v1/messages"
_MAX_HELD = 4 * 1024 * 1024  # bytes of an answer that may be held until its cost is known

Write = Callable[[Row], None]


class LedgerMiddleware:
    """Report the cost of each ``POST /v1/messages``, and write a row for it.

    write: gets the row when the exchange is over, however it ends, including refused requests. It must not block.
    price: returns the cost of a provider call in US dollars; None where that is unknown.
    breaks: whether to find out where a request differs from the previous one if less of it was cached.

    A whole answer gets the header ``x-cc-boost-cost``, a plain decimal number of US dollars, if the cost is known. A
    stream does not, since its usage comes last.

    Reads: the headers ``x-cc-boost-project``, whose value may be percent-encoded, and ``x-claude-code-session-id``; the
    facts that inner layers put into ``ccproxy.record`` and ``ccproxy.calls``.
    Writes: the record's ``cost`` and ``cache_break``; ``ccproxy.record`` in the scope, unless an outer layer has set
    it; ``x-cc-boost-cost``.
    Needs: a place outside all layers whose work it records, and a MeterMiddleware around each endpoint.
    Alone: works in front of any ASGI app. Models, tokens and cost are known where our other layers stand inside.
    """

    def __init__(
        self, app: ASGIApp, *, write: Write | None = None, price: Price | None = None, breaks: bool = True
    ) -> None:
        self.app = app
        self._write = write
        self._price = price
        self._breaks = Breaks() if breaks else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or route_path(scope) != _PATH:
            return await self.app(scope, receive, send)

        digests: list[Digests] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            record = get_record(scope)
            assert record is not None  # noqa: S101  # observe has put it there
            record.price = record.price or self._price
            if self._breaks is not None:
                record.request_observers.append(lambda data: digests.append(digests_of(data)))
            await self.app(scope, receive, send if self._price is None else _Priced(record, send).send)

        def end(record: Record) -> None:
            headers = scope["headers"]
            session = record.session_id or get_header(headers, b"x-claude-code-session-id")
            if self._breaks is not None and digests:
                record.cache_break = self._breaks.place(record, session, digests[0])
            if self._write is not None:
                project = get_header(headers, b"x-cc-boost-project")
                self._write(make_row(record, session=session, project=project and unquote(project)))

        await observe(app, scope, receive, send, end)


class _Priced:
    """The ``send`` of one exchange: the start of a whole answer is held until its end, when the cost is known."""

    __slots__ = ("_held", "_record", "_send", "_size")

    def __init__(self, record: Record, send: Send) -> None:
        self._record = record
        self._send = send
        self._held: list[Message] = []
        self._size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {
                **message,
                "headers": list(message.get("headers", ())),
            }  # may be readable only once
            if message["status"] < 400 and not _is_stream(message):
                self._held.append(message)
                return
        elif self._held:
            self._held.append(message)
            self._size += len(message.get("body", b""))
            if message.get("more_body", False) and self._size <= _MAX_HELD:
                return
            return await self._release()
        await self._send(message)

    async def _release(self) -> None:
        held, self._held = self._held, []
        self._record.settle_cost()
        if self._record.cost is not None and not held[-1].get("more_body", False):
            held[0]["headers"].append((b"x-cc-boost-cost", f"{self._record.cost.normalize():f}".encode()))
        for message in held:
            await self._send(message)


def _is_stream(start: Message) -> bool:
    return (get_header(start["headers"], b"content-type") or "").lower().startswith("text/event-stream")
