"""Statistics of the last hour by minute, for the charts. They are kept for longer than the exchanges themselves."""

from collections import deque
from dataclasses import dataclass, field
from time import time
from typing import Any

from ..toolkit.record import Record

HOUR = 60  # minutes

_MAX_TIMES = 1_000  # of one minute


@dataclass(slots=True)
class _Minute:
    number: int  # since the epoch
    requests: int = 0
    errors: int = 0
    tokens: int = 0
    generating: float = 0.0  # seconds
    first_bytes: list[float] = field(default_factory=list)


class Minutes:
    """Counts exchanges by the minute in which they end."""

    def __init__(self) -> None:
        self._minutes: deque[_Minute] = deque(maxlen=HOUR)

    def add(self, record: Record) -> None:
        """Count a completed exchange."""
        number = int(time() // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        minute = self._minutes[-1]
        minute.requests += 1
        minute.errors += has_failed(record)
        if record.first_byte is not None and not has_failed(record) and len(minute.first_bytes) < _MAX_TIMES:
            minute.first_bytes.append(record.first_byte)
        if (seconds := generating_seconds(record)) is not None:
            minute.tokens += record.usage.get("output_tokens") or 0
            minute.generating += seconds

    def columns(self) -> dict[str, list[Any]]:
        """The last hour: a list of 60 values for each line of a chart; None where there was nothing.

        ``minute`` is seconds since the epoch; ``first_byte`` and ``first_byte_slow`` are the 50th and 95th percentiles
        in milliseconds.
        """
        now = int(time() // 60)
        known = {minute.number: minute for minute in self._minutes}
        minutes = [known.get(number) or _Minute(number) for number in range(now - HOUR + 1, now + 1)]
        return {
            "minute": [minute.number * 60 for minute in minutes],
            "requests": [minute.requests for minute in minutes],
            "errors": [minute.errors for minute in minutes],
            "tokens_per_second": [_rate(minute.tokens, minute.generating) for minute in minutes],
            "first_byte": [_quantile(minute.first_bytes, 0.5) for minute in minutes],
            "first_byte_slow": [_quantile(minute.first_bytes, 0.95) for minute in minutes],
        }


def has_failed(record: Record) -> bool:
    """Whether the client got an error, or an incomplete answer through the proxy's or the provider's fault."""
    return (record.status or 0) >= 400 or record.error is not None or record.outcome in ("aborted", "failed")


def generating_seconds(record: Record) -> float | None:
    """How long a streamed answer took from its first byte on; None where that says nothing about the model's speed."""
    if not record.stream or record.duration is None or record.first_byte is None or record.outcome != "complete":
        return None
    seconds = record.duration - record.first_byte
    return seconds if seconds > 0 and record.usage.get("output_tokens") else None


def _rate(amount: float, seconds: float) -> float | None:
    return round(amount / seconds, 1) if seconds else None


def _quantile(values: list[float], part: float) -> float | None:
    """A quantile in milliseconds, of values in seconds."""
    return round(sorted(values)[int(len(values) * part)] * 1000, 1) if values else None
