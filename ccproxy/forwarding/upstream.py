"""The provider's address, and what may pass to the provider and back: URLs, headers, secrets."""

import re
from collections.abc import Iterable, Sequence
from functools import cache, partial
from importlib.metadata import version
from urllib.parse import quote

import httpx

from ccproxy_middleware.redaction import MIN_SECRET, MIN_SECRET_IN_TEXT, EventRedactor, header_secrets, known_secrets
from ccproxy_middleware.toolkit.asgi import Headers
from ccproxy_middleware.toolkit.errors import ApiError
from ccproxy_middleware.toolkit.worker_threads import in_thread

from ..settings import without_endpoint

_FROM_CLIENT = frozenset((b"content-type", b"accept", b"anthropic-version", b"anthropic-beta"))
_HOP_BY_HOP = frozenset(  # in addition to ``connection``, which names more of them
    (
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# About the provider's host or connection, or written by our own server.
_NOT_FOR_CLIENT = frozenset((b"set-cookie", b"alt-svc", b"strict-transport-security", b"date", b"server"))
_NOT_PASSED = _HOP_BY_HOP | _NOT_FOR_CLIENT
# Headers with which our layers tell clients, and each other, what they have done.
_OWN_HEADERS = (b"x-boost-", b"x-cc-boost-", b"x-upstream-model")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_/-]*")
_BESIDE_V1 = ("/tokenize", "/apply-template")  # of vLLM and llama.cpp, which count tokens there


class Upstream:
    """One provider: a base URL, from which a trailing endpoint path is removed, and a key or a pool of keys.

    ``api_version`` enables the Azure form: the key goes into ``api-key``, the version into the query, and a bare
    resource
    URL gets ``/openai/deployments/{model}``. Raises ValueError for an invalid URL or key.
    """

    def __init__(self, base_url: str, api_key: str | Sequence[str] | None, api_version: str | None) -> None:
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL as exc:
            raise ValueError(f"the base URL is not valid: {exc}") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("the base URL must begin with http:// or https:// and name a host")
        if url.userinfo:
            raise ValueError("the base URL must not hold a user name or password")
        keys = [api_key] if isinstance(api_key, str) else list(api_key or ())
        if not all(key.isascii() and key.isprintable() for key in keys):
            raise ValueError("the API key must be printable ASCII")
        self.host = url.netloc.decode("ascii")
        origin = f"{url.scheme}://{self.host}"
        path = without_endpoint(origin + url.raw_path.split(b"?")[0].decode("ascii")).removeprefix(origin)
        self._azure_resource = api_version is not None and path in ("", "/openai", "/openai/deployments")
        self._origin = origin
        self._path = "/openai" if self._azure_resource else path
        self._query = [url.query.decode("ascii")] if url.query else []
        if api_version is not None and "api-version" not in url.params:
            self._query.append(f"api-version={quote(api_version, safe='')}")
        self._credentials: Headers = [
            (b"authorization", b"Bearer " + key.encode()) if api_version is None else (b"api-key", key.encode())
            for key in keys
        ]
        self._own: Headers = [(b"user-agent", user_agent()), (b"accept-encoding", b"identity")]
        self._secrets = [key.encode() for key in keys if len(key) >= MIN_SECRET]

    @property
    def base_url(self) -> str:
        """The address without its query, which may contain a secret."""
        return self._origin + self._path

    @property
    def needs_model(self) -> bool:
        """Whether the model is part of the URL."""
        return self._azure_resource

    def url(self, path: str, query: bytes, model: object = None) -> str:
        """The URL for a path below the mount. Raises ApiError for a path that would leave the base URL."""
        rest = path.removeprefix("/v1") if path == "/v1" or path.startswith("/v1/") else path
        if "." in rest and any(part in (".", "..") for part in rest.split("/")):
            raise ApiError(404, "not_found_error", "there is no such path")
        base = self._path
        if path in _BESIDE_V1:
            base = base.removesuffix("/v1")
        if self._azure_resource and isinstance(model, str) and model.strip("."):
            base = f"/openai/deployments/{quote(model, safe='')}"
        url = self._origin + base + (rest if _PLAIN_PATH.fullmatch(rest) else quote(rest, safe="/:@!$&'()*+,;=~"))
        parameters = [*self._query, query.decode("latin-1")] if query else self._query
        return f"{url}?{'&'.join(parameters)}" if parameters else url

    def request_headers(self, client: Iterable[tuple[bytes, bytes]], custom: Headers) -> Headers:
        """The client's allow-listed headers and our own; a custom header overrides the header with the same name."""
        headers = [(lower, value) for name, value in client if self._passes(lower := name.lower())] + self._own
        if not custom:
            return headers
        overridden = {name.lower() for name, _ in custom}
        return [header for header in headers if header[0] not in overridden] + custom

    def credential(self, key: int, custom: Headers) -> Headers:
        """The header with this key of the pool, else with the first key; none if a custom header replaces it."""
        if not self._credentials:
            return []
        header = self._credentials[key if 0 <= key < len(self._credentials) else 0]
        return [] if any(name.lower() == header[0] for name, _ in custom) else [header]

    def _passes(self, name: bytes) -> bool:
        """Whether a header from the client goes to the provider."""
        return name in _FROM_CLIENT

    def secrets(self, custom: Headers) -> list[bytes]:
        """The credentials that are sent with a request and must not appear in an answer."""
        return self._secrets + header_secrets(custom) if custom else self._secrets


def response_headers(headers: Iterable[tuple[bytes, bytes]], secrets: list[bytes], *drop: bytes) -> Headers:
    """The provider's headers that clients may see. ``drop`` names additional headers to remove."""
    kept = [(lower, value) for name, value in headers if (lower := name.lower()) not in _NOT_PASSED]
    dropped = set(drop)
    for name, value in kept:
        if name == b"connection":
            dropped.add(name)
            dropped.update(token.strip().lower() for token in value.split(b","))
    return [
        (name, value)
        for name, value in kept
        if name not in dropped and not name.startswith(_OWN_HEADERS) and redact(value, secrets) == value
    ]


def redact(data: bytes, secrets: list[bytes]) -> bytes:
    """The bytes with secrets masked."""
    return known_secrets(tuple(secrets)).redact(data, b"***")


class Redactor:
    """Masks secrets in a body as it arrives, including those split between two chunks.

    A mask is as long as the secret, so a ``content-length`` stays correct. ``text``: the body is model output, in which
    short secrets are not masked. ``events``: the body is an event stream, in which a secret may be split between
    events.
    """

    def __init__(self, secrets: Iterable[bytes], *, text: bool, events: bool = False) -> None:
        self._secrets = known_secrets(tuple(secrets), MIN_SECRET_IN_TEXT if text else MIN_SECRET)
        self._events = EventRedactor(self._secrets) if events and self._secrets else None
        self._held = b""

    async def take(self, chunk: bytes) -> bytes:
        """The bytes that can be passed on: all except an end that may begin a secret."""
        if self._events is not None and self._events.takes_long(chunk):
            return await in_thread(partial(self._events.feed, chunk))
        return self.feed(chunk)

    def feed(self, chunk: bytes) -> bytes:
        """Like ``take``, but synchronous; for anything except a large event."""
        if self._events is not None:
            return self._events.feed(chunk)
        if not self._secrets:
            return chunk
        data = self._secrets.redact(self._held + chunk)
        passed = len(data) - self._secrets.open_end(data)
        self._held = data[passed:]
        return data[:passed]

    async def finish(self) -> bytes:
        """The bytes that were held back at the end of the body."""
        if self._events is None:
            return self._held
        return await in_thread(self._events.finish) if self._events.holds_much else self._events.finish()


@cache
def user_agent() -> bytes:
    """``cc-boost/<version>``."""
    return f"cc-boost/{version('cc-boost')}".encode()
