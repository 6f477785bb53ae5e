"""When a failed attempt is repeated, and after how long."""

import math
import random
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from ccproxy_middleware.conversion.providers import Profile, error_from_response, may_pass

MAX_RETRY_AFTER = 10.0

_PASSING = frozenset((408, 429, 500, 502, 503, 504, 529))
_ANY_PROVIDER = Profile()


def backoff(attempt: int) -> float:
    """Seconds to wait after attempt ``attempt``, counted from 0: half a second, doubled each time, jittered."""
    return min(8.0, 0.5 * 2.0**attempt) * random.uniform(0.75, 1.25)  # noqa: S311 (not for secrets)


def retry_delay(status: int, headers: Mapping[str, str], body: bytes, attempt: int) -> float | None:
    """Seconds after which an attempt that got this answer is worth repeating; None: it is not.

    ``retry-after`` and ``retry-after-ms``, or else the time that the body states, are honoured up to MAX_RETRY_AFTER; a
    longer wait is left to the client. ``headers`` must find names in any case. Failures that waiting does not resolve
    are not repeated: exhausted credit, a plan's limit, a prompt that is too long.
    """
    if status not in _PASSING or headers.get("x-should-retry") == "false":
        return None
    error = error_from_response(status, (), body, _ANY_PROVIDER)
    told = dict(error.headers)
    if not may_pass(error.status) or told.get("x-should-retry") == "false":
        return None
    asked = _retry_after(headers)
    if asked is None:
        asked = _retry_after(told)
    if asked is None:
        return backoff(attempt)
    return asked if asked <= MAX_RETRY_AFTER else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the provider requests; a number or an HTTP date, as defined by RFC 9110 (10.2.3)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if not math.isnan(seconds):
            return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(headers["retry-after"])
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
    return max(0.0, moment - time.time())
