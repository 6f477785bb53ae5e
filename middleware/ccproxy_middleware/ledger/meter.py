"""The layer around an endpoint that records the usage in its provider's answers."""

from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..toolkit.asgi import BufferedBody, TooDeep, get_header, route_path
from ..toolkit.json import loads, members
from ..toolkit.record import ProviderCall, get_calls
from .used import AnswerReader, Form

_FORMS: tuple[tuple[str, Form], ...] = (
    ("/v1/messages", "anthropic"),
    ("/chat/completions", "chat"),
    ("/responses", "responses"),
)


class MeterMiddleware:
    """Record each call that a provider has answered, with its usage.

    upstream, provider: the names of the endpoint and of its profile, with which the price is looked up.

    Reads: ``POST`` of ``/v1/messages``, ``*/chat/completions`` and ``*/responses``, and the answers to them, which pass
    unchanged. From a body it reads only the model's name.
    Writes: ``ccproxy.calls``, the list of calls that an outer observer has put into the scope.
    Needs: a place directly around an endpoint, so that it sees exactly what was sent and answered.
    Alone: does nothing without a LedgerMiddleware, MetricsMiddleware or InspectorMiddleware outside.
    """

    def __init__(self, app: ASGIApp, *, upstream: str | None = None, provider: str | None = None) -> None:
        self.app = app
        self._upstream = upstream
        self._provider = provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = _form(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        calls = None if form is None else get_calls(scope)
        if form is None or calls is None:
            return await self.app(scope, receive, send)
        call = ProviderCall(self._upstream, self._provider)
        metered = _Metered(call, calls, AnswerReader(form), send)
        if isinstance(receive, BufferedBody):
            with suppress(TooDeep):  # the endpoint refuses it
                call.model = _model(receive.body)

        async def heard() -> Message:
            message = await receive()
            if call.model is None and message["type"] == "http.request":
                call.model = _model(message.get("body", b""))
            return message

        try:
            await self.app(scope, receive if isinstance(receive, BufferedBody) else heard, metered.send)
        finally:
            metered.finish()


class _Metered:
    """The ``send`` of one call."""

    __slots__ = ("_call", "_calls", "_good", "_reader", "_send")

    def __init__(self, call: ProviderCall, calls: list[ProviderCall], reader: AnswerReader, send: Send) -> None:
        self._call = call
        self._calls = calls
        self._reader: AnswerReader | None = reader
        self._send = send
        self._good = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {
                **message,
                "headers": list(message.get("headers", ())),
            }  # may be readable only once
            self._good = 200 <= message["status"] < 300
            encoding = get_header(message["headers"], b"content-encoding") or "identity"
            if encoding.lower() != "identity":
                self._note()
        elif message["type"] == "http.response.body" and self._good and self._reader is not None:
            self._reader.feed(message.get("body", b""))
            if not message.get("more_body", False):
                self.finish()
        await self._send(message)

    def finish(self) -> None:
        """The answer is over."""
        if self._good and self._reader is not None:
            used = self._reader.result()
            call = self._call
            call.usage, call.answered_model, call.service_tier = used.usage, used.model, used.service_tier
            self._reader = None
            if not used.failed:
                self._calls.append(call)

    def _note(self) -> None:
        """Of an answer that can't be read."""
        self._reader = None
        if self._good:
            self._calls.append(self._call)


def _form(scope: Scope) -> Form | None:
    path = route_path(scope)
    return next((form for end, form in _FORMS if path.endswith(end)), None)


def _model(body: bytes) -> str | None:
    """The model's name. It comes first in nearly all bodies; whatever follows it is not read."""
    with suppress(ValueError):
        for member in members(body):
            if member.name == "model":
                name = loads(body[member.value : member.end])
                return name if isinstance(name, str) else None
    return None
