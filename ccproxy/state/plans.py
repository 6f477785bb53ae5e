"""Boost's plans as shared facts, encrypted so that only those who have the prompt can read them."""

import hmac
import secrets
from hashlib import sha256, shake_256

from ccproxy_middleware.toolkit.store import Store

_NONCE = 16
_SEAL = 32


class SharedPlans:
    """A BoostCache in a Store. Plans are encrypted, since a plan reveals the conversation it was made for.

    The encryption key is derived from the cache's key, which is a digest of the whole prompt and is never stored; the
    stored entry is named by another digest. So a reader of the store can read no plan, but a request with the same
    prompt
    finds its plan.
    """

    def __init__(self, store: Store, *, seconds: float = 60.0) -> None:
        self._store = store
        self._seconds = seconds

    async def get(self, key: str) -> bytes | None:
        stored = self._store.get(_name(key))
        return _open(key, stored) if stored is not None else None

    async def set(self, key: str, value: bytes) -> None:
        self._store.put(_name(key), _seal(key, value), self._seconds)


def _name(key: str) -> str:
    return "plan:" + _derived("name", key).hex()


def _derived(purpose: str, key: str) -> bytes:
    return sha256(f"cc-boost {purpose}\0{key}".encode()).digest()


def _seal(key: str, value: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    hidden = _mixed(key, nonce, value)
    return nonce + hmac.digest(_derived("seal", key), nonce + hidden, "sha256") + hidden


def _open(key: str, stored: bytes) -> bytes | None:
    nonce, seal, hidden = stored[:_NONCE], stored[_NONCE : _NONCE + _SEAL], stored[_NONCE + _SEAL :]
    if not hmac.compare_digest(hmac.digest(_derived("seal", key), nonce + hidden, "sha256"), seal):
        return None
    return _mixed(key, nonce, hidden)


def _mixed(key: str, nonce: bytes, value: bytes) -> bytes:
    """The value combined with a SHAKE256 key stream, which is seeded with the key and a nonce."""
    stream = shake_256(_derived("value", key) + nonce).digest(len(value))
    return (int.from_bytes(value) ^ int.from_bytes(stream)).to_bytes(len(value))
