"""The layer that applies the converters."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

from orjson import JSONEncodeError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth import Admission
from ..safeguards import SafeguardedAnswer, asks_for_verdicts
from ..toolkit.answers import MAX_ANSWER_BYTES, ask_inside
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
from ..toolkit.json import loads
from ..toolkit.record import Record, get_record
from ..toolkit.safety_checks import is_safety_check
from ..toolkit.sight import Sight
from ..toolkit.store import Store
from ..toolkit.worker_threads import in_thread
from ..web_search import search_layer
from .apis import APIS, convert_request
from .chat import ToolConverter
from .claude_code import told_at_once
from .context import Api, ConvertedRequest
from .counting import DocumentReader, DocumentToRead, TokenCounter
from .decisions import explain
from .exchange import Exchange
from .incoming import check_depth, check_json, session_id, takes_long
from .model_list import ModelList
from .own_answers import send_json, send_prewarmed
from .providers import Correction, JoinedCorrections, LearnedProfiles, error_from_response, resolve_profile, what_helped
from .refused_reasoning import RefusedReasoning
from .stream_exchange import StreamExchange

logger = logging.getLogger("ccproxy.conversion")

# Headers that only concern Anthropic; those of Claude Code identify its sessions, prompts and agents.
_OF_ANTHROPIC = (b"anthropic-", b"x-stainless-", b"x-claude-")

_METHODS = {"/v1/messages": "POST", "/v1/messages/count_tokens": "POST", "/v1/models": "GET"}


class FormatConversionMiddleware:
    """Serve Anthropic clients from an inner app that speaks OpenAI's Chat Completions or Responses API.

    ``provider`` names a profile and ``options`` sets its switches; both are described in :mod:`.profiles`. Raises
    ValueError for one that does not exist. ``stream_idle_timeout``: seconds for which a stream may contain only
    comments and blank lines before it is aborted. ``max_answer``: the maximum size in bytes of an answer that is not
    streamed. ``store`` keeps what was learned from refusals, for all layers that share it and have the same
    ``store_name``, which identifies the provider. For the log, ``setting`` is the name of the setting behind
    ``options``, and ``limit_settings`` are the names of those behind ``max_output`` and ``min_output``, where they
    differ.

    Reads: ``POST /v1/messages``, ``POST /v1/messages/count_tokens``, ``GET /v1/models`` and ``/v1/models/{id}``;
    everything else passes untouched. ``ccproxy.model`` and ``ccproxy.models`` in the scope, as an outer
    ModelMappingMiddleware sets them.
    Writes: ``POST /v1/chat/completions`` or, by the switch ``api``, ``POST /v1/responses`` to the inner app, without
    the headers that only concern Anthropic; the answer, with the model's name as the client sent it.
    ``ccproxy.safety_check`` in the scope: whether the request is one in which Claude Code's auto mode asks whether an
    action is safe; it is sent with reasoning off, or as low as the model allows. ``ccproxy.safeguards``, where a client
    requests verdicts on tool calls, for an inner SafeguardsMiddleware; without one the answer reports them as
    unsupported. Token counting calls the inner app only if the switch ``count_tokens`` is set, by ``POST /tokenize``
    and ``/apply-template`` or ``/v1/responses/input_tokens``. A list of models comes from its ``GET /v1/models``.
    Needs: asyncio, and an inner app that speaks OpenAI's API.
    Alone: complete. Models are requested by the names that the client sends, and listed as the inner app lists them.
    """

    first_event_grace = 10.0  # seconds of silence until a stream is started; later failures have no status of their own
    ping_interval = 10.0  # seconds without output until a ping
    usage_wait = 5.0  # seconds to wait for the usage that may follow the finish reason
    max_corrections = 5  # corrections of one request, each for a different refusal

    def __init__(
        self,
        app: ASGIApp,
        *,
        provider: str = "generic",
        options: Mapping[str, Any] = {},
        stream_idle_timeout: float = 600.0,
        max_answer: int = MAX_ANSWER_BYTES,
        store: Store | None = None,
        store_name: str = "",
        setting: str = "PROVIDER_OPTIONS",
        limit_settings: Mapping[str, str] = {},
    ) -> None:
        self.app = app
        self._idle_limit = stream_idle_timeout
        self._max_answer = max_answer
        self._admission = Admission(app)
        self._search = search_layer(app)
        self._profile = resolve_profile(provider, options)
        self._count_tokens = TokenCounter()
        self._limit_settings = dict(limit_settings)
        self._profiles = LearnedProfiles(self._profile, store=store, name=store_name, setting=setting)
        self._tool_converter = ToolConverter()
        self._refused = RefusedReasoning()
        self._documents = DocumentReader()
        self._told_of_clamp = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = route_path(scope)
        if path == "/test-connection":  # shows what was learned
            corrections = JoinedCorrections.of(scope.get("ccproxy.corrections"), self._profiles)
            return await self.app({**scope, "ccproxy.corrections": corrections}, receive, send)
        is_model = path.startswith("/v1/models/")
        method = "GET" if is_model else _METHODS.get(path)
        if method is None and not path.startswith("/v1/messages/"):
            return await self.app(scope, receive, send)
        scope = {**scope, "ccproxy.request_id": request_id(scope)}
        send = told_at_once(scope, send)
        if await self._admission.refuses(scope, send):
            return
        if self._search is not None and method == scope["method"] == "POST" and not scope.get("ccproxy.searching"):
            scope["ccproxy.searching"] = True
            return await self._search.around(self, scope, receive, send)
        try:
            if method is None:
                raise ApiError(404, "not_found_error", f"{path} is not supported by this endpoint")
            if scope["method"] != method:
                allow = [("allow", method)]
                raise ApiError(405, "invalid_request_error", f"{path} takes {method} only", headers=allow)
            if method == "GET":
                id_ = path.removeprefix("/v1/models/") if is_model else None
                listed = ModelList(self._profile, self._ask)
                return await send_json(scope, send, await listed.answer(scope, receive, id_))
            request = await read_request(scope, receive, send)
            if request is None:
                return
            scope, body = request
            await check_json(body)
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
        if record is not None and record.request_observers and isinstance(body.data, dict):
            await body.work(partial(record.tell_request, body.data))
        request = await self._convert(body, known.get("requested"), counting=False)
        self._tell_of_clamp(request)
        if record is not None:
            record.explain = self._explanation(body, request, [])
        if body.data["max_tokens"] == 0:
            return await send_prewarmed(scope, request, send)
        inner_scope = {
            **scope,
            "query_string": b"",
            "ccproxy.model": {"tier": None, **known, "requested": request.context.model},
            "ccproxy.safety_check": is_safety_check(body.data),
        }
        if asks_for_verdicts(body.data):
            answer = inner_scope["ccproxy.safeguards"] = SafeguardedAnswer(send, body)
            send = answer.send
        id_ = request_id(scope)
        if not request.stream:
            exchange = Exchange(request, id_, send, record, max_answer=self._max_answer)
            if record is not None:
                record.explain = self._explanation(body, request, exchange.notes)
            return await self._run(inner_scope, body, exchange)
        stream = StreamExchange(
            request,
            id_,
            send,
            record,
            max_answer=self._max_answer,
            grace=self.first_event_grace,
            interval=self.ping_interval,
            usage_wait=self.usage_wait,
            idle_limit=self._idle_limit,
        )
        if record is not None:
            record.explain = self._explanation(body, request, stream.notes)
        async with stream:
            await self._run(inner_scope, body, stream)

    async def _run(self, scope: Scope, body: BufferedBody, exchange: Exchange) -> None:
        """Call the inner app, and make sure that the client's answer is completed.

        If a refusal names a parameter, a corrected request is sent. A correction that worked is stored once the
        provider has answered.
        """
        applied: list[Correction] = []
        patch: dict[str, Any] = {}
        request = exchange.request
        asked: list[bytes] = []  # digests of the bodies

        async def send(message: Message) -> None:
            await exchange.send(message)
            if applied and exchange.answered:
                self._remember(request.upstream_model, applied)
                applied.clear()

        inner_body = await _written(body, request)
        while True:
            api = request.api
            headers = self._inner_headers(scope["headers"], request.asks_stream)
            inner_scope = {**with_path(scope, APIS[api].path), "headers": headers}
            await self._call(inner_scope, inner_body, send, exchange)
            if inner_body.disconnected:
                return
            if exchange.correction is None or len(asked) >= self.max_corrections:
                break
            sight = scope.get("ccproxy.sight")
            if isinstance(sight, Sight) and not exchange.begun and exchange.correction.get("vision") is False:
                sight.refused = True
                return
            applied.append(exchange.correction)
            asked.append(sha256(api.encode() + inner_body.body).digest())
            patch |= exchange.correction
            request = await self._convert(body, exchange.request.context.model, counting=False, patch=patch)
            inner_body = await _written(body, request)
            if sha256(request.api.encode() + inner_body.body).digest() in asked:
                break  # it would be refused again
            exchange.restart(request)
            if (record := get_record(scope)) is not None:
                record.explain = self._explanation(body, request, exchange.notes, patch)
        await exchange.close()

    def _remember(self, model: str, applied: list[Correction]) -> None:
        """Store the corrections that worked, for the next requests."""
        if helped := what_helped(applied):
            self._profiles.remember(model, helped)
        for correction in applied:
            if correction.reasoning:
                self._refused.add(correction.reasoning)

    async def _call(self, scope: Scope, body: BufferedBody, send: Send, exchange: Exchange) -> None:
        try:
            await self.app(scope, body, send)
        except StreamAborted as abort:
            # Reported at the end, if an inner app did not pass it on.
            exchange.cause = abort.error and abort.error.without_frames()
        except Exception:
            await exchange.break_off()
            raise
        if exchange.aborted is not None:
            raise StreamAborted(exchange.aborted.message, exchange.aborted)

    async def _convert(
        self,
        body: BufferedBody,
        model: str | None,
        *,
        counting: bool,
        patch: Mapping[str, Any] = {},
        api: Api | None = None,
    ) -> ConvertedRequest:
        data = await body.work(lambda: body.data)
        name = data.get("model") if isinstance(data, dict) else None
        del data  # the body releases it when it is replayed
        profile = self._profiles.get(name, patch)

        def convert() -> ConvertedRequest:
            try:
                return convert_request(
                    body.data,
                    profile,
                    model=model,
                    counting=counting,
                    tool_converter=self._tool_converter,
                    refused=self._refused.__contains__,
                    api=api,
                )
            except (JSONEncodeError, RecursionError):
                raise nested_too_deeply() from None

        try:
            return await in_thread(convert) if takes_long(body) else convert()
        except DocumentToRead:
            return await self._documents.convert(convert)

    def _record(self, scope: Scope, data: Any) -> Record | None:
        """Record what is known about a request before it is converted, since the conversion may fail."""
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

    def _explanation(
        self, body: BufferedBody, request: ConvertedRequest, notes: list[str], patch: Mapping[str, Any] = {}
    ) -> Callable[[], list[str]]:
        """The function that writes the lines on a request's conversion."""
        used, own = request.context.profile, self._profile  # attempts that differ in what was learned about the model
        names = {
            switch: n for switch, n in self._limit_settings.items() if getattr(used, switch) == getattr(own, switch)
        }
        return partial(_explain, body, request, notes, dict(patch), names)

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
        inner = [(k, v) for k, v in kept if not k.lower().startswith(_OF_ANTHROPIC)]
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
        by_chat = self._profile.count_tokens in ("vllm", "llama.cpp")  # these count no other body
        request = await self._convert(body, None, counting=True, api="chat" if by_chat else None)
        await body.work(lambda: check_depth(body.replace(request.body, request.json)))
        tokens = await self._count_tokens(request.body, request.context.profile, ask, APIS[request.api].count)
        await send_json(scope, send, {"input_tokens": tokens})

    async def _ask(self, scope: Scope, body: BufferedBody, path: str) -> Any:
        """The JSON of the inner app's answer. Raises ApiError for an error, or for an answer that is not JSON."""
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


async def _written(body: BufferedBody, request: ConvertedRequest) -> BufferedBody:
    """The serialized body; the request releases its objects. Raises a 400 if it is nested too deeply."""
    inner = body.replace(request.body, request.json)

    def write() -> None:
        check_depth(inner)
        request.keep_bytes(inner.body)

    await body.work(write)
    return inner


def _explain(
    body: BufferedBody, request: ConvertedRequest, notes: list[str], patch: Mapping[str, Any], names: Mapping[str, str]
) -> list[str]:
    return [*explain(body.data, request, patch, names), *notes]
