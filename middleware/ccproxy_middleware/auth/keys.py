"""The keys that clients send, their names, and the errors for a client without a valid key."""

import hmac
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from starlette.types import Scope

from ..toolkit.asgi import Headers, get_header
from ..toolkit.errors import ApiError
from ..toolkit.local_requests import is_expected_host, is_of_foreign_page, on_loopback

OWN_KEY = b"x-cc-boost-key"
CREDENTIALS = (b"x-api-key", b"authorization")
_NO_RETRY = [("x-should-retry", "false")]


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A key that a client may send, stored as the SHA-256 of its text, and the name of its holder.

    expires: the moment (with a time zone) from which it is refused. revoked: it is refused, and the refusal says so.
    text: the key itself where it is available, so that it can be removed from what is shown.
    """

    name: str
    digest: bytes = field(repr=False)
    expires: datetime | None = None
    revoked: bool = False
    text: str | None = field(default=None, repr=False)

    @classmethod
    def of_text(cls, name: str, text: str) -> "ClientKey":
        """The key of this text, which never expires."""
        return cls(name, digest(text.encode()), text=text)

    def refusal(self, now: datetime) -> ApiError | None:
        """Why it is no longer accepted; None if it is."""
        if self.revoked:
            return _unauthorized("this key has been revoked: ask whoever runs this proxy for another one")
        if self.expires is not None and now >= self.expires:
            end = self.expires.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
            return _unauthorized(f"this key expired on {end}: ask whoever runs this proxy for another one")
        return None


KeySource = Callable[[], Sequence[ClientKey]]
"""Gives the keys as they are now; called for each request."""


class ClientKeys:
    """The keys of which a client must send one. Without any, every program may call, but no web page of another origin.

    api_keys: keys that never expire, named ``key 1``, ``key 2`` and so on.
    allowed_hosts: host names by which a request on loopback may reach a server without keys, in addition to those of
        loopback; ``*`` allows any.
    named_keys: further keys, which may change. Where it is given a key is required, even while it returns none.

    Raises ValueError for keys that could never match.
    """

    kind = "key"

    def __init__(
        self, api_keys: Sequence[str], allowed_hosts: Collection[str] = (), named_keys: KeySource | None = None
    ) -> None:
        if isinstance(api_keys, str):
            raise ValueError("api_keys is a sequence of keys, not one string")
        if not all(key.strip() for key in api_keys):
            raise ValueError("api_keys must not hold a blank key")
        if isinstance(allowed_hosts, str):
            raise ValueError("allowed_hosts is a collection of names, not one string")
        numbered = enumerate(api_keys, 1)
        self._keys = tuple(ClientKey.of_text(f"{self.kind} {number}", text) for number, text in numbered)
        self._source = named_keys
        self._allowed_hosts = frozenset(name.strip("[]").lower() for name in allowed_hosts)

    def __len__(self) -> int:
        """The number of keys, including those that are revoked or have expired."""
        return len(self._all())

    def __bool__(self) -> bool:
        """Whether a client must send a key."""
        return bool(self._keys) or self._source is not None

    def texts(self) -> tuple[str, ...]:
        """The texts of the keys, as far as they are available."""
        return tuple(key.text for key in self._all() if key.text is not None)

    def sent(self, scope: Scope) -> ClientKey | None:
        """The key that a request brings, preferably one that is still accepted. Every wrong key takes the same time."""
        found = [key for credential in _sent(scope) if (key := self._find(credential)) is not None]
        now = datetime.now(UTC)
        return next((key for key in found if key.refusal(now) is None), found[0] if found else None)

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request is refused; None if it is admitted."""
        return self.judge(scope)[1]

    def judge(self, scope: Scope) -> tuple[ClientKey | None, ApiError | None]:
        """The key that a request brings, and why it is refused, if it is."""
        if not self:
            return None, self._refusal_without_keys(scope)
        key = self.sent(scope)
        return key, self.no_key() if key is None else key.refusal(datetime.now(UTC))

    def _refusal_without_keys(self, scope: Scope) -> ApiError | None:
        if is_of_foreign_page(scope):
            return forbidden("a web page of another origin may not call this proxy without a key.")
        if on_loopback(scope) and not is_expected_host(scope, self._allowed_hosts):
            return forbidden(
                "without a key this proxy answers programs on its own machine, which call it localhost or 127.0.0.1, "
                "and nothing that was forwarded: set ANTHROPIC_API_KEY, or name its host in ALLOWED_HOSTS."
            )
        return None

    def client_credential(self, scope: Scope, *, admitted: bool = False) -> Headers:
        """The headers of the client's own credential, such as one for Anthropic.

        Where there are keys, it is the credential beside an ``x-cc-boost-key`` that contains one, provided that it
        contains none itself. ``admitted``: the request needs none of the keys.
        """
        headers = client_headers(scope)
        if self and not admitted and ((own := get_header(headers, OWN_KEY)) is None or self._find(own) is None):
            return []
        found = {name: value for name in CREDENTIALS if (value := (get_header(headers, name) or "").strip())}
        if self and any(
            self._find(text) is not None
            for value in found.values()
            for text in (value, value.partition(" ")[2].strip())
        ):
            return []
        return [(name, value.encode("latin-1")) for name, value in found.items()]

    def no_key(self) -> ApiError:
        """The refusal of a request without any of the keys."""
        return _unauthorized(
            "invalid API key: send this proxy's key as `x-api-key`, as `Authorization: Bearer`, or as `x-cc-boost-key` "
            "beside a credential of your own"
        )

    def _all(self) -> tuple[ClientKey, ...]:
        return self._keys if self._source is None else (*self._keys, *self._source())

    def _find(self, credential: str) -> ClientKey | None:
        """The key of this text; all are compared. A named key takes precedence, because it may have limits."""
        sent = digest(credential.encode("latin-1"))
        found: ClientKey | None = None
        for key in self._all():
            if hmac.compare_digest(sent, key.digest):
                found = key
        return found


class AdminKeys(ClientKeys):
    """The keys of administrators, who may see what others send. They open pages, but no model answers to one."""

    kind = "admin key"

    def no_key(self) -> ApiError:
        return _unauthorized(
            "this page needs one of the keys of ADMIN_API_KEY, as `x-api-key` or as `Authorization: Bearer`"
        )


def forbidden(message: str) -> ApiError:
    """A 403 that a retry doesn't change."""
    return ApiError(403, "permission_error", message, headers=_NO_RETRY)


def client_headers(scope: Scope) -> Headers:
    """The headers as the client sent them."""
    headers: Headers = scope.get("ccproxy.client_headers", scope["headers"])
    return headers


def digest(key: bytes) -> bytes:
    """Has the same length for all keys: comparing the keys themselves would reveal their length."""
    return sha256(key).digest()


def _sent(scope: Scope) -> Iterator[str]:
    """The credentials of a request, the one for this proxy alone first."""
    headers = client_headers(scope)
    if own := get_header(headers, OWN_KEY):
        yield own
    yield get_header(headers, b"x-api-key") or ""
    scheme, _, token = (get_header(headers, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "authentication_error", message, headers=_NO_RETRY)
