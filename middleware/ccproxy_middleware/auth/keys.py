"""The keys that clients send, their names, and what is said to a client without one."""

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
    """A key that a client may send, known by the SHA-256 of its text, and the name of whoever has it.

    expires: the moment (with a time zone) from which on it is refused. revoked: it is refused, and the refusal says so.
    text: the key itself where it is known, so that it can be taken out of what is shown.
    """

    name: str
    digest: bytes = field(repr=False)
    expires: datetime | None = None
    revoked: bool = False
    text: str | None = field(default=None, repr=False)

    @classmethod
    def of_text(cls, name: str, text: str) -> "ClientKey":
        """The key of this text, without an end."""
        return cls(name, digest(text.encode()), text=text)

    def refusal(self, now: datetime) -> ApiError | None:
        """Why it is no longer accepted; None: it is."""
        if self.revoked:
            return _unauthorized("this key has been revoked: ask whoever runs this proxy for another one")
        if self.expires is not None and now >= self.expires:
            end = self.expires.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
            return _unauthorized(f"this key expired on {end}: ask whoever runs this proxy for another one")
        return None


KeySource = Callable[[], Sequence[ClientKey]]
"""Gives the keys as they are now; called for each request."""


class ClientKeys:
    """The keys of which a client must send one; none: every program may call, but no web page of another origin.

    api_keys: keys without an end, named ``key 1``, ``key 2`` and so on.
    allowed_hosts: names under which a request on loopback may reach a server without keys, beside those of loopback;
        ``*`` is any.
    named_keys: further keys, which may change. Where it is given a key is needed, even while it gives none.

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
        """How many there are, those that are revoked or have expired too."""
        return len(self._all())

    def __bool__(self) -> bool:
        """Whether a client must send one."""
        return bool(self._keys) or self._source is not None

    def texts(self) -> tuple[str, ...]:
        """The keys themselves, as far as they are known."""
        return tuple(key.text for key in self._all() if key.text is not None)

    def sent(self, scope: Scope) -> ClientKey | None:
        """The key that a request brings, in the same time for every wrong one; one that is still accepted, if any."""
        found = [key for credential in _sent(scope) if (key := self._find(credential)) is not None]
        now = datetime.now(UTC)
        return next((key for key in found if key.refusal(now) is None), found[0] if found else None)

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request is not let in; None: it is."""
        return self.judge(scope)[1]

    def judge(self, scope: Scope) -> tuple[ClientKey | None, ApiError | None]:
        """The key that a request brings, and why it is not let in."""
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
        """The headers of a credential that is the client's own, such as one for Anthropic.

        Where there are keys it is what stands beside the ``x-cc-boost-key`` that holds one, and holds none itself.
        ``admitted``: the request needs none of the keys.
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
        """The key of this text; all are compared. One that is named may have limits, so it counts if it is there."""
        sent = digest(credential.encode("latin-1"))
        found: ClientKey | None = None
        for key in self._all():
            if hmac.compare_digest(sent, key.digest):
                found = key
        return found


class AdminKeys(ClientKeys):
    """The keys of those who may see what passes for others. They open pages; a client can't ask a model with one."""

    kind = "admin key"

    def no_key(self) -> ApiError:
        return _unauthorized(
            "this page needs one of the keys of ADMIN_API_KEY, as `x-api-key` or as `Authorization: Bearer`"
        )


def forbidden(message: str) -> ApiError:
    """A 403 that no repetition cures."""
    return ApiError(403, "permission_error", message, headers=_NO_RETRY)


def client_headers(scope: Scope) -> Headers:
    """The headers as the client has sent them."""
    headers: Headers = scope.get("ccproxy.client_headers", scope["headers"])
    return headers


def digest(key: bytes) -> bytes:
    """Of one length for all keys: a comparison of the keys themselves would tell how long they are."""
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
