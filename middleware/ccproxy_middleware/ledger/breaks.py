"""Where a request first differs from the previous one of its session: from there on it can't be read from the cache.

Only digests are kept. A cache mark, which moves from turn to turn, does not count as a difference.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from orjson import JSONEncodeError

from ..toolkit.json import dumps
from ..toolkit.record import Record

Digests: TypeAlias = "array[int]"
"""Of the system prompt, the tools, and each message; of this process alone."""

_MAX_KEPT = 2000  # conversations
_MAX_MESSAGES = 4096  # of a conversation that are compared
_FELL = 0.05  # minimum drop of the cached share of the input: content added at the end alone also lowers it
_BILLING = "x-anthropic-billing-header"  # a block that differs each time, and that is never sent to a provider


class _Turn(NamedTuple):
    digests: Digests
    share: float  # the share of the input that was cached


class Breaks:
    """The digests of the newest conversations of all sessions."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str | None, ...], _Turn] = OrderedDict()

    def place(self, record: Record, session: str | None, digests: Digests) -> str | None:
        """Where a completed request first differs, if less of it was cached than of the previous one."""
        share = _share(record)
        if session is None or share is None:
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


def digests_of(data: Mapping[str, Any]) -> Digests:
    """The digests of a request in Anthropic's format."""
    messages = data.get("messages")
    found = array("q", (_content(data.get("system"), system=True), _value(data.get("tools"))))
    if isinstance(messages, list):
        found.extend(_message(message) for message in messages[:_MAX_MESSAGES])
    return found


def _first_difference(before: Digests, now: Digests) -> str | None:
    """None where the previous request is a prefix of this one."""
    for number, digest in enumerate(before):
        if number >= len(now) or digest != now[number]:
            return ("system", "tools")[number] if number < 2 else f"message {number - 1}"
    return None


def _share(record: Record) -> float | None:
    usage = record.usage
    counts = [usage.get(f"{name}input_tokens") for name in ("", "cache_creation_", "cache_read_")]
    plain, written, cached = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    total = plain + written + cached
    return cached / total if total else None


def _message(message: Any) -> int:
    if not isinstance(message, dict):
        return _value(message)
    return hash((message.get("role"), _content(message.get("content"))))


def _content(blocks: Any, *, system: bool = False) -> int:
    """The digest of a content; a text has the same digest as a single block of it."""
    if isinstance(blocks, str):
        return hash((hash(("text", blocks)),))
    if not isinstance(blocks, list):
        return _value(blocks)
    return hash(tuple([_block(block) for block in blocks if not (system and _is_billing(block))]))


def _block(block: Any) -> int:
    """The digest of a block without its cache mark. Python caches the hash of a string."""
    if not isinstance(block, dict):
        return _value(block)
    match block.get("type"):
        case "text" if isinstance(text := block.get("text"), str) and len(block) - ("cache_control" in block) == 2:
            return hash(("text", text))
        case "tool_result":
            rest = {k: v for k, v in block.items() if k not in ("cache_control", "content")}
            return hash((_value(rest), _content(block.get("content"))))
    return _value({k: v for k, v in block.items() if k != "cache_control"} if "cache_control" in block else block)


def _is_billing(block: Any) -> bool:
    return isinstance(block, dict) and str(block.get("text", "")).startswith(_BILLING)


def _value(value: Any) -> int:
    if value is None or isinstance(value, str):
        return hash(value)
    try:
        return hash(dumps(value))
    except (JSONEncodeError, RecursionError):
        return 0
