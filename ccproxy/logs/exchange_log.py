"""One log line for every exchange, and the decisions of the converters."""

import logging
from typing import Any

from ccproxy_middleware.toolkit.record import Record

logger = logging.getLogger("ccproxy.exchange")

_PAGES = ("/", "/health", "/api/hello", "/metrics", "/ui")
_MAX_VALUE = 200  # maximum characters of a value from the client


def log_exchange(record: Record) -> None:
    """Log a finished exchange: at INFO, or at DEBUG if it was only a request for one of the proxy's own pages.

    At DEBUG, a line for each decision of a converter follows.
    """
    level = logging.DEBUG if _is_page(record) else logging.INFO
    if not logger.isEnabledFor(level):
        return
    known = {name: value for name, value in _fields(record).items() if value is not None}
    logger.log(level, "%s %s", record.method, _cut(record.path), extra=known)
    if logger.isEnabledFor(logging.DEBUG):
        for decision in record.decisions:
            logger.debug("%s", decision, extra={"request_id": record.request_id})


def _is_page(record: Record) -> bool:
    path = record.path
    return (
        record.method in ("GET", "HEAD")
        and not record.error
        and (path.endswith(_PAGES) or "/ui/" in path or "/usage/session/" in path)
    )


def _fields(record: Record) -> dict[str, Any]:
    usage = record.usage
    return {
        "status": record.status,
        "outcome": record.outcome,
        "error": record.error,
        "request_id": record.request_id,
        "session_id": _cut(record.session_id),
        "client_key": record.client_key,
        "prompt_id": record.asker.prompt_id,
        "agent_id": record.asker.agent_id,
        "parent_agent_id": record.asker.parent_agent_id,
        "agent_type": record.asker.agent_type,
        "request_class": record.asker.request_class,
        "compaction": record.asker.compaction,
        "context_compacted": record.asker.context_compacted,
        "tool_durations_ms": record.asker.tool_durations,
        "client_model": _cut(record.requested_model),
        "model": _cut(record.model),
        "tier": record.tier,
        "stream": record.stream or None,
        "first_byte_ms": _milliseconds(record.first_byte),
        "duration_ms": _milliseconds(record.duration),
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read_tokens": usage.get("cache_read_input_tokens") or None,
        "cache_creation_tokens": usage.get("cache_creation_input_tokens") or None,
        "cost_usd": None if record.cost is None else f"{record.cost.normalize():f}",
        "stop_reason": record.stop_reason,
        "retries": record.retries or None,
        "rule": record.rule,
        "upstream": record.upstream,
        "passed": _passed(record),
        "waited_ms": _milliseconds(sum(attempt.waited for attempt in record.attempts) or None),
        "boost": record.boost_outcome,
        "boost_loops": record.boost_loops,
        "images_described": record.images_described or None,
        "vision_model": record.vision_model,
        "vision_ms": _milliseconds(record.vision_seconds or None),
        "vision_input_tokens": record.vision_usage.get("input_tokens"),
        "vision_output_tokens": record.vision_usage.get("output_tokens"),
        "web_searches": record.web_searches or None,
        "web_searches_failed": record.web_searches_failed or None,
        "web_search_ms": _milliseconds(record.web_search_seconds or None),
        "upstream_status": record.upstream_status,
        "upstream_request_id": record.upstream_request_id,
    }


def _passed(record: Record) -> str | None:
    """The candidates that were skipped, and why."""
    passed = (f"{a.upstream}:{a.model}({a.reason})" for a in record.attempts if a.reason is not None)
    return _cut(",".join(passed)) or None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 3] + "..."
