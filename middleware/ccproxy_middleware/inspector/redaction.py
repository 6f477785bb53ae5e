"""The headers and bodies that are shown, without any credential."""

from collections.abc import Callable, Iterable, Sequence

from ..redaction import Secrets

ShownHeaders = list[tuple[str, str | None]]
"""Names in lower case, and the value of a header that is known to hold no secret."""

_SHOWN = frozenset(
    (
        *("accept", "accept-encoding", "cache-control", "content-encoding", "content-length", "content-type", "date"),
        *("anthropic-beta", "anthropic-version", "openai-processing-ms", "openai-version", "retry-after", "server"),
        *("cf-ray", "host", "request-id", "transfer-encoding", "user-agent", "x-app"),
        *("x-claude-code-session-id", "x-claude-code-request-class", "x-claude-code-agent-type"),
        *("x-claude-code-agent-id", "x-claude-code-parent-agent-id", "x-claude-code-prompt-id"),
        *("x-claude-code-compaction", "x-claude-code-context-compacted", "x-claude-code-prev-tool-durations"),
        *("x-request-id", "x-should-retry", "x-upstream-model", "anthropic-dangerous-direct-browser-access"),
    )
)
_SHOWN_PREFIXES = ("anthropic-ratelimit-", "x-boost-", "x-ratelimit-", "x-stainless-")
_MAX_VALUE = 500  # characters

MASK = b"[redacted]"


def shown_headers(headers: Iterable[tuple[bytes, bytes]]) -> ShownHeaders:
    """Every header by its name, and the values of only those that are known to contain no secret."""
    shown: ShownHeaders = []
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        is_shown = name in _SHOWN or name.startswith(_SHOWN_PREFIXES)
        shown.append((name, value.decode("latin-1")[:_MAX_VALUE] if is_shown else None))
    return shown


class Redaction:
    """Removes the clients' keys from bodies, in every encoding in which they may be written there."""

    def __init__(self, keys: Callable[[], Sequence[str]]) -> None:
        self._keys = keys
        self._known: Sequence[str] = ()
        self._secrets = Secrets([])

    def __call__(self, data: bytes) -> bytes:
        if (keys := self._keys()) != self._known:
            self._secrets = Secrets([key.encode() for key in keys], shortest=1)
            self._known = keys
        return self._secrets.redact(data, MASK)
