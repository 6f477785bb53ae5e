"""The layer: the page, and the recording of exchanges."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from time import perf_counter
from typing import Any
from weakref import ref

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth import ADMITTED_AS, AdminKeys, ClientKeys, KeySource
from ..toolkit.asgi import BufferedBody, route_path
from ..toolkit.record import Record, get_record, observe
from .exchanges import Call, Exchange, Exchanges
from .history import History, keep
from .pages import Pages, Sources
from .redaction import shown_headers
from .usage import Budgets, Usage

_PATHS = ("/v1/messages", "/v1/messages/count_tokens", "/chat/completions", "/responses")

# Boost calls the planner with a request of its own, whose scope has nothing of the client's. Weak, since anything
# started meanwhile, such as a timer, holds the context for longer than the exchange lasts.
_current: ContextVar[ref[Exchange] | None] = ContextVar("ccproxy.exchange", default=None)


class InspectorMiddleware:
    """Serve ``/ui``, a page that shows the newest exchanges with both sides of their conversion.

    api_keys, named_keys: those of AuthMiddleware. If there is only one, it gives access to the data. With several, none
        does, since each would show the exchanges of the others. Without keys the page is available on this machine
        only.
    admin_keys: if there are any, only they give access to the data. A request that is sent again with one of them needs
        no client key.
    max_exchanges, max_bytes: the limits for the newest exchanges, which are kept in memory. Exchanges without a valid
        key that are only refused may use an eighth of both.
    options: those of the FormatConversionMiddleware, which an exchange saved as a test case includes.
    history: stores the exchanges permanently, except those that are refused for lack of a valid key.
    usage, budgets: return what was used, and the limits of the keys, over days.
    provider: set for a second InspectorMiddleware, around an app that the layers call. It serves no page; its exchanges
        are shown under this name as the provider's side.

    Raises ValueError for keys that could never match and limits below 1.

    Reads: ``/ui``, which inner layers never see; ``POST`` of ``/v1/messages``, ``/v1/messages/count_tokens`` and
    ``*/chat/completions`` or ``*/responses``, whose bytes it passes on unchanged. ``ccproxy.record`` in the scope.
    Writes: ``ccproxy.exchange`` in the scope, for the second one; ``ccproxy.admitted_as`` for an inner AuthMiddleware,
    where an administrator sends a request again.
    Needs: a place outside AuthMiddleware: it checks the key for its own pages.
    Alone: works in front of any ASGI app. Models and tokens are known where our other layers stand inside.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_keys: Sequence[str] = (),
        named_keys: KeySource | None = None,
        admin_keys: Sequence[str] = (),
        max_exchanges: int = 200,
        max_bytes: int = 64 * 1024 * 1024,
        options: Mapping[str, Any] = {},
        history: History | None = None,
        usage: Usage | None = None,
        budgets: Budgets | None = None,
        provider: str | None = None,
    ) -> None:
        self.app = app
        self._provider = provider
        self._keys = ClientKeys(api_keys, named_keys=named_keys)
        self._exchanges = Exchanges(max_exchanges, max_bytes)
        self._history = history
        sources = Sources(self._exchanges, history, usage, budgets)
        self._pages = Pages(sources, self._exchange, self._keys, AdminKeys(admin_keys), options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if self._provider is not None:
            return await self._provider_side(self._provider, scope, receive, send)
        path = route_path(scope)
        if path == "/ui" or path.startswith("/ui/"):
            return await self._pages(scope, receive, send)
        if scope["method"] != "POST" or not path.endswith(_PATHS) or "ccproxy.exchange" in scope:
            return await self.app(scope, receive, send)
        await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send, replay_of: str | None = None) -> None:
        """Call the app, and record the exchange."""
        begun: list[Exchange] = []
        stranger = ADMITTED_AS not in scope and self._keys.refusal(scope) is not None

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            record = get_record(scope)
            assert record is not None  # noqa: S101  # observe has put it there
            exchange = self._exchanges.begin(record, _call("client", scope), replay_of, stranger=stranger)
            begun.append(exchange)
            tap = _Tap(exchange, exchange.client, receive, send)
            token = _current.set(ref(exchange))
            try:
                await self.app({**scope, "ccproxy.exchange": exchange}, tap.receive, tap.send)
            finally:
                _current.reset(token)

        def end(record: Record) -> None:
            for exchange in begun:
                self._exchanges.end(exchange)
                if self._history is not None and not exchange.stranger and self._exchanges.find(exchange.id):
                    keep(self._history, exchange, self._pages.redact)

        await observe(app, scope, receive, send, end)

    async def _provider_side(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, and record the messages as a part of the client's exchange, if there is one."""
        current = _current.get()
        exchange: Exchange | None = scope.get("ccproxy.exchange") or (current() if current is not None else None)
        if exchange is None:
            return await self.app(scope, receive, send)
        call = _call(name, scope)
        exchange.add_call(call)
        tap = _Tap(exchange, call, receive, send)
        if not isinstance(receive, BufferedBody):
            return await self.app(scope, tap.receive, tap.send)
        tap.keep_request(receive.body)
        call.is_asked = True
        await self.app(scope, receive, tap.send)  # the next layer recognizes it, and need not parse it again


class _Tap:
    """Passes the messages of one call on, and records their bytes."""

    __slots__ = ("_call", "_exchange", "_receive", "_send")

    def __init__(self, exchange: Exchange, call: Call, receive: Receive, send: Send) -> None:
        self._exchange = exchange
        self._call = call
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.keep_request(message.get("body", b""))
            self._call.is_asked |= not message.get("more_body", False)
        return message

    def keep_request(self, body: bytes) -> None:
        if body and self._exchange.make_room(len(body)):
            self._call.request.append(body)
        elif body:
            self._call.is_cut = True

    async def send(self, message: Message) -> None:
        call, exchange = self._call, self._exchange
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and exchange.make_room(len(body)):
                call.answer.append((perf_counter(), body))
            elif body:
                call.is_cut = True
            if not message.get("more_body", False):
                call.ended = perf_counter()
            exchange.changed()
        elif message["type"] == "http.response.start":
            message = {**message, "headers": list(message.get("headers", ()))}  # may be readable only once
            headers = shown_headers(message["headers"])
            exchange.start_answer(call, message["status"], headers, "ccproxy.error" in message)
        await self._send(message)


def _call(name: str, scope: Scope) -> Call:
    return Call(name, scope["method"], route_path(scope), shown_headers(scope["headers"]))
