"""Boost's plans among the shared facts, in a form that nobody can read who hasn't the prompt."""

import hmac
import secrets
from hashlib import sha256, shake_256

from ccproxy_middleware.toolkit.store import Store

_NONCE = 16
_SEAL = 32


class SharedPlans:
    """A BoostCache in a Store. A plan tells of the conversation it was made for, so it is encrypted.

    The key is made from the cache's key, which is a digest of the whole prompt and stands nowhere: what is stored has
    another digest for its name. So whoever reads the store reads no plan, and whoever asks with the same prompt does.
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
    """The value under a stream of SHAKE256 that the key and a nonce of its own begin."""
    stream = shake_256(_derived("value", key) + nonce).digest(len(value))
    return (int.from_bytes(value) ^ int.from_bytes(stream)).to_bytes(len(value))
