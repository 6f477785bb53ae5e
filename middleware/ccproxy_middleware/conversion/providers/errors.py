"""Convert a provider's failure, whatever its format, to the error that an Anthropic client expects."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ...toolkit.errors import ApiError, FailureReason
from ...toolkit.json import loads
from .context_length import overflow_message
from .error_codes import MONEY, PLAN, RATE, REFUSED, WEAK_CODES, Meaning, meanings
from .error_fields import Failure, read_failure
from .error_words import says_money, says_no_model, says_no_path, says_plan, says_rate, says_wait
from .profiles import Profile
from .rate_limits import response_headers, retry_headers, whole_seconds
from .tool_limit import TOOL_LIMIT_REMEDY, says_too_many_tools

MAX_MESSAGE = 2000
"""Characters of a provider's message that a client gets to see."""

_MAX_READ = 8000  # longer messages are truncated before any pattern is applied


class PromptRefused(ApiError):
    """The provider's content filter refused the prompt (Azure: 400 ``content_filter``).

    Claude reports this in a message with ``stop_reason: refusal``, not in an error: ``message`` is the explanation for
    its ``stop_details``. As an error it is a 400, for callers that can't make a message of it.
    """


# Anthropic's status and error type for each HTTP status of a provider. All others from 500 on become 502:
# that distinguishes a provider's gateway from the proxy's own 500.
_BY_STATUS: Mapping[int, tuple[int, str]] = {
    **dict.fromkeys((400, 405, 406, 415, 422), (400, "invalid_request_error")),
    401: (401, "authentication_error"),
    402: (402, "billing_error"),
    403: (403, "permission_error"),
    **dict.fromkeys((404, 410), (404, "not_found_error")),
    **dict.fromkeys((408, 504, 522, 524), (504, "timeout_error")),
    409: (409, "conflict_error"),
    413: (413, "request_too_large"),
    429: (429, "rate_limit_error"),
    **dict.fromkeys((498, 503, 529), (529, "overloaded_error")),
    **dict.fromkeys((500, 501), (500, "api_error")),
}

_WEAK_TEXTS = (
    (re.compile("overloaded", re.IGNORECASE), 529),
    (re.compile("rate.?limit|request limit|too many requests", re.IGNORECASE), 429),
)

_REFUSING = (400, 403, 422, 451, None)  # the statuses with which a provider's filter refuses
_NO_MODEL_CODES = frozenset(("model_not_found", "modelnotfound", "model_not_exist", "deploymentnotfound"))

_GENERIC = Profile()
_NO_RETRY: tuple[str, str] = ("x-should-retry", "false")


def error_from_response(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    profile: Profile,
    *,
    max_tokens: int | None = None,
) -> ApiError:
    """The error for a provider's answer that is not 2xx, with all headers that may be passed to the client.

    ``max_tokens``: the output tokens that the refused request asked for.
    """
    headers = list(headers)
    error = error_from_payload(_payload(body), status, profile, max_tokens=max_tokens)
    sent = dict(response_headers(headers))
    own = dict(error.headers)
    if may_pass(error.status):
        told = dict(retry_headers(headers))
        sent.update(told)
        if "retry-after" in told or "retry-after-ms" in told:
            own.pop("retry-after", None)
    error.headers = tuple({**sent, **own}.items())
    return error


def error_from_payload(
    payload: Any, status: int | None = None, profile: Profile = _GENERIC, *, max_tokens: int | None = None
) -> ApiError:
    """The error for an ``error`` object in an event of a stream, or in the body of a 200.

    ``payload`` is the object itself or its container. ``status`` is the HTTP status, which means nothing if it is 2xx.
    A number in ``error.code`` takes precedence over it. The result is a PromptRefused if a filter refused the prompt.
    """
    failure = read_failure(payload)
    upstream = failure.status or (None if status is None or status < 300 else status)
    message = redact(failure.message[:_MAX_READ])
    wait = failure.wait if failure.wait is not None else says_wait(message)
    meaning = _meaning(failure, upstream, message, wait)

    if meaning is None or meaning.status != 402:
        overflow = overflow_message(
            message,
            codes=failure.codes,
            status=upstream,
            prompt=failure.prompt,
            limit=failure.limit,
            asked=max_tokens,
        )
        if overflow is not None:
            return ApiError(400, "invalid_request_error", _cap(overflow), reason="context_overflow")
    if meaning is REFUSED:
        return PromptRefused(400, "invalid_request_error", _cap(message or "The provider refused the prompt."))

    found, type = _classify(upstream, failure.codes, message, meaning)
    reason = "quota" if meaning in (MONEY, PLAN) else _reason(found, upstream)
    if upstream in (404, 410) and found == 400 and says_no_path(message):
        told = f"upstream returned HTTP {upstream}, as for a wrong address: most base URLs of providers end in /v1"
        message = f"{message}: {told}" if message else told
    if not message:
        message = f"upstream returned HTTP {upstream}" if upstream else "upstream reported an error"
        if found == 413:
            message = f"Request too large: {message}"
    if found in (400, 502) and says_too_many_tools(message):  # 502: reported in a stream, with an unknown code
        message = f"{message} {TOOL_LIMIT_REMEDY}"
    if found == 401 and profile.key_mode == "server":
        message = f"the provider refused the proxy's API key: {message}"
        return ApiError(502, "api_error", _cap(message), headers=[_NO_RETRY], reason=reason)
    headers: list[tuple[str, str]] = (
        [_NO_RETRY] if found == 402 or (meaning is not None and not meaning.passing) else []
    )
    if found != 402 and may_pass(found) and (seconds := whole_seconds(wait)) is not None:
        headers.append(("retry-after", seconds))
    return ApiError(found, type, _cap(message), headers=headers, reason=reason)


def may_pass(status: int) -> bool:
    """Whether the same request may be accepted later, after an error of this status."""
    return status in (408, 409, 429) or status >= 500


def read_refusal(body: bytes) -> str | None:
    """The message of an error that may be about the format of the request; None if its codes mean something else.

    Relays put the JSON of such an error into the message of their own error, which may have any codes.
    """
    failure = read_failure(_payload(body))
    message = redact(failure.message[:_MAX_READ])
    if _WRAPPED.search(message):
        return message
    meaning = _meaning(failure, 400, message, failure.wait)
    if meaning is REFUSED:
        return None
    _, type = _classify(400, failure.codes, message, meaning)
    return message if message and type == "invalid_request_error" else None


def refusal_words(body: bytes) -> str:
    """The message of an error's body, without keys, followed by its codes."""
    failure = read_failure(_payload(body))
    return " ".join([redact(failure.message[:_MAX_READ]), *sorted(failure.codes)])


_WRAPPED = re.compile(r"""["'`\\]type["'`\\]{1,4}: ?["'`\\]{1,4}invalid_request_error""")


def _payload(body: bytes) -> Any:
    """The JSON of an error's body, or its text; None for HTML, which comes from a gateway, and for binary data."""
    with suppress(ValueError):
        return loads(body)
    text = body[: 4 * _MAX_READ].decode("utf-8", "replace").strip()
    event = _EVENT.match(text)
    if event is not None:  # the requested stream, which contains the error
        with suppress(ValueError):
            return loads(event[1].encode())
    return text if _TEXT.fullmatch(text) else None


_EVENT = re.compile(r"(?:event:.*\n)?data:(.*)")
_TEXT = re.compile(r"(?!<)(?=.*?\w)[^\x00-\x08\x0e-\x1a\x1c-\x1f]*+", re.DOTALL)


def redact(text: str) -> str:
    """The text without anything that looks like a key: providers quote the key that they received."""
    return _SECRET.sub(lambda match: (match["before"] or "") + "[redacted]", text)


_SECRET = re.compile(
    r"""
    \bsk-[\w*.…-]{2,}[\w*…]
    | \b(?:sk|rk|pk|gsk|csk|xai|nvapi|fw|hf|tgp|pplx|r8|sess)[-_][\w*.…-]{6,}[\w*…]  # vendors' prefixes
    | \bkey[-_](?=[\w*-]{0,100}[\d*])[\w*-]{8,}
    | \bAIza[\w*-]{8,}
    | \beyJ[\w-]{8,500}+\.[\w-]+(?:\.[\w-]*)?                                                # JSON web tokens
    | (?P<before>
        \bbearer\s+(?=\S{0,200}[\d*]|\S{20})                                            # a credential as sent
        | \b(?:api[-_\ ]?key|key|token|secret|password|authorization)
          ["']?\s{0,3}[:=]\s{0,3}["'`]?(?=\S{0,200}[\d*])                           # key=value, key: value
        | \b(?:key|token|secret)\b[^\n]{0,40}?[\s:="'`(]                            # long, after "key"
          (?=[\w+/*]{0,200}[\d*])(?=[\w+/=*]{20}|[0-9a-f]{8}-[0-9a-f]{4}-)
      )
      [^\s"'`,;)&]{6,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _meaning(failure: Failure, status: int | None, message: str, wait: float | None) -> Meaning | None:
    """The meaning of the codes, or else of the message, beyond the status; None if the status is sufficient."""
    found = meanings(failure.codes)
    if MONEY in found and "insufficient_quota" in failure.codes and says_rate(message):
        found = [RATE]
    if MONEY in found:
        return MONEY
    if says_money(message, status, is_rate=wait is not None or RATE in found):
        return MONEY
    if REFUSED in found and status in _REFUSING:
        return REFUSED
    if status == 429 and wait is None and says_plan(message):
        return PLAN
    if status in (402, 413):  # 413: more than a minute's tokens at once, which no waiting cures
        return None
    return min((meaning for meaning in found if meaning is not REFUSED), default=None)


def _classify(status: int | None, codes: frozenset[str], message: str, meaning: Meaning | None) -> tuple[int, str]:
    """The client's status and error type."""
    if meaning is not None:
        return _BY_STATUS[meaning.status]
    if status in (400, 503) and "model_not_found" in codes:  # 503: new-api, if no channel has the model
        return _BY_STATUS[404]
    if status is None:
        status = _guess_status(codes, message)
    if status in (404, 410) and codes.isdisjoint(_NO_MODEL_CODES) and not says_no_model(message):
        return _BY_STATUS[400]  # For a 404 Claude Code says that the model may not exist, and hides the message
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500 and status not in (407, 424, 499):  # those are problems of a gateway
        return 400, "invalid_request_error"
    return 502, "api_error"


_REASONS: Mapping[int, FailureReason] = {
    **dict.fromkeys((401, 403), "refused_key"),
    402: "quota",
    404: "model_gone",
    429: "rate_limit",
    504: "timeout",
    529: "overloaded",
}


def _reason(found: int, upstream: int | None) -> FailureReason | None:
    """Why another provider may succeed where this one fails; None if the request itself is at fault."""
    if upstream in (404, 410):
        return "model_gone"
    return _REASONS.get(found) or ("server" if found >= 500 else None)


def _guess_status(codes: frozenset[str], message: str) -> int:
    """A status for an error that came without one; 502 if nothing suggests another."""
    hints = {status for code, status in WEAK_CODES.items() if code in codes}
    if len(hints) > 1:
        hints.discard(400)  # OpenAI sends invalid_request_error beside any other code
    if hints:
        return max(hints)
    return next((status for pattern, status in _WEAK_TEXTS if pattern.search(message)), 502)


def _cap(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
