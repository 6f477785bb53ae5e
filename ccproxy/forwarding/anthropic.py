"""The endpoint for an upstream that speaks Anthropic's own API: requests and answers pass unchanged."""

from collections.abc import Iterable, Sequence
from typing import Literal

import httpx
from starlette.types import Receive, Scope, Send

from ccproxy_middleware.toolkit.asgi import Headers, get_header, without_headers
from ccproxy_middleware.toolkit.errors import ApiError, send_error

from .forward import MAX_ANSWER, Forward
from .upstream import Upstream

_CREDENTIALS = (b"x-api-key", b"authorization")
_OF_BODY = (b"content-type", b"content-length", b"content-encoding", b"transfer-encoding")
_PASSED = frozenset((b"accept", b"content-type", b"user-agent", b"x-app", b"x-client-request-id"))
_PASSED_PREFIXES = (b"anthropic-", b"x-claude-code-", b"x-stainless-")
_VERSION = (b"anthropic-version", b"2023-06-01")  # Anthropic refuses a request without one


class AnthropicUpstream(Upstream):
    """Anthropic's API or a compatible one. The base URL may be written with or without ``/v1`` at its end."""

    def __init__(self, base_url: str, api_key: str | Sequence[str] | None, api_version: str | None = None) -> None:
        super().__init__(base_url, api_key, api_version)
        if not self._path.endswith("/v1"):
            self._path += "/v1"

    def request_headers(self, client: Iterable[tuple[bytes, bytes]], custom: Headers) -> Headers:
        """All of the client's headers that Anthropic's API knows, and its ``user-agent``; none of its credentials."""
        client = list(client)
        if get_header(client, b"anthropic-version") is None:
            client.append(_VERSION)
        headers = super().request_headers(client, custom)
        agents = [header for header in headers if header[0] == b"user-agent"]
        return [header for header in headers if header not in agents[1:]]

    def _passes(self, name: bytes) -> bool:
        return name in _PASSED or name.startswith(_PASSED_PREFIXES)


class AnthropicForward(Forward):
    """An ASGI endpoint in front of Anthropic's API or a compatible one: requests and answers pass unchanged.

    api_keys: a pool; the scope's ``ccproxy.key`` is the index of the one that is sent as ``x-api-key``, the first
        without it.
    client_credential: instead of a key the client's own credential is sent, unchanged (``x-api-key`` or
        ``authorization``). It is the one that an AuthMiddleware has left in the scope as ``ccproxy.client_credential``,
        or comes from the client's headers if there is no outer one.

    The other options and the values in the scope are those of :class:`Forward`. Where other upstreams may have answered
    in a conversation, a PassthroughMiddleware adapts it. Of the client's headers, all of ``anthropic-*``,
    ``x-claude-code-*`` and those that identify the program pass; those that an outer CustomHeadersMiddleware has set
    for another upstream don't.
    """

    _upstream_class: type[Upstream] = AnthropicUpstream

    def __init__(
        self,
        base_url: str,
        *,
        api_keys: Sequence[str] = (),
        client_credential: bool = False,
        client: httpx.AsyncClient | None = None,
        transport: Literal["aiohttp", "httpx"] = "aiohttp",
        timeout: float = 90.0,
        stream_idle_timeout: float = 600.0,
        max_answer: int = MAX_ANSWER,
        max_retries: int = 2,
    ) -> None:
        if isinstance(api_keys, str):
            raise ValueError("api_keys is a sequence of keys, not one string")
        if client_credential and api_keys:
            raise ValueError("with the client's credential there are no API keys")
        AnthropicUpstream(base_url, api_keys)  # raises for keys that can't be sent
        super().__init__(
            base_url,
            client=client,
            transport=transport,
            timeout=timeout,
            stream_idle_timeout=stream_idle_timeout,
            max_answer=max_answer,
            max_retries=max_retries,
        )
        self._keys = tuple(key.encode() for key in api_keys)
        self._client_credential = client_credential

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                credential = self._credential(scope)
            except ApiError as error:
                return await send_error(scope, send, error)
            scope = {**scope, "headers": _client_headers(scope)}
            custom: Headers = scope.get("ccproxy.custom_headers", [])
            if not any(get_header(custom, name) for name in _CREDENTIALS):
                scope["ccproxy.custom_headers"] = [*custom, *credential]
        await super().__call__(scope, receive, send)

    def _credential(self, scope: Scope) -> Headers:
        """The headers that authenticate this request at the provider. Raises ApiError if the client sent none."""
        if not self._client_credential:
            if not self._keys:
                return []
            index = scope.get("ccproxy.key", 0)
            return [(b"x-api-key", self._keys[index if 0 <= index < len(self._keys) else 0])]
        known: Headers | None = scope.get("ccproxy.client_credential")
        if known is None:
            headers = scope.get("ccproxy.client_headers", scope["headers"])
            known = [(name.lower(), value) for name, value in headers if name.lower() in _CREDENTIALS]
        if not known:
            message = (
                "this model is asked with your own credential for Anthropic, and none came: send it as `x-api-key` or "
                "as `Authorization: Bearer`, and this proxy's key as `x-cc-boost-key`"
            )
            raise ApiError(401, "authentication_error", message, headers=[("x-should-retry", "false")])
        return known


def _client_headers(scope: Scope) -> Headers:
    """The headers that the client sent, with the changes of layers to those that describe the body."""
    headers: Headers = scope["headers"]
    sent: Headers | None = scope.get("ccproxy.client_headers")
    if sent is None:
        return headers
    return [*without_headers(sent, *_OF_BODY), *(header for header in headers if header[0].lower() in _OF_BODY)]
