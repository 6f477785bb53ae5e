"""What is stored for an exchange: numbers and names, never its text."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ..toolkit.record import ProviderCall, Record

CLIENT_LEFT = 499
"""Stands for the status of an exchange whose client left before the answer began, as in the metrics."""

_MAX_NAME = 200  # characters
_MAX_COUNT = 2**53


@dataclass(slots=True)  # not frozen, since that takes twice as long to create
class Row:
    """One exchange of ``POST /v1/messages``.

    time: of its start, in UTC. class_: the type of Claude Code's request, ``main``, ``subagent`` and others. agent,
    parent_agent: ids. key: the name of the client's key. input, cached, cache_write, output: tokens of all provider
    calls together; no token counts twice, but reasoning is part of output. cost: US dollars; None: unknown. first_ms:
    milliseconds until the first byte of the answer. cache_break: the first place where the request differs from the
    previous one of its session, if less of it was cached. Unknown values are None.
    """

    time: datetime
    session: str | None = None
    prompt: str | None = None
    agent: str | None = None
    parent_agent: str | None = None
    class_: str | None = None
    project: str | None = None
    key: str | None = None
    tier: str | None = None
    upstream: str | None = None
    model: str | None = None
    status: int | None = None
    outcome: str | None = None
    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cost: Decimal | None = None
    first_ms: int | None = None
    total_ms: int | None = None
    provider_calls: int = 0
    cache_break: str | None = None


COLUMNS = tuple(field.name.rstrip("_") for field in fields(Row))
"""The names of the columns, in their order."""


def make_row(record: Record, *, session: str | None, project: str | None) -> Row:
    """The row of an exchange that is over. ``session`` and ``project``: from the headers."""
    asker, calls = record.asker, record.calls
    last = calls[-1] if calls else ProviderCall()
    left = CLIENT_LEFT if record.outcome == "disconnected" else 500
    return Row(
        time=datetime.fromtimestamp(record.time, UTC),
        session=_name(record.session_id or session),
        prompt=_name(asker.prompt_id),
        agent=_name(asker.agent_id),
        parent_agent=_name(asker.parent_agent_id),
        class_=_name(asker.request_class),
        project=_name(project),
        key=_name(record.client_key),
        tier=_name(record.tier),
        upstream=_name(record.upstream or last.upstream),
        model=_name(record.model),
        status=record.status or left,
        outcome=record.outcome,
        **_tokens(record),
        cost=record.cost,
        first_ms=_milliseconds(record.first_byte),
        total_ms=_milliseconds(record.duration),
        provider_calls=len(calls),
        cache_break=record.cache_break,
    )


def _tokens(record: Record) -> dict[str, Any]:
    """The counts of all calls. Where none has reported any: the counts that the client got, which may be estimated."""
    usages = [call.usage for call in record.calls if call.usage] or ([record.usage] if record.usage else [])
    if not usages:
        return {}
    thinking = [
        details.get("thinking_tokens") for u in usages if isinstance(details := u.get("output_tokens_details"), dict)
    ]
    return {
        "input": sum(_count(usage.get("input_tokens")) for usage in usages),
        "cached": sum(_count(usage.get("cache_read_input_tokens")) for usage in usages),
        "cache_write": sum(_count(usage.get("cache_creation_input_tokens")) for usage in usages),
        "output": sum(_count(usage.get("output_tokens")) for usage in usages),
        "reasoning": sum(map(_count, thinking)) if thinking else None,
    }


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_COUNT else 0


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _name(text: str | None) -> str | None:
    """A name that databases accept: without zero bytes and lone surrogates."""
    if not text or (text.isascii() and len(text) <= _MAX_NAME and "\0" not in text):
        return text or None
    return text[:_MAX_NAME].replace("\0", "").encode("utf-8", "replace").decode() or None
