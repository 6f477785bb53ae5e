"""Where a request first differs from the one before of its session: from there on nothing of it can be cached.

Only digests are kept. A mark that something is to be cached, which moves from turn to turn, is no difference.
"""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from orjson import JSONEncodeError

from ..toolkit.json import dumps
from ..toolkit.record import Record

_SIZE = 8  # bytes of a digest
_MAX_KEPT = 2000  # conversations
_MAX_MESSAGES = 4096  # of one that are looked at
_FELL = 0.05  # by so much of the input less was cached: what is added at the end alone makes it less, too
_BILLING = "x-anthropic-billing-header"  # of a block that differs each time, and that no provider gets


class _Turn(NamedTuple):
    digests: bytes  # of the system prompt, the tools, and each message
    share: float  # of the input that was cached


class Breaks:
    """What is known of the newest conversations of all sessions."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str | None, ...], _Turn] = OrderedDict()

    def place(self, record: Record, session: str | None, digests: bytes | None) -> str | None:
        """Where a request that is over differs first, if less of it was cached than of the one before."""
        share = _share(record)
        if session is None or digests is None or share is None:
            return None
        asker = record.asker
        key = (session, asker.agent_id, asker.request_class)
        before = self._known.get(key)
        self._known[key] = _Turn(digests, share)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_KEPT:
            self._known.popitem(last=False)
        if before is None or share > before.share - _FELL:
            return None
        return _first_difference(before.digests, digests)


def digests_of(data: Mapping[str, Any]) -> bytes:
    """The digests of a request in Anthropic's form."""
    messages = data.get("messages")
    parts = [_plain(data.get("system"), system=True), _plain(data.get("tools"))]
    parts += [_message(message) for message in messages[:_MAX_MESSAGES]] if isinstance(messages, list) else []
    return b"".join(map(_digest, parts))


def _first_difference(before: bytes, now: bytes) -> str | None:
    """None where the one before is the beginning of this one."""
    for number in range(len(before) // _SIZE):
        place = slice(number * _SIZE, (number + 1) * _SIZE)
        if before[place] != now[place]:
            return ("system", "tools")[number] if number < 2 else f"message {number - 1}"
    return None


def _share(record: Record) -> float | None:
    usage = record.usage
    counts = [usage.get(f"{name}input_tokens") for name in ("", "cache_creation_", "cache_read_")]
    plain, written, cached = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    total = plain + written + cached
    return cached / total if total else None


def _message(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    return [message.get("role"), _plain(message.get("content"))]


def _plain(blocks: Any, *, system: bool = False) -> Any:
    """Content without marks; a text is the same as one block of it."""
    if isinstance(blocks, str):
        return [{"type": "text", "text": blocks}]
    if not isinstance(blocks, list):
        return blocks
    plain = []
    for block in blocks:
        if system and isinstance(block, dict) and str(block.get("text", "")).startswith(_BILLING):
            continue
        marked = isinstance(block, dict) and "cache_control" in block
        plain.append({k: v for k, v in block.items() if k != "cache_control"} if marked else block)
    return plain


def _digest(part: Any) -> bytes:
    try:
        text = dumps(part)
    except (JSONEncodeError, RecursionError):
        text = b""
    return blake2b(text, digest_size=_SIZE).digest()
