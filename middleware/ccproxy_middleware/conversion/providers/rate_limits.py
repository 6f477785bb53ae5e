"""Convert the provider's rate-limit headers to Anthropic's, and determine when to retry."""

import math
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_LONGEST = 31 * 24 * 3600.0  # seconds; a later reset is a mistake, and Claude Code would wait for it

_MAX_NAME = 40

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
_DURATION = re.compile(r"(?:\d{1,15}(?:\.\d{1,9})?(?:ms|us|µs|ns|[dhms]))+")
_DURATION_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|us|µs|ns|[dhms])")
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def response_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """``x-ratelimit-*`` as ``anthropic-ratelimit-*``: the only headers of a successful answer that a client gets.

    Resets become RFC 3339 times in UTC, rounded up to seconds. Invalid numbers and times are left out.
    """
    values = _read(pair for pair in headers if pair[0].lower().startswith(b"x-ratelimit-"))
    converted: list[tuple[str, str]] = []
    if not values:
        return converted
    now = time.time()
    for what in ("requests", "tokens"):
        for field in ("limit", "remaining"):
            value = values.get(f"x-ratelimit-{field}-{what}", "")
            if _NUMBER.fullmatch(value):
                converted.append((f"anthropic-ratelimit-{what}-{field}", str(int(float(value)))))
        wait = _seconds(values.get(f"x-ratelimit-reset-{what}", ""), now)
        if wait is not None:
            reset = datetime.fromtimestamp(math.ceil(now + wait), UTC)
            converted.append((f"anthropic-ratelimit-{what}-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ")))
    return converted


def retry_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """``retry-after`` in whole seconds, ``retry-after-ms`` and ``x-should-retry`` for an error.

    Without the provider's own ``retry-after`` it is the latest reset among the exhausted limits.
    """
    values = _read(headers)
    now = time.time()
    converted: list[tuple[str, str]] = []
    wait = _seconds(values.get("retry-after", ""), now)
    if wait is None:
        exhausted = (
            _seconds(values.get(name.replace("-remaining", "-reset", 1), ""), now)
            for name, value in values.items()
            if name.startswith("x-ratelimit-remaining") and _NUMBER.fullmatch(value) and float(value) == 0
        )
        wait = max((reset for reset in exhausted if reset is not None), default=None)
    if wait is not None:
        converted.append(("retry-after", str(math.ceil(wait))))
    milliseconds = values.get("retry-after-ms", "")
    if _NUMBER.fullmatch(milliseconds) and float(milliseconds) <= _LONGEST * 1000:
        converted.append(("retry-after-ms", milliseconds))
    should = values.get("x-should-retry", "").lower()
    if should in ("true", "false"):
        converted.append(("x-should-retry", should))
    return converted


# Fields of an error's body that contain the time to wait, without separators and in lower case.
_WAITS = {
    "retrydelay": 1.0,  # Google's RetryInfo
    "quotaresetdelay": 1.0,
    **dict.fromkeys(("retryafter", "retryafterseconds", "retryaftersec", "retryinseconds", "resetafter"), 1.0),
    **dict.fromkeys(("retryafterms", "retryaftermilliseconds"), 0.001),
    "xratelimitreset": 1.0,  # of OpenRouter's metadata: a moment
}


def seconds_in(fields: Mapping[str, Any]) -> float | None:
    """The seconds after which to retry, from the fields of an error; the longest, if there are several."""
    waits = []
    now = time.time()
    for name, value in fields.items():
        unit = _WAITS.get(re.sub(r"[-_ ]", "", name).lower()) if len(name) <= _MAX_NAME else None
        if unit is None or isinstance(value, bool):
            continue
        if isinstance(value, dict):  # a duration of protobuf
            value = value.get("seconds")
        text = str(value).strip() if isinstance(value, (int, float, str)) else ""
        wait = _seconds(text, now)
        if wait is not None:
            waits.append(wait * unit)
    return max(waits, default=None)


def whole_seconds(wait: float | None) -> str | None:
    """A time to wait as a value for ``retry-after``; None if there is none or it must be a mistake."""
    return str(math.ceil(wait)) if wait is not None and 0 <= wait <= _LONGEST else None


def _read(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in headers}


def _seconds(value: str, now: float) -> float | None:
    """Seconds from now, at least 0, in any of the formats in which providers express a time; None for anything else.

    Go durations (``1m1.5s``), seconds, seconds or milliseconds since 1970, ISO 8601 and HTTP dates.
    """
    if _NUMBER.fullmatch(value):
        seconds = float(value)
        if seconds > 1e11:
            seconds /= 1000
        if seconds > 1e9:
            seconds -= now
    elif _DURATION.fullmatch(value):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
    else:
        moment = _date(value)
        if moment is None:
            return None
        seconds = moment - now
    return max(seconds, 0.0) if seconds <= _LONGEST else None


def _date(value: str) -> float | None:
    if not 10 <= len(value) <= 40:
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None
