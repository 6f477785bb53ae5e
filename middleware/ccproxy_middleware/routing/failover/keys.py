"""Which key of a pool is used for a request."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256

from starlette.types import Scope

from ...toolkit.asgi import get_header
from ...toolkit.store import Store
from .candidates import Candidate, Option, remembered

CLIENT = "client"
"""In place of a pool: the client sends its own credential."""

_KEPT = 3600.0  # seconds after its last request for which a session keeps its key
_RENEWED = 60.0  # minimum interval in seconds between two extensions of that time
_COUNTED = 1.0  # seconds for which a count of the sessions is valid
_SESSION = b"x-claude-code-session-id"
_CREDENTIALS = (b"authorization", b"x-api-key")


class KeyPools:
    """The pools of all upstreams. A session stays on one key; a new one goes to the key with the fewest sessions."""

    def __init__(self, keys: Mapping[str, Sequence[str]], store: Store) -> None:
        self._keys = {name.lower(): tuple(ids) for name, ids in keys.items()}
        self.is_fixed = all(len(ids) < 2 and ids != (CLIENT,) for ids in self._keys.values())  # for all requests alike
        self._fixed = remembered(lambda candidates: self._options(candidates, {}))
        self._store = store
        self._sessions: dict[str, Counter[str]] = {}
        self._counted: dict[str, float] = {}
        self._turn = 0

    def is_clients(self, upstream: str) -> bool:
        """Whether the credential there is the client's own."""
        return self._keys.get(upstream) == (CLIENT,)

    def options(self, candidates: tuple[Candidate, ...], scope: Scope) -> tuple[Option, ...]:
        """Each of the candidates once with each key of its upstream, in the order of preference for a request."""
        return self._fixed(candidates) if self.is_fixed else self._options(candidates, scope)

    def _options(self, candidates: tuple[Candidate, ...], scope: Scope) -> tuple[Option, ...]:
        orders = {upstream: self._order(upstream, scope) for upstream, _ in candidates}
        return tuple(Option(*c, key, id_) for c in dict.fromkeys(candidates) for key, id_ in orders[c.upstream])

    def _order(self, upstream: str, scope: Scope) -> list[tuple[int, str]]:
        """The keys in the order of preference for a request: index in the pool, and id."""
        ids = self._keys.get(upstream, ())
        if len(ids) == 0:
            return [(0, "")]
        if len(ids) == 1:
            return [(0, _credential(scope) if ids[0] == CLIENT else ids[0])]
        name = _name(upstream, scope)
        value = self._store.get(name) if name is not None else None
        own = value.partition(b" ")[0].decode() if value is not None else None
        counts = self._count(upstream)
        turn = self._turn
        self._turn += 1

        def rank(index: int) -> tuple[bool, int, int]:
            id_ = ids[index]
            tie = index if name is not None else (index - turn) % len(ids)  # in turn without a session
            return id_ != own, counts[id_], tie

        return [(index, ids[index]) for index in sorted(range(len(ids)), key=rank)]

    def assign(self, upstream: str, key_id: str, scope: Scope) -> None:
        """Assign a session to the key that is used for it."""
        if self.is_fixed or len(self._keys.get(upstream, ())) < 2 or (name := _name(upstream, scope)) is None:
            return
        value = self._store.get(name)
        now = time.time()
        if value is not None:
            known, _, since = value.decode().partition(" ")
            if known == key_id and now - float(since or 0) < _RENEWED:
                return
            self._sessions.get(upstream, Counter())[known] -= 1
        self._store.put(name, f"{key_id} {now:.0f}".encode(), _KEPT)
        self._sessions.setdefault(upstream, Counter())[key_id] += 1

    def _count(self, upstream: str) -> Counter[str]:
        """The number of sessions on each key."""
        now = time.monotonic()
        if now - self._counted.get(upstream, -_COUNTED) >= _COUNTED:
            self._counted[upstream] = now
            values = (value for _, value in self._store.items(f"affinity:{upstream}:"))
            self._sessions[upstream] = Counter(value.partition(b" ")[0].decode() for value in values)
        return self._sessions[upstream]


def _name(upstream: str, scope: Scope) -> str | None:
    session = get_header(scope["headers"], _SESSION)
    return f"affinity:{upstream}:{_digest(session)}" if session else None


def _credential(scope: Scope) -> str:
    """A stand-in for the client's own credential, which an outer AuthMiddleware has removed from the headers."""
    if known := scope.get("ccproxy.client_credential_id"):
        return str(known)
    headers = scope.get("ccproxy.client_headers", scope["headers"])
    return _digest("\n".join(get_header(headers, name) or "" for name in _CREDENTIALS))


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()[:24]
