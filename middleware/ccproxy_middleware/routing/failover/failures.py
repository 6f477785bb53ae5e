"""Failures of candidates: why each has failed, and which failure is reported to the client."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Message

from ...conversion.providers import Profile, error_from_payload, error_from_response
from ...toolkit.errors import ApiError, FailureReason
from ...toolkit.json import loads

_ANY_PROVIDER = Profile()
_BY_STATUS: dict[int, FailureReason] = {502: "server", 504: "timeout"}
_LATER = (429, 529)  # statuses that come with a time to retry


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure that a candidate reported instead of an answer.

    reason: why another candidate may answer; None: the request itself is refused. start, body: the failed answer as it
    was received, if there was one. retry_after: seconds, if stated.
    """

    error: ApiError
    reason: FailureReason | None
    start: Message | None = None
    body: bytes = b""
    retry_after: float | None = None

    @property
    def status(self) -> int:
        """The status that the client would get."""
        return self.error.status if self.start is None else int(self.start["status"])

    @property
    def refuses_key(self) -> bool:
        """Whether the key is rejected for every request."""
        return self.reason == "refused_key" and self.status != 403


def failed_answer(start: Message, body: bytes) -> Failure:
    """The failure in an answer with a status of 400 and above."""
    told: ApiError | None = start.get("ccproxy.error")
    error = told or error_from_response(start["status"], start.get("headers", ()), body, _ANY_PROVIDER)
    # An error of our own layers has no reason, unless it reports an error of a provider.
    reason = start.get("ccproxy.reason") or error.reason
    if told is not None:
        reason = reason or _BY_STATUS.get(told.status)
    else:
        error = _as_told(error, start["status"], body)
    return Failure(error, reason, start, body, _retry_after(error))


def failed_stream(payload: object) -> Failure:
    """The failure in an event that comes before any content."""
    holder = payload if isinstance(payload, dict) else {}
    if isinstance(holder.get("response"), dict):  # of the Responses API
        holder = holder["response"]
    error = error_from_payload(holder)
    return Failure(error, error.reason, retry_after=_retry_after(error))


def broken_off(error: ApiError | None) -> Failure:
    """The failure of an answer that broke off before any content."""
    error = error or ApiError(502, "api_error", "the provider's answer ended before it was complete", reason="server")
    return Failure(error, error.reason or _BY_STATUS.get(error.status), retry_after=_retry_after(error))


def most_useful(failures: Iterable[Failure]) -> Failure:
    """The most useful failure for the client: temporary failures come first, a model that does not exist last."""
    return min(failures, key=_rank)


def told_after(failure: Failure, soonest: float | None) -> int | None:
    """The ``retry-after`` for the client: never later than the first candidate is available (``soonest``, seconds)."""
    if failure.status not in _LATER or failure.reason == "quota":
        return None
    waits = [wait for wait in (failure.retry_after, soonest) if wait is not None]
    return max(1, math.ceil(min(waits))) if waits else None


def _rank(failure: Failure) -> tuple[int, float]:
    if failure.reason == "context_overflow":
        return 1, 0.0
    if failure.reason == "quota" or failure.status == 402:
        return 2, 0.0
    if failure.reason == "model_gone" or failure.status == 404:
        return 4, 0.0
    if failure.status in _LATER:
        return 0, math.inf if failure.retry_after is None else failure.retry_after
    return 3, 0.0


def _as_told(error: ApiError, status: int, body: bytes) -> ApiError:
    """The error with the status, type and message of an answer in Anthropic's format, where there is one."""
    try:
        told = loads(body)
        type_, message = told["error"]["type"], told["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return error
    if told.get("type") != "error" or not isinstance(type_, str) or not isinstance(message, str):
        return error
    return ApiError(status, type_, message, headers=error.headers, reason=error.reason)


def _retry_after(error: ApiError) -> float | None:
    known = dict(error.headers)
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = known.get(name, "")
        if text.isascii() and text.replace(".", "", 1).isdigit():
            return float(text) * unit
    return None
