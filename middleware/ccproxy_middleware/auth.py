"""Who may call."""

import hmac
from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from .toolkit.asgi import get_header, route_path, without_headers
from .toolkit.errors import ApiError, send_error
from .toolkit.local_requests import is_expected_host, is_of_foreign_page, on_loopback

_OPEN_PATHS = frozenset({"/", "/health", "/api/hello"})
_CREDENTIALS = (b"x-api-key", b"authorization")
_NO_RETRY = [("x-should-retry", "false")]
_MAX_LAYERS = 100  # that are looked through; a foreign app may hold itself


class ClientKeys:
    """The keys of which a client must send one; none: every program may call, but no web page of elsewhere.

    allowed_hosts: names under which a request on loopback may reach a server without keys, beside those of loopback;
        ``*`` is any.

    Raises ValueError for keys that could never match.
    """

    def __init__(self, api_keys: Sequence[str], allowed_hosts: Collection[str] = ()) -> None:
        if isinstance(api_keys, str):
            raise ValueError("api_keys is a sequence of keys, not one string")
        if not all(key.strip() for key in api_keys):
            raise ValueError("api_keys must not hold a blank key")
        if isinstance(allowed_hosts, str):
            raise ValueError("allowed_hosts is a collection of names, not one string")
        self._digests = tuple(_digest(key.encode()) for key in api_keys)
        self._allowed_hosts = frozenset(name.strip("[]").lower() for name in allowed_hosts)

    def __len__(self) -> int:
        return len(self._digests)

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request is not let in; None: it is."""
        if self._digests:
            return None if self._has_key(scope) else _no_key()
        if is_of_foreign_page(scope):
            return _refused("a web page of another origin may not call this proxy without a key.")
        if on_loopback(scope) and not is_expected_host(scope, self._allowed_hosts):
            return _refused(
                "without a key this proxy answers programs on its own machine, which call it localhost or 127.0.0.1, "
                "and nothing that was forwarded: set ANTHROPIC_API_KEY, or name its host in ALLOWED_HOSTS."
            )
        return None

    def _has_key(self, scope: Scope) -> bool:
        """Whether one of the request's credentials is one of the keys, in the same time for every wrong one."""
        headers = scope.get("ccproxy.client_headers", scope["headers"])
        sent = [get_header(headers, b"x-api-key") or ""]
        scheme, _, token = (get_header(headers, b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            sent.append(token.strip())
        known = False
        for credential in sent:
            digest = _digest(credential.encode("latin-1"))
            for key in self._digests:
                known |= hmac.compare_digest(digest, key)
        return known


class AuthMiddleware:
    """Let only clients in that send one of ``api_keys``, as ``x-api-key`` or as ``Authorization: Bearer``.

    Without keys every request passes as it is, but for two kinds, which a browser sends for a web page of elsewhere and
    which get a 403: one whose ``Origin`` or ``Sec-Fetch-Site`` is foreign; and one at a loopback address that was
    forwarded, or whose ``Host`` is neither a loopback name nor one of ``allowed_hosts`` (``*``: any). ``GET`` and
    ``HEAD`` of ``/``, ``/health`` and ``/api/hello`` are open to everybody. Raises ValueError for keys that could
    never match.

    Reads: the credential that the client sent, even where an outer CustomHeadersMiddleware has set another
    ``authorization`` since.
    Writes: the client's credential is taken out of the request, so that it can't go upstream. A refusal is a 401 in
    the dialect of the path.
    Needs: nothing. A layer of ours outside of it that reads bodies or answers by itself asks it first, as far as each
    layer between keeps its app as ``app``.
    Alone: works in front of any ASGI app. Scopes other than HTTP pass unchecked.
    """

    def __init__(self, app: ASGIApp, *, api_keys: Sequence[str] = (), allowed_hosts: Collection[str] = ()) -> None:
        self.app = app
        self._keys = ClientKeys(api_keys, allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if (refusal := self.refusal(scope)) is not None:
            return await send_error(scope, send, refusal)
        if not self._keys or _is_open(scope):
            return await self.app(scope, receive, send)
        custom = {name.lower() for name, _ in scope.get("ccproxy.custom_headers", ())}
        spent = [name for name in _CREDENTIALS if name not in custom]
        await self.app({**scope, "headers": without_headers(scope["headers"], *spent)}, receive, send)

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request is not let in; None: it is."""
        return None if _is_open(scope) else self._keys.refusal(scope)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._keys)} keys)"


class Admission:
    """For a layer that does something before it calls its app: the refusal of an AuthMiddleware that stands inside.

    Without it a stranger would get what the layer itself answers, and cost what it does.
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


def _is_open(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and route_path(scope) in _OPEN_PATHS


def _no_key() -> ApiError:
    message = "invalid API key: send this proxy's key as `x-api-key` or as `Authorization: Bearer`"
    return ApiError(401, "authentication_error", message, headers=_NO_RETRY)


def _refused(message: str) -> ApiError:
    return ApiError(403, "permission_error", message, headers=_NO_RETRY)


def _digest(key: bytes) -> bytes:
    """Of one length for all keys: a comparison of the keys themselves would tell how long they are."""
    return sha256(key).digest()
