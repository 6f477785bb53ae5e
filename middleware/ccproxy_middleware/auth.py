"""Who may call."""

import hmac
from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from .toolkit.asgi import Headers, get_header, route_path, without_headers
from .toolkit.errors import ApiError, send_error
from .toolkit.local_requests import is_expected_host, is_of_foreign_page, on_loopback

_OPEN_PATHS = frozenset({"/", "/health", "/api/hello"})
_OWN_KEY = b"x-cc-boost-key"
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

    def client_credential(self, scope: Scope) -> Headers:
        """The headers of a credential that is the client's own, such as one for Anthropic.

        Where there are keys it is what stands beside the ``x-cc-boost-key`` that holds one, and holds none itself.
        """
        headers = _client_headers(scope)
        if self._digests and ((own := get_header(headers, _OWN_KEY)) is None or not self._is_key(own)):
            return []
        found = {name: value for name in _CREDENTIALS if (value := (get_header(headers, name) or "").strip())}
        if self._digests and any(
            self._is_key(text) for value in found.values() for text in (value, value.partition(" ")[2].strip())
        ):
            return []
        return [(name, value.encode("latin-1")) for name, value in found.items()]

    def _has_key(self, scope: Scope) -> bool:
        """Whether one of the request's credentials is one of the keys, in the same time for every wrong one."""
        headers = _client_headers(scope)
        sent = [get_header(headers, b"x-api-key") or ""]
        if own := get_header(headers, _OWN_KEY):
            sent.append(own)
        scheme, _, token = (get_header(headers, b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            sent.append(token.strip())
        known = False
        for credential in sent:
            known |= self._is_key(credential)
        return known

    def _is_key(self, credential: str) -> bool:
        digest = _digest(credential.encode("latin-1"))
        known = False
        for key in self._digests:
            known |= hmac.compare_digest(digest, key)
        return known


class AuthMiddleware:
    """Let only clients in that send one of ``api_keys``: as ``x-api-key``, as ``Authorization: Bearer`` or, beside a
    credential of their own, as ``x-cc-boost-key``.

    Without keys every request passes as it is, but for two kinds, which a browser sends for a web page of elsewhere and
    which get a 403: one whose ``Origin`` or ``Sec-Fetch-Site`` is foreign; and one at a loopback address that was
    forwarded, or whose ``Host`` is neither a loopback name nor one of ``allowed_hosts`` (``*``: any). ``GET`` and
    ``HEAD`` of ``/``, ``/health`` and ``/api/hello`` are open to everybody. Raises ValueError for keys that could
    never match.

    Reads: the credential that the client sent, even where an outer CustomHeadersMiddleware has set another
    ``authorization`` since.
    Writes: the client's credential is taken out of the request, so that it can't go upstream. Beside a key that came
    as ``x-cc-boost-key``, or where there are no keys, it is the client's own: its headers are left in the scope as
    ``ccproxy.client_credential``, for an endpoint that asks Anthropic by it, and a digest of it as
    ``ccproxy.client_credential_id``. A refusal is a 401 in the dialect of the path.
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
        if _is_open(scope):
            return await self.app(scope, receive, send)
        credential = self._keys.client_credential(scope)
        scope = {
            **scope,
            "ccproxy.client_credential": credential,
            "ccproxy.client_credential_id": credential_id(credential),
        }
        if self._keys:
            custom = {name.lower() for name, _ in scope.get("ccproxy.custom_headers", ())}
            spent = [name for name in (*_CREDENTIALS, _OWN_KEY) if name not in custom]
            scope["headers"] = without_headers(scope["headers"], *spent)
        await self.app(scope, receive, send)

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


def credential_id(credential: Headers) -> str | None:
    """Sixteen hexadecimal digits that tell one client's credential from another; None where there is none."""
    return _digest(b"\n".join(value for _, value in credential)).hex()[:16] if credential else None


def _client_headers(scope: Scope) -> Headers:
    headers: Headers = scope.get("ccproxy.client_headers", scope["headers"])
    return headers


def _is_open(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and route_path(scope) in _OPEN_PATHS


def _no_key() -> ApiError:
    message = (
        "invalid API key: send this proxy's key as `x-api-key`, as `Authorization: Bearer`, or as `x-cc-boost-key` "
        "beside a credential of your own"
    )
    return ApiError(401, "authentication_error", message, headers=_NO_RETRY)


def _refused(message: str) -> ApiError:
    return ApiError(403, "permission_error", message, headers=_NO_RETRY)


def _digest(key: bytes) -> bytes:
    """Of one length for all keys: a comparison of the keys themselves would tell how long they are."""
    return sha256(key).digest()
