"""Where a request first differs from the one before of its session: from there on nothing of it can be cached.

Only digests are kept. A mark that something is to be cached, which moves from turn to turn, is no difference.
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
_MAX_MESSAGES = 4096  # of one that are looked at
_FELL = 0.05  # by so much of the input less was cached: what is added at the end alone makes it less, too
_BILLING = "x-anthropic-billing-header"  # of a block that differs each time, and that no provider gets


class _Turn(NamedTuple):
    digests: Digests
    share: float  # of the input that was cached


class Breaks:
    """What is known of the newest conversations of all sessions."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str | None, ...], _Turn] = OrderedDict()

    def place(self, record: Record, session: str | None, digests: Digests) -> str | None:
        """Where a request that is over differs first, if less of it was cached than of the one before."""
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
    """The digests of a request in Anthropic's form."""
    messages = data.get("messages")
    found = array("q", (_content(data.get("system"), system=True), _value(data.get("tools"))))
    if isinstance(messages, list):
        found.extend(_message(message) for message in messages[:_MAX_MESSAGES])
    return found


def _first_difference(before: Digests, now: Digests) -> str | None:
    """None where the one before is the beginning of this one."""
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
    """Of a content; a text is the same as one block of it."""
    if isinstance(blocks, str):
        return hash((hash(("text", blocks)),))
    if not isinstance(blocks, list):
        return _value(blocks)
    return hash(tuple([_block(block) for block in blocks if not (system and _is_billing(block))]))


def _block(block: Any) -> int:
    """Of a block without its mark. Python knows the hash of a string that it has hashed before."""
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
