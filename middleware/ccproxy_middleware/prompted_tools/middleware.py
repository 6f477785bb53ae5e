"""The layer: which requests are prompted, and for which models it learns that they lack tools."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth import Admission
from ..boost import Dialect, dialect_of
from ..conversion.providers import (
    NO_TOOLS,
    JoinedCorrections,
    LearnedProfiles,
    profile_for_model,
    refusal_words,
    resolve_profile,
)
from ..models import TIERS, tier_of
from ..toolkit.answers import MAX_ANSWER_BYTES
from ..toolkit.asgi import BufferedBody, ClientDisconnected, route_path, without_headers
from ..toolkit.errors import ApiError, read_request, request_id, send_error
from ..toolkit.json import check_depth
from .answers import Answer
from .anthropic import AnthropicAnswer, AnthropicPrompter
from .chat import ChatAnswer, ChatPrompter
from .exchange import PromptedExchange
from .prompt import Prompter
from .responses import ResponsesAnswer, ResponsesPrompter
from .words import schemas

_MAX_REFUSAL = 64 * 1024  # bytes of an error's body that are read
_COUNT = "/v1/messages/count_tokens"


class _Api(NamedTuple):
    prompter: Prompter
    answer: Callable[[Mapping[str, Any]], Answer]


_APIS: Mapping[str, _Api] = {
    "anthropic": _Api(AnthropicPrompter(), AnthropicAnswer),
    "chat": _Api(ChatPrompter(), ChatAnswer),
    "responses": _Api(ResponsesPrompter(), ResponsesAnswer),
}


class PromptedToolsMiddleware:
    """Provide tool calling for a model without it: describe the tools in the prompt, and parse the calls in its text.

    ``provider`` names a profile and ``options`` sets its switches, as for FormatConversionMiddleware: where the switch
    ``tools`` is ``prompted``, requests are sent without ``tools``. ``learn``: do the same for a model whose provider
    refuses tools, from that refusal on. ``boosted``: tiers whose requests pass untouched, since a planner with an
    executor serves them. ``max_answer``: the maximum size in bytes of an answer that is not streamed. Raises ValueError
    for a profile, a switch or a tier that does not exist.

    Reads: ``POST /v1/messages``, ``*/chat/completions`` and ``*/responses`` that offer tools or contain calls, and
    ``/v1/messages/count_tokens``, so it may stand on either side of FormatConversionMiddleware; ``ccproxy.model`` in
    the scope, without which the tier follows from the model's name. Everything else passes untouched.
    Writes: tools, the tool choice, calls and results as text; the calls at the end of the answer as calls of its API,
    with usage summed where the model had to be called twice. ``ccproxy.corrections`` for ``/test-connection``.
    Needs: nothing.
    Alone: works in front of an OpenAI or an Anthropic app, depending on the path of the request. That its models have
    no tools is set by ``options={"tools": "prompted"}``, or learned from refusals.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        provider: str = "generic",
        options: Mapping[str, Any] = {},
        learn: bool = True,
        boosted: Collection[str] = (),
        max_answer: int = MAX_ANSWER_BYTES,
    ) -> None:
        if unknown := sorted(set(boosted).difference(TIERS)):
            raise ValueError(f"unknown tier {unknown[0]!r}; there are {', '.join(TIERS)}")
        self.app = app
        self._admission = Admission(app)
        self._profiles = LearnedProfiles(resolve_profile(provider, options))
        self._learns = learn
        self._boosted = frozenset(boosted)
        self._max_answer = max_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope) if scope["type"] == "http" else ""
        if path == "/test-connection":  # shows what was learned
            corrections = JoinedCorrections.of(scope.get("ccproxy.corrections"), self._profiles)
            return await self.app({**scope, "ccproxy.corrections": corrections}, receive, send)
        is_count = path == _COUNT
        dialect = dialect_of("/v1/messages" if is_count else path) if path and scope["method"] == "POST" else None
        if dialect is None:
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        try:
            data = await body.work(lambda: body.data)
        except ValueError:
            data = None
        api = _APIS[dialect.api]
        if not isinstance(data, dict) or not api.prompter.concerns(data) or self._is_boosted(scope, data):
            del data  # the body releases it when it is replayed
            return await self.app(scope, body, send)
        model = _model(data)
        del data
        scope = {**scope, "ccproxy.request_id": request_id(scope)}
        try:
            if self._lacks_tools(model):
                await self._prompted(scope, body, send, dialect, counts=is_count)
            elif is_count or not self._learns:
                await self.app(scope, body, send)
            else:
                await self._try(scope, body, send, dialect, model)
        except ClientDisconnected:
            return

    def _is_boosted(self, scope: Scope, data: Mapping[str, Any]) -> bool:
        if not self._boosted:
            return False
        known = scope.get("ccproxy.model") or {}
        return (known.get("tier") or tier_of(_model(data))) in self._boosted

    def _lacks_tools(self, model: str) -> bool:
        return profile_for_model(self._profiles.get(model, {}), model).tools == "prompted"

    async def _try(self, scope: Scope, body: BufferedBody, send: Send, dialect: Dialect, model: str) -> None:
        """Send the request with tools, and again without them if they are refused."""
        watch = _Watch(send)
        await self.app(scope, body, watch.send)
        if not watch.refused:
            return
        if body.disconnected:
            raise ClientDisconnected
        if await self._prompted(scope, body, send, dialect, counts=False):
            self._profiles.remember(model, {"tools": "prompted"})

    async def _prompted(self, scope: Scope, body: BufferedBody, send: Send, dialect: Dialect, *, counts: bool) -> bool:
        """Send the request without tools. Returns whether the provider has accepted that."""
        api = _APIS[dialect.api]
        try:
            await body.work(lambda: check_depth(body.data))
        except ValueError:  # an inner layer that reads it reports the error
            await self.app(scope, body, send)
            return False
        try:
            prompt = await body.work(lambda: api.prompter.prompt(body.data))
        except ApiError as error:
            await send_error(scope, send, error)
            return False
        scope = {**scope, "headers": _identity(scope)}
        if counts:
            await self.app(scope, body.replace(prompt.data), send)
            return False
        exchange = PromptedExchange(
            self.app,
            scope,
            body,
            send,
            prompt=prompt,
            prompter=api.prompter,
            answer=api.answer(schemas(prompt.tools)),
            dialect=dialect,
            request_id=request_id(scope),
            max_answer=self._max_answer,
        )
        await exchange.run()
        return exchange.answered


def _model(data: Mapping[str, Any]) -> str:
    model = data.get("model")
    return model if isinstance(model, str) else ""


def _identity(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [*without_headers(scope["headers"], b"accept-encoding"), (b"accept-encoding", b"identity")]


class _Watch:
    """Passes an answer on, unless it is a refusal of tools."""

    def __init__(self, send: Send) -> None:
        self.refused = False
        self._send = send
        self._held: list[Message] | None = None  # of an error, until its message is known
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._held = [message]
            return
        if self._held is None or message["type"] != "http.response.body":
            return None if self.refused else await self._send(message)
        self._held.append(message)
        self._body += message.get("body", b"")
        more = message.get("more_body", False)
        if more and len(self._body) <= _MAX_REFUSAL:
            return
        held, self._held = self._held, None
        self.refused = not more and NO_TOOLS.search(refusal_words(bytes(self._body))) is not None
        for message in () if self.refused else held:
            await self._send(message)
