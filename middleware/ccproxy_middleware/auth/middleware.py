"""The layer that authenticates clients."""

from collections.abc import Collection, Sequence
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ..toolkit.asgi import Headers, route_path, without_headers
from ..toolkit.errors import ApiError, send_error
from ..toolkit.record import get_record
from .keys import CREDENTIALS, OWN_KEY, ClientKeys, KeySource, digest

ADMITTED_AS = "ccproxy.admitted_as"
"""In the scope: the name under which an outer layer of ours has let a request in, which needs no client key then."""

_OPEN_PATHS = frozenset({"/", "/health", "/api/hello"})
_MAX_LAYERS = 100  # inspected at most, since a foreign app may reference itself


class AuthMiddleware:
    """Admit only clients that send one of ``api_keys``: as ``x-api-key``, as ``Authorization: Bearer`` or, beside a
    credential of their own, as ``x-cc-boost-key``.

    api_keys: keys that never expire; their names are ``key 1``, ``key 2`` and so on.
    named_keys: a function that returns further keys, each with a name of its own and possibly an expiry (ClientKey). It
        is called for each request, so that the keys may change. Where it is given a key is required, even while it
        returns none.
    allowed_hosts: see below.

    Without both, every request passes unchanged except for two kinds that a browser sends on behalf of a foreign web
    page, which get a 403: a request whose ``Origin`` or ``Sec-Fetch-Site`` is foreign; and a request at a loopback
    address that was forwarded, or whose ``Host`` is neither a loopback name nor one of ``allowed_hosts`` (``*``: any).
    ``GET`` and ``HEAD`` of ``/``, ``/health`` and ``/api/hello`` need no key. Raises ValueError for keys that could
    never match.

    Reads: the credential that the client sent, even where an outer CustomHeadersMiddleware has since set another
    ``authorization``; ``ccproxy.admitted_as``, with which one of our outer layers, such as the inspector, admits a
    request without a client key.
    Writes: removes the client's credential from the request, so that it can't go upstream. Beside a key sent as
    ``x-cc-boost-key``, or where there are no keys, it is the client's own: its headers are left in the scope as
    ``ccproxy.client_credential``, for an endpoint that uses it to call Anthropic, and a digest of it as
    ``ccproxy.client_credential_id``. The key's name is in the scope as ``ccproxy.client_key``, and in
    ``ccproxy.record``. A refusal is a 401 in the dialect of the path.
    Needs: nothing. One of our outer layers that reads bodies or answers by itself consults it first, provided that each
    layer between them has its app as ``app``.
    Alone: works in front of any ASGI app. Scopes other than HTTP pass unchecked.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_keys: Sequence[str] = (),
        allowed_hosts: Collection[str] = (),
        named_keys: KeySource | None = None,
    ) -> None:
        self.app = app
        self._keys = ClientKeys(api_keys, allowed_hosts, named_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if _is_open(scope):
            return await self.app(scope, receive, send)
        name, refusal = self._judge(scope)
        if name is not None and (record := get_record(scope)) is not None:
            record.client_key = name
        if refusal is not None:
            return await send_error(scope, send, refusal)
        credential = self._keys.client_credential(scope, admitted=ADMITTED_AS in scope)
        scope = {
            **scope,
            "ccproxy.client_credential": credential,
            "ccproxy.client_credential_id": credential_id(credential),
        }
        if name is not None:
            scope["ccproxy.client_key"] = name
        if self._keys:
            custom = {name.lower() for name, _ in scope.get("ccproxy.custom_headers", ())}
            spent = [name for name in (*CREDENTIALS, OWN_KEY) if name not in custom]
            scope["headers"] = without_headers(scope["headers"], *spent)
        await self.app(scope, receive, send)

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request is refused; None if it is admitted."""
        return None if _is_open(scope) else self._judge(scope)[1]

    def key_name(self, scope: Scope) -> str | None:
        """The name of the key that a request brings, even if it is no longer accepted."""
        return self._judge(scope)[0]

    def _judge(self, scope: Scope) -> tuple[str | None, ApiError | None]:
        if ADMITTED_AS in scope:
            return str(scope[ADMITTED_AS]), None
        key, refusal = self._keys.judge(scope)
        return None if key is None else key.name, refusal

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._keys)} keys)"


class Admission:
    """For a layer that acts before it calls its app: the refusal of an inner AuthMiddleware.

    Without it, a client without a key would get the answers that the layer itself gives, and cause their cost.
    """

    def __init__(self, app: ASGIApp) -> None:
        inner: Any = app
        for _ in range(_MAX_LAYERS):
            if inner is None or isinstance(inner, AuthMiddleware):
                break
            inner = getattr(inner, "app", None)
        self._auth = inner if isinstance(inner, AuthMiddleware) else None

    async def refuses(self, scope: Scope, send: Send) -> bool:
        """Whether the request was refused, and answered."""
        if self._auth is None or (refusal := self._auth.refusal(scope)) is None:
            return False
        await send_error(scope, send, refusal)
        return True

    def key_name(self, scope: Scope) -> str | None:
        """The name of the client's key, whether the layer that determines it stands outside or inside."""
        known = scope.get("ccproxy.client_key")
        if isinstance(known, str):
            return known
        return None if self._auth is None else self._auth.key_name(scope)


def credential_id(credential: Headers) -> str | None:
    """Sixteen hexadecimal digits that distinguish one client's credential from another; None where there is none."""
    return digest(b"\n".join(value for _, value in credential)).hex()[:16] if credential else None


def _is_open(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and route_path(scope) in _OPEN_PATHS
