"""Who may call."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from starlette.types import ASGIApp, Receive, Scope, Send

from ._asgi import get_header, route_path, without_headers
from ._errors import ApiError, send_error

_OPEN_PATHS = frozenset({"/", "/health"})
_CREDENTIALS = (b"x-api-key", b"authorization")


class ClientKeys:
    """The keys of which a client must send one; none: everybody is let in.

    Raises ValueError for keys that could never match.
    """

    def __init__(self, api_keys: Sequence[str]) -> None:
        if isinstance(api_keys, str):
            raise ValueError("api_keys is a sequence of keys, not one string")
        if not all(key.strip() for key in api_keys):
            raise ValueError("api_keys must not hold a blank key")
        self._digests = tuple(_digest(key.encode()) for key in api_keys)

    def __len__(self) -> int:
        return len(self._digests)

    def admit(self, scope: Scope) -> bool:
        """Whether one of the request's credentials is one of the keys, in the same time for every wrong one."""
        if not self._digests:
            return True
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

    def refusal(self) -> ApiError:
        """The 401 for everybody else."""
        return ApiError(
            401,
            "authentication_error",
            "invalid API key: send this proxy's key as `x-api-key` or as `Authorization: Bearer`",
            headers=[("x-should-retry", "false")],
        )


class AuthMiddleware:
    """Let only clients in that send one of ``api_keys``, as ``x-api-key`` or as ``Authorization: Bearer``.

    Without keys every request passes as it is. ``GET`` and ``HEAD`` of ``/`` and ``/health`` are open to everybody.
    Raises ValueError for keys that could never match.

    Reads: the credential that the client sent, even where an outer CustomHeadersMiddleware has set another
    ``authorization`` since.
    Writes: the client's credential is taken out of the request, so that it can't go upstream. A refusal is a 401 in
    the dialect of the path.
    Needs: nothing.
    Alone: works in front of any ASGI app. Scopes other than HTTP pass unchecked.
    """

    def __init__(self, app: ASGIApp, *, api_keys: Sequence[str] = ()) -> None:
        self.app = app
        self._keys = ClientKeys(api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._keys or self._is_open(scope):
            return await self.app(scope, receive, send)
        if not self._keys.admit(scope):
            return await send_error(scope, send, self._keys.refusal())
        custom = {name.lower() for name, _ in scope.get("ccproxy.custom_headers", ())}
        spent = [name for name in _CREDENTIALS if name not in custom]
        await self.app({**scope, "headers": without_headers(scope["headers"], *spent)}, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["method"] in ("GET", "HEAD") and route_path(scope) in _OPEN_PATHS

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._keys)} keys)"


def _digest(key: bytes) -> bytes:
    """Of one length for all keys: a comparison of the keys themselves would tell how long they are."""
    return sha256(key).digest()
