"""Failures as Responses tells them: by HTTP, in a response that has failed, in an event of a stream."""

import re
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

from ...toolkit.errors import ApiError
from ..context import Context
from ..providers.errors import error_from_payload, error_from_response
from ..providers.profiles import Profile

_AGAIN = re.compile(r"try again in (\d{1,6}(?:\.\d{1,6})?) ?(ms|s|m)\b", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def error_of_http(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, profile: Profile, *, max_tokens: int | None
) -> ApiError:
    """The error for an answer that is not 2xx."""
    return _with_time(error_from_response(status, headers, body, profile, max_tokens=max_tokens))


def error_of_response(error: Any, context: Context) -> ApiError:
    """The error for what stands in ``error`` of a failed response, or in an ``error`` event."""
    fields = dict(error) if isinstance(error, Mapping) else {"message": error if isinstance(error, str) else ""}
    code, kind = fields.get("code"), fields.get("type")
    status = None
    if code:
        fields.pop("type", None)  # it says less
    elif not kind or kind == "error":
        fields.pop("type", None)
        status = 500
    failure = error_from_payload({"error": fields}, status, context.profile, max_tokens=context.max_tokens)
    return _with_time(failure)


def _with_time(error: ApiError) -> ApiError:
    """The error with the time to wait that stands in its words."""
    names = {name for name, _ in error.headers}
    if error.status == 429 and "retry-after" not in names and (found := _AGAIN.search(error.message)):
        seconds = ceil(float(found[1]) * _SECONDS[found[2].lower()])
        error.headers = (*error.headers, ("retry-after", str(max(1, seconds))))
    return error
