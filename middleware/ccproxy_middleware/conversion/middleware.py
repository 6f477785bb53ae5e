"""The layer around the converters."""

import logging
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any

import anyio
from orjson import JSONEncodeError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth import Admission
from ..toolkit.answers import ask_inside
from ..toolkit.asgi import (
    BufferedBody,
    ClientDisconnected,
    Headers,
    get_header,
    route_path,
    with_path,
    without_headers,
)
from ..toolkit.errors import (
    ApiError,
    StreamAborted,
    nested_too_deeply,
    read_request,
    request_id,
    send_error,
)
from ..toolkit.json import dumps, loads
from ..toolkit.record import Record, get_record
from .anthropic import catalogue
from .chat.request import convert_request
from .chat.response import empty_message, message_events
from .chat.tools import ToolConverter
from .converted import ConvertedRequest
from .counting.count_tokens import TokenCounter
from .counting.document_reader import DocumentReader
from .counting.documents import DocumentToRead
from .decisions import explain
from .exchange import Exchange, StreamExchange
from .incoming import check_depth, check_json, session_id, takes_long
from .providers.corrections import Correction, what_helped
from .providers.errors import error_from_response
from .providers.learned import LearnedProfiles
from .providers.profiles import resolve_profile

logger = logging.getLogger("ccproxy.conversion")

_MODELS_LIMIT = 2.0  # seconds for the provider's own models; Claude Code waits three for the whole list

_METHODS = {"/v1/messages": "POST", "/v1/messages/count_tokens": "POST", "/v1/models": "GET"}


class FormatConversionMiddleware:
    """Answer Anthropic clients from an inner app that speaks OpenAI's Chat Completions.

    ``provider`` names a profile and ``options`` sets switches of it; :mod:`.profiles` has both. Raises ValueError
    for one that does not exist. ``stream_idle_timeout``: seconds that a stream may go on with nothing but comments and
    blanks before it is broken off.

    Reads: ``POST /v1/messages``, ``POST /v1/messages/count_tokens``, ``GET /v1/models`` and ``/v1/models/{id}``;
    everything else passes untouched. ``ccproxy.model`` and ``ccproxy.models`` in the scope, which an outer
    ModelMappingMiddleware leaves.
    Writes: ``POST /v1/chat/completions`` to the inner app, with the headers that only concern Anthropic removed;
    the answer, with the model's name as the client sent it. Counting asks the inner app only by the switch
    ``count_tokens``, for ``POST /tokenize`` and ``/apply-template``; a list of models by ``GET /v1/models``.
    Needs: asyncio, and an inner app that speaks OpenAI's API.
    Alone: complete. Models are asked for by the names that the client sends, and listed as the inner app lists them.
    """

    first_event_grace = 10.0  # seconds of silence until a stream is begun, and an early failure has lost its status
    ping_interval = 10.0  # seconds without output until a ping
    usage_wait = 5.0  # seconds for the usage that may follow the finish reason
    max_corrections = 5  # of one request, each for another refusal

    def __init__(
        self,
        app: ASGIApp,
        *,
        provider: str = "generic",
        options: Mapping[str, Any] = {},
        stream_idle_timeout: float = 600.0,
    ) -> None:
        self.app = app
        self._idle_limit = stream_idle_timeout
        self._admission = Admission(app)
        self._profile = resolve_profile(provider, options)
        self._count_tokens = TokenCounter()
        self._profiles = LearnedProfiles(self._profile)
        self._tool_converter = ToolConverter()
        self._documents = DocumentReader()
        self._told_of_clamp = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = route_path(scope)
        if path == "/test-connection":  # shows what was learned
            return await self.app({**scope, "ccproxy.corrections": self._profiles}, receive, send)
        is_model = path.startswith("/v1/models/")
        method = "GET" if is_model else _METHODS.get(path)
        if method is None and not path.startswith("/v1/messages/"):
            return await self.app(scope, receive, send)
        scope = {**scope, "ccproxy.request_id": request_id(scope)}
        if await self._admission.refuses(scope, send):
            return
        try:
            if method is None:
                raise ApiError(404, "not_found_error", f"{path} is not supported by this endpoint")
            if scope["method"] != method:
                allow = [("allow", method)]
                raise ApiError(405, "invalid_request_error", f"{path} takes {method} only", headers=allow)
            if method == "GET":
                id_ = path.removeprefix("/v1/models/") if is_model else None
                return await self._models(scope, receive, send, id_)
            request = await read_request(scope, receive, send)
            if request is None:
                return
            scope, body = request
            check_json(body)
            if path == "/v1/messages":
                await self._messages(scope, body, send)
            else:
                await self._count(scope, body, send)
        except ApiError as error:
            await send_error(scope, send, error)
        except ClientDisconnected:
            return

    async def _messages(self, scope: Scope, body: BufferedBody, send: Send) -> None:
        known = scope.get("ccproxy.model") or {}
        record = self._record(scope, body.data)
        request = await self._convert(body, known.get("requested"), counting=False)
        self._tell_of_clamp(request)
        if record is not None:
            record.explain = partial(_explain, body, request)
        if body.data["max_tokens"] == 0:
            return await _send_prewarmed(scope, request, send)
        inner_scope = {
            **with_path(scope, "/v1/chat/completions"),
            "query_string": b"",
            "headers": self._inner_headers(scope["headers"], request.stream),
            "ccproxy.model": {"tier": None, **known, "requested": request.context.model},
        }
        id_ = request_id(scope)
        if not request.stream:
            exchange = Exchange(request, id_, send, record)
            return await self._run(inner_scope, body, exchange)
        stream = StreamExchange(
            request,
            id_,
            send,
            record,
            grace=self.first_event_grace,
            interval=self.ping_interval,
            usage_wait=self.usage_wait,
            idle_limit=self._idle_limit,
        )
        async with stream:
            await self._run(inner_scope, body, stream)

    async def _run(self, scope: Scope, body: BufferedBody, exchange: Exchange) -> None:
        """Call the inner app, and see to it that the client's answer comes to an end.

        A refusal that names a parameter is answered by a corrected request. What has helped is remembered once the
        provider has taken it.
        """
        applied: list[Correction] = []
        patch: dict[str, Any] = {}
        request = exchange.request
        asked: list[bytes] = []  # digests of the bodies

        async def send(message: Message) -> None:
            taken = message["type"] == "http.response.start" and 200 <= message["status"] < 300
            if applied and taken and (helped := what_helped(applied)):
                self._profiles.remember(request.upstream_model, helped)
            await exchange.send(message)

        while True:
            inner_body = body.replace(request.body, request.json)
            check_depth(inner_body)
            request.keep_bytes(inner_body.body)
            await self._call(scope, inner_body, send, exchange)
            if inner_body.disconnected:
                return
            if exchange.correction is None or len(asked) >= self.max_corrections:
                break
            applied.append(exchange.correction)
            asked.append(sha256(inner_body.body).digest())
            patch |= exchange.correction
            request = await self._convert(body, exchange.request.context.model, counting=False, patch=patch)
            corrected = body.replace(request.body, request.json)
            check_depth(corrected)
            if sha256(corrected.body).digest() in asked:
                break  # it would be refused again
            exchange.restart(request)
            if (record := get_record(scope)) is not None:
                record.explain = partial(_explain, body, request, patch)
        await exchange.close()

    async def _call(self, scope: Scope, body: BufferedBody, send: Send, exchange: Exchange) -> None:
        try:
            await self.app(scope, body, send)
        except StreamAborted as abort:
            exchange.cause = abort.error  # told below, also where an inner app kept it to itself
        except Exception:
            await exchange.break_off()
            raise
        if exchange.aborted:
            raise StreamAborted

    async def _convert(
        self, body: BufferedBody, model: str | None, *, counting: bool, patch: Mapping[str, Any] = {}
    ) -> ConvertedRequest:
        name = body.data.get("model") if isinstance(body.data, dict) else None
        profile = self._profiles.get(name, patch)

        def convert() -> ConvertedRequest:
            try:
                return convert_request(
                    body.data, profile, model=model, counting=counting, tool_converter=self._tool_converter
                )
            except (JSONEncodeError, RecursionError):
                raise nested_too_deeply() from None

        try:
            return await anyio.to_thread.run_sync(convert) if takes_long(body) else convert()
        except DocumentToRead:
            return await self._documents.convert(convert)

    def _record(self, scope: Scope, data: Any) -> Record | None:
        """Note what is known of a request before it is converted, which may fail."""
        record = get_record(scope)
        if record is None or not isinstance(data, dict):
            return record
        model = data.get("model")
        record.provider = self._profile.name
        record.session_id = session_id(scope, data)
        record.stream = data.get("stream") is True
        if isinstance(model, str):
            known = scope.get("ccproxy.model") or {}
            record.model = model
            record.requested_model = record.requested_model or known.get("requested") or model
        return record

    def _tell_of_clamp(self, request: ConvertedRequest) -> None:
        if request.clamped_from is None or self._told_of_clamp:
            return
        self._told_of_clamp = True
        limit = request.context.profile.max_output
        logger.warning("a client asked for max_tokens %s; it gets %s, the limit set here", request.clamped_from, limit)

    def _inner_headers(self, headers: Headers, stream: bool) -> Headers:
        passes_key = self._profile.key_mode == "passthrough"
        key = get_header(headers, b"x-api-key") if passes_key else None
        replaced = [
            b"accept",
            b"accept-encoding",
            b"content-length",
            b"transfer-encoding",
            b"content-type",
            b"idempotency-key",
        ]
        if key is not None:
            replaced += [b"x-api-key", b"authorization"]
        kept = without_headers(headers, *replaced)
        inner = [(k, v) for k, v in kept if not k.lower().startswith((b"anthropic-", b"x-stainless-"))]
        inner += [
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream" if stream else b"application/json"),
            (b"accept-encoding", b"identity"),
        ]
        if key is not None:
            inner.append((b"authorization", f"Bearer {key}".encode("latin-1")))
        return inner

    async def _count(self, scope: Scope, body: BufferedBody, send: Send) -> None:
        async def ask(path: str, question: Mapping[str, Any]) -> Any:
            return await self._ask({**scope, "method": "POST"}, body.replace(question), path)

        self._record(scope, body.data)
        request = await self._convert(body, None, counting=True)
        check_depth(body.replace(request.body, request.json))
        tokens = await self._count_tokens(request, ask)
        await _send_json(scope, send, {"input_tokens": tokens})

    async def _models(self, scope: Scope, receive: Receive, send: Send, id_: str | None) -> None:
        aliases = scope.get("ccproxy.models")
        if aliases:
            models = [catalogue.model_info(alias.id, alias.model, self._profile) for alias in aliases]
        else:  # an inner ModelMappingMiddleware lists its aliases
            models = await self._listed({**scope, "ccproxy.lists_models": True}, receive)
        if self._profile.list_models == "upstream":
            taken = {model["id"] for model in models}
            models += [model for model in await self._upstream_models(scope, receive) if model["id"] not in taken]
        if id_ is None:
            answer = catalogue.page(models, scope["query_string"])
        else:
            answer = await self._model(scope, receive, models, id_)
        await _send_json(scope, send, answer)

    async def _model(
        self, scope: Scope, receive: Receive, models: list[catalogue.ModelInfo], id_: str
    ) -> catalogue.ModelInfo:
        """The entry of one model: any that a request may name."""
        if (known := catalogue.find(models, id_)) is not None:
            return known
        try:
            with anyio.fail_after(_MODELS_LIMIT):
                models = await self._listed(scope, receive)
        except (ApiError, StreamAborted, TimeoutError):  # it has no list, and takes any name
            return catalogue.model_info(id_, id_, self._profile)
        if (known := catalogue.find(models, id_)) is None:
            raise ApiError(404, "not_found_error", f"model: {id_}")
        return known

    async def _upstream_models(self, scope: Scope, receive: Receive) -> list[catalogue.ModelInfo]:
        """The provider's own models; none where it fails, since the aliases are there all the same."""
        try:
            with anyio.fail_after(_MODELS_LIMIT):
                return await self._listed(scope, receive)
        except (ApiError, TimeoutError) as error:
            logger.warning("the provider's own models are not listed: %s", str(error) or type(error).__name__)
            return []

    async def _listed(self, scope: Scope, receive: Receive) -> list[catalogue.ModelInfo]:
        answer = await self._ask(scope, BufferedBody(receive, b""), "/v1/models")
        return catalogue.from_openai(answer, self._profile)

    async def _ask(self, scope: Scope, body: BufferedBody, path: str) -> Any:
        """The JSON of the inner app's answer. Raises ApiError for an error, or for what is no JSON."""
        inner = {**with_path(scope, path), "query_string": b""}
        inner["headers"] = self._inner_headers(scope["headers"], stream=False)
        answer = await ask_inside(self.app, inner, body)
        if body.disconnected:
            raise ClientDisconnected
        if answer is None:
            raise ApiError(502, "api_error", f"the provider gave no answer to {path}")
        if answer.error is not None:
            raise answer.error
        if not 200 <= answer.status < 300:
            raise error_from_response(answer.status, answer.headers, answer.body, self._profile)
        try:
            return loads(answer.body)
        except ValueError:
            raise ApiError(502, "api_error", f"the provider's answer to {path} is not JSON") from None


def _explain(body: BufferedBody, request: ConvertedRequest, patch: Mapping[str, Any] = {}) -> list[str]:
    return explain(body.data, request, patch)


async def _send_prewarmed(scope: Scope, request: ConvertedRequest, send: Send) -> None:
    """``max_tokens: 0`` warms Anthropic's prompt cache; here there is nothing to do."""
    message = empty_message(request.context, stop_reason="max_tokens")
    if not request.stream:
        return await _send_json(scope, send, message)
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await _send(scope, send, headers, b"".join(message_events(message)))


async def _send_json(scope: Scope, send: Send, answer: dict[str, Any]) -> None:
    body = dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await _send(scope, send, headers, body)


async def _send(scope: Scope, send: Send, headers: Headers, body: bytes) -> None:
    headers = [*headers, (b"request-id", request_id(scope).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
