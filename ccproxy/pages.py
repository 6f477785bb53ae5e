"""The proxy's own small pages: what is running, whether it is alive, whether the provider answers."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware.models import DEFAULT_UPSTREAM
from ccproxy_middleware.toolkit.answers import ask_inside
from ccproxy_middleware.toolkit.asgi import BufferedBody, route_path, with_path
from ccproxy_middleware.toolkit.errors import ApiError, request_id, send_error

from .boundary import raised_error
from .ledger import SessionUsage
from .settings import Settings, Upstream, names_of, tier_models

log = logging.getLogger("ccproxy")


class JSON(Response):
    """A JSON answer, serialized by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class Root:
    """``GET /``: what is running here, without secrets. Claude Code sends ``HEAD /`` once when it starts."""

    def __init__(self, settings: Settings, layers: Sequence[str]) -> None:
        named = settings.upstreams.items()
        others = {name: {"provider": upstream.provider, "api": upstream.api} for name, upstream in named}
        self._page = {
            "name": "cc-boost",
            "version": version("cc-boost"),
            "provider": settings.provider,
            "models": {tier: ",".join(names_of(models)) for tier, models in tier_models(settings).items()},
            **({"upstreams": others} if others else {}),
            "layers": list(layers),
            "endpoints": [
                "POST /v1/messages",
                "POST /v1/messages/count_tokens",
                "GET /v1/models",
                "GET /health",
                "GET /test-connection",
            ],
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await JSON(self._page)(scope, receive, send)


async def health(request: Request) -> Response:
    """``GET /health``: the process is alive and serves requests. Never calls the provider."""
    return JSON({"status": "ok"})


async def hello(request: Request) -> Response:
    """``HEAD /api/hello``, with which Claude Code opens a connection before its first request."""
    return JSON({"message": "hello"})


class InspectorOff:
    """Explains at ``/ui`` how to enable the inspector, without requiring a key: a browser that opens the page sends
    none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and route_path(scope) in ("/ui", "/ui/"):
            message = "the inspector is off: set INSPECTOR=true and restart the proxy"
            return await send_error(scope, send, ApiError(404, "not_found_error", message))
        await self.app(scope, receive, send)


class KnowsSessions(Protocol):
    """Returns what a session has used."""

    async def session(self, id_: str) -> SessionUsage | None:
        """None if the session is not known."""


class SessionPage:
    """``GET /usage/session/{id}``: what one session has used, for its status line. It requires the key of the
    session.
    """

    def __init__(self, source: KnowsSessions) -> None:
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            usage = await self._source.session(scope["path_params"]["id"])
        except Exception as exc:
            log.warning("the usage of a session can't be told: %s", type(exc).__name__)
            return await send_error(scope, send, ApiError(503, "api_error", "the ledger can't be read"))
        if usage is None or usage.key != scope.get("ccproxy.client_key"):
            error = ApiError(404, "not_found_error", "no exchange of this session is known")
            return await send_error(scope, send, error)
        await JSON(usage.as_json())(scope, receive, send)


async def no_such_page(request: Request, exc: Exception) -> Response:
    """The answer for a path without a route: a 404, or a 405 with the allowed methods, in Anthropic's format.

    Any other exception is one that a foreign layer has raised from its ``receive``.
    """
    id_ = request_id(request.scope)
    path = route_path(request.scope)
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        error = ApiError(405, "invalid_request_error", f"{request.method} is not allowed for {path}")
    elif isinstance(exc, HTTPException) and exc.status_code != 404:
        error = raised_error(exc)
    else:
        error = ApiError(404, "not_found_error", f"{path} is not supported by this endpoint")
    headers = {**(getattr(exc, "headers", None) or {}), "request-id": id_}
    return JSON(error.body(id_), status_code=error.status, headers=headers)


class Tested(NamedTuple):
    """An upstream, the stack that answers Anthropic's requests with it, its endpoint, and one of its configured
    models.
    """

    upstream: Upstream
    stack: ASGIApp
    endpoint: ASGIApp
    model: str | None


class ConnectionTest:
    """``GET /test-connection``: one tiny request to each upstream, and a remedy if it fails.

    It also shows the corrections that were learned from the provider's refusals, by model; ``DELETE`` removes them. The
    document itself describes the default upstream; the others are in its ``upstreams``. The status is that of the first
    failure.
    """

    def __init__(self, tested: Sequence[Tested]) -> None:
        self._tested = tested

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        corrections = scope.get("ccproxy.corrections")
        learned = dict(corrections.learned()) if corrections is not None else {}
        if scope["method"] == "DELETE":
            if corrections is not None:
                corrections.forget()
            for tested in self._tested:
                if tested.upstream.name != DEFAULT_UPSTREAM:
                    found = await _learned(tested, scope, receive)
                    learned |= {f"{tested.upstream.name}:{model}": switches for model, switches in found.items()}
            return await JSON({"forgotten": learned})(scope, receive, send)
        page: dict[str, Any] = {"status": "ok"}
        upstreams: dict[str, dict[str, Any]] = {}
        code = 200
        for tested in self._tested:
            result = await self._ask(tested, scope, receive)
            if result is None:
                return  # the client has disconnected
            own, status = result
            if status != 200 and code == 200:
                code = status
            if tested.upstream.name == DEFAULT_UPSTREAM:
                page = {**own, "corrections": learned}
            else:
                found = await _learned(tested, scope, receive)
                upstreams[tested.upstream.name] = {**own, "corrections": found}
        if upstreams:
            page = {**page, "status": "ok" if code == 200 else "failed", "upstreams": upstreams}
        await JSON(page, status_code=code)(scope, receive, send)

    async def _ask(self, tested: Tested, scope: Scope, receive: Receive) -> tuple[dict[str, Any], int] | None:
        """The page of one upstream, and the status; None if the client has disconnected."""
        if tested.model is None:
            inner = {**with_path(scope, "/v1/models"), "method": "GET", "query_string": b""}
            body = BufferedBody(receive, b"")
        else:
            question = {
                "model": tested.model,
                "max_tokens": 16,
                "messages": [{"role": "user", "content": "Reply with the word OK."}],
            }
            inner = {**with_path(scope, "/v1/messages"), "method": "POST", "query_string": b""}
            headers = [(k, v) for k, v in scope["headers"] if k.lower() not in (b"content-length", b"content-type")]
            inner["headers"] = [*headers, (b"content-type", b"application/json")]
            body = BufferedBody(receive, data=question)
        try:
            answer = await ask_inside(tested.endpoint if tested.model is None else tested.stack, inner, body)
        except ApiError as error:
            return _verdict(tested, error.status, orjson.dumps(error.event()))
        return None if answer is None else _verdict(tested, answer.status, answer.body)


async def _learned(tested: Tested, scope: Scope, receive: Receive) -> dict[str, Any]:
    """The corrections that another upstream's stack has learned. Its endpoint returns or removes them."""
    inner = {**with_path(scope, "/test-connection"), "query_string": b""}
    answer = await ask_inside(tested.stack, inner, BufferedBody(receive, b""))
    if answer is None or answer.status != 200:
        return {}
    learned: dict[str, Any] = orjson.loads(answer.body)
    return learned


def corrections_page(app: ASGIApp) -> ASGIApp:
    """An upstream's endpoint, which returns at ``/test-connection`` what the layers in front of it have learned."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or route_path(scope) != "/test-connection":
            return await app(scope, receive, send)
        corrections = scope.get("ccproxy.corrections")
        learned = corrections.learned() if corrections is not None else {}
        if corrections is not None and scope["method"] == "DELETE":
            corrections.forget()
        await JSON(learned)(scope, receive, send)

    return endpoint


def _verdict(tested: Tested, status: int, body: bytes) -> tuple[dict[str, Any], int]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    page: dict[str, Any] = {"provider": tested.upstream.provider, "model": tested.model}
    if status == 200:
        return {"status": "ok", **page, **({"usage": answer.get("usage")} if tested.model else {})}, 200
    error = answer.get("error")
    if not isinstance(error, dict):
        error = {}
    failure = {
        "type": error.get("type", "api_error"),
        "message": error.get("message", ""),
    }
    remedy = tested.upstream.own_names(_remedy(status, failure["message"]))
    if tested.upstream.name != DEFAULT_UPSTREAM:
        remedy = remedy.replace("the model of SMALL_MODEL", "the model").replace("SMALL_MODEL", "the model")
    return {"status": "failed", **page, "error": failure, "remedy": remedy}, status


_MISSING = "Check OPENAI_BASE_URL (most end in /v1) and that the model of SMALL_MODEL exists there."


def _remedy(status: int, message: str) -> str:
    """The remedy for a kind of failure."""
    if "could not connect" in message:
        return "Check OPENAI_BASE_URL: is the server running, is the name right, does the network or a proxy block it?"
    if "API key" in message:
        return "Check OPENAI_API_KEY: the provider does not accept it."
    match status:
        case 400 if "as for a wrong address" in message:
            return _MISSING
        case 400:
            return "The provider refused the request: check SMALL_MODEL, PROVIDER and PROVIDER_OPTIONS."
        case 402:
            return "The provider refuses for lack of credit: check the account of OPENAI_API_KEY."
        case 403:
            return "The key may not use this model: check SMALL_MODEL and the rights of OPENAI_API_KEY."
        case 404:
            return _MISSING
        case 429 | 529:
            return "The provider is there but busy, or its limit is used up: try again later."
        case 504:
            return "The provider did not answer in time: is the model still loading? REQUEST_TIMEOUT sets the limit."
        case _:
            return "The provider is there but fails: look at its own log or status page."
