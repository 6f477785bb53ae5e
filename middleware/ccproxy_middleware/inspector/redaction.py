"""What is shown of headers and bodies: no credential ever is."""

from collections.abc import Iterable, Sequence

from .._json import dumps

ShownHeaders = list[tuple[str, str | None]]
"""Names in lower case, and the value of a header that is known to hold no secret."""

_SHOWN = frozenset(
    (
        *("accept", "accept-encoding", "cache-control", "content-encoding", "content-length", "content-type", "date"),
        *("anthropic-beta", "anthropic-version", "openai-processing-ms", "openai-version", "retry-after", "server"),
        *("cf-ray", "host", "request-id", "transfer-encoding", "user-agent", "x-app", "x-claude-code-session-id"),
        *("x-request-id", "x-should-retry", "x-upstream-model", "anthropic-dangerous-direct-browser-access"),
    )
)
_SHOWN_PREFIXES = ("anthropic-ratelimit-", "x-boost-", "x-ratelimit-", "x-stainless-")
_MAX_VALUE = 500  # characters

MASK = b"[redacted]"


def shown_headers(headers: Iterable[tuple[bytes, bytes]]) -> ShownHeaders:
    """Every header by its name, and the values of those only that are known to hold no secret."""
    shown: ShownHeaders = []
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        is_shown = name in _SHOWN or name.startswith(_SHOWN_PREFIXES)
        shown.append((name, value.decode("latin-1")[:_MAX_VALUE] if is_shown else None))
    return shown


class Redaction:
    """Takes the clients' keys out of bodies, also where JSON has escaped them."""

    def __init__(self, keys: Sequence[str]) -> None:
        forms = {form for key in keys for form in (key.encode(), dumps(key)[1:-1])}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, data: bytes) -> bytes:
        for form in self._forms:
            data = data.replace(form, MASK)
        return data
