"""A provider's failure, in whatever form it comes, as the error that an Anthropic client expects."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import loads
from .context_length import overflow_message
from .profiles import Profile
from .rate_limits import response_headers, retry_headers

MAX_MESSAGE = 2000
"""Characters of a provider's message that a client gets to see."""

_MAX_READ = 8000  # longer messages are cut before any pattern looks at them


class PromptRefused(ApiError):
    """The provider's content filter refused the prompt (Azure: 400 ``content_filter``).

    Claude tells this in a message with ``stop_reason: refusal``, not in an error: ``message`` is the
    explanation for its ``stop_details``. As an error it is a 400, for whoever can't make a message of it.
    """


@dataclass(frozen=True, slots=True)
class _Failure:
    """What could be read of a provider's error; ``codes`` are its code, type and status words, lower-case."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    prompt: int | None = None
    limit: int | None = None


# Anthropic's status and error type for each HTTP status of a provider. All others of 500 and above are 502:
# that keeps a provider's gateway apart from the proxy's own 500.
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

_BILLING = frozenset(
    {
        "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error",
        "exceeded_current_quota_error",
    }
)  # fmt: skip

# The provider's filter or its policy has refused the prompt; Responses has a code for each policy.
_REFUSED = frozenset({"content_filter", "responsibleaipolicyviolation"})
_POLICIES = frozenset(
    {"bio_policy", "cyber_policy", "misalignment_policy_violation", "image_content_policy_violation"}
)  # fmt: skip

# Codes that say more than the status they come with.
_STRONG_CODES: Mapping[str, int] = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "resource_exhausted"), 429),
    **dict.fromkeys(
        (
            "overloaded", "overloaded_error", "engine_overloaded", "engine_overloaded_error",
            "server_overloaded", "unavailable", "service_unavailable", "insufficient_system_resource",
            "server_is_overloaded", "slow_down", "service_unavailable_error",
        ),
        529,
    ),
}  # fmt: skip

# Codes of faults in the request, whatever the status says.
_FAULTS = frozenset({"invalid_prompt", "data_residency_mismatch"})
_IMAGE = re.compile(r"(?:\b|_)images?(?:\b|_)")

# Codes that stand for a status where there is none: in the events of a stream, and in the body of a 200.
_WEAK_CODES: Mapping[str, int] = {
    **dict.fromkeys(("invalid_request_error", "invalid_argument", "badrequesterror", "bad_request"), 400),
    **dict.fromkeys(("authentication_error", "invalid_api_key", "unauthenticated", "unauthorized"), 401),
    **dict.fromkeys(("permission_error", "permission_denied", "forbidden"), 403),
    **dict.fromkeys(("not_found_error", "notfounderror", "not_found", "model_not_found"), 404),
    "conflict_error": 409,
    "request_too_large": 413,
    **dict.fromkeys(("timeout", "timeout_error", "deadline_exceeded"), 504),
    **dict.fromkeys(("server_error", "internal", "internal_error", "internal_server_error"), 500),
}
_WEAK_TEXTS = ((re.compile("overloaded", re.IGNORECASE), 529), (re.compile("rate limit", re.IGNORECASE), 429))

_MAX_CODE = 100  # characters

_GENERIC = Profile()
_NO_RETRY = ("x-should-retry", "false")


def error_from_response(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    profile: Profile,
    *,
    max_tokens: int | None = None,
) -> ApiError:
    """The error for a provider's answer that is not 2xx, with all headers that may reach the client.

    ``max_tokens``: the output tokens that the refused request asked for.
    """
    headers = list(headers)
    error = error_from_payload(_payload(body), status, profile, max_tokens=max_tokens)
    sent = dict(response_headers(headers))
    if error.status in (409, 429) or error.status >= 500:
        sent.update(retry_headers(headers))
    error.headers = tuple({**sent, **dict(error.headers)}.items())
    return error


def error_from_payload(
    payload: Any, status: int | None = None, profile: Profile = _GENERIC, *, max_tokens: int | None = None
) -> ApiError:
    """The error that an ``error`` object stands for: in an event of a stream, or in the body of a 200.

    ``payload`` is the object itself or what holds it; ``status`` the HTTP status, of which 2xx says nothing.
    A number in ``error.code`` goes before it. It is a PromptRefused if a filter refused the prompt.
    """
    failure = _read(payload)
    upstream = failure.status or (None if status is None or status < 300 else status)
    message = redact(failure.message[:_MAX_READ])
    codes = failure.codes

    overflow = overflow_message(
        message, codes=codes, status=upstream, prompt=failure.prompt, limit=failure.limit, asked=max_tokens
    )
    if overflow is not None:
        return ApiError(400, "invalid_request_error", _cap(overflow))
    refused = upstream in (400, None) and not codes.isdisjoint(_REFUSED)
    if refused or not codes.isdisjoint(_POLICIES):
        return PromptRefused(400, "invalid_request_error", _cap(message or "The provider refused the prompt."))

    found, type = _classify(upstream, codes, message)
    if not message:
        message = f"upstream returned HTTP {upstream}" if upstream else "upstream reported an error"
        if found == 413:
            message = f"Request too large: {message}"
    if found == 401 and profile.key_mode == "server":
        message = f"the provider refused the proxy's API key: {message}"
        return ApiError(502, "api_error", _cap(message), headers=[_NO_RETRY])
    return ApiError(found, type, _cap(message), headers=[_NO_RETRY] if found == 402 else [])


def error_words(body: bytes) -> str:
    """The message of an error's body, without keys, and its codes behind it."""
    failure = _read(_payload(body))
    return " ".join([redact(failure.message[:_MAX_READ]), *sorted(failure.codes)])


def _payload(body: bytes) -> Any:
    """The JSON of an error's body, or its text; None for HTML, which is a gateway's, and for what is no text."""
    with suppress(ValueError):
        return loads(body)
    text = body[: 4 * _MAX_READ].decode("utf-8", "replace").strip()
    event = _EVENT.match(text)
    if event is not None:  # the stream that was asked for, with the error in it
        with suppress(ValueError):
            return loads(event[1].encode())
    return text if _TEXT.fullmatch(text) else None


_EVENT = re.compile(r"(?:event:.*\n)?data:(.*)")
_TEXT = re.compile(r"(?!<)(?=.*?\w)[^\x00-\x08\x0e-\x1a\x1c-\x1f]*+", re.DOTALL)


def redact(text: str) -> str:
    """The text without anything that looks like a key: providers quote the one they were sent."""
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


def _classify(status: int | None, codes: frozenset[str], message: str) -> tuple[int, str]:
    """The client's status and error type."""
    if status == 402 or not codes.isdisjoint(_BILLING):
        return _BY_STATUS[402]
    if status != 413:
        for code, strong in _STRONG_CODES.items():
            if code in codes:
                return _BY_STATUS[strong]
    if any(code in _FAULTS or _IMAGE.search(code) for code in codes):
        return _BY_STATUS[400]
    if status == 400 and "model_not_found" in codes:
        return _BY_STATUS[404]
    if status is None:
        status = _guess_status(codes, message)
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500 and status not in (407, 424, 499):  # those are a gateway's troubles
        return 400, "invalid_request_error"
    return 502, "api_error"


def _guess_status(codes: frozenset[str], message: str) -> int:
    """A status for an error that came without one; 502 if nothing hints at another."""
    hints = {status for code, status in _WEAK_CODES.items() if code in codes}
    if len(hints) > 1:
        hints.discard(400)  # OpenAI says invalid_request_error beside any other code
    if hints:
        return max(hints)
    return next((status for pattern, status in _WEAK_TEXTS if pattern.search(message)), 502)


def _read(payload: Any, depth: int = 0) -> _Failure:
    """Message, codes and status out of whatever the provider sent."""
    if depth > 4:
        return _Failure()
    if isinstance(payload, str):
        return _Failure(message=payload.strip())
    if isinstance(payload, list):  # Gemini puts its error object in a list
        return _read(next((item for item in payload if isinstance(item, (dict, str))), None), depth + 1)
    if not isinstance(payload, dict):
        return _Failure()
    for key in ("error", "errors", "detail", "message"):
        inner = payload.get(key)
        if not inner or (key == "message" and isinstance(inner, str)):
            continue
        if key == "detail" and isinstance(inner, list):
            return _with_fields(_Failure(message=_validation_message(inner)), payload)
        return _with_fields(_read(inner, depth + 1), payload)
    failure = _with_fields(_Failure(message=_text(payload.get("message") or payload.get("msg"))), payload)
    metadata = payload.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return _append(failure, raw, depth) if raw else failure


def _with_fields(failure: _Failure, fields: Mapping[str, Any]) -> _Failure:
    """A failure with what the object around its message says besides."""
    codes = set(failure.codes)
    status = failure.status
    inner = fields.get("innererror")
    values = [fields.get(name) for name in ("code", "status", "statusCode", "type", "error_type")]
    for value in (*values, inner.get("code") if isinstance(inner, dict) else None):
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            continue
        code = str(value).lower()
        if len(code) == 3 and code.isdecimal() and 400 <= int(code) < 600:
            status = int(code) if status is None else status
        elif len(code) <= _MAX_CODE:
            codes.add(code)
    prompt, limit = fields.get("n_prompt_tokens"), fields.get("n_ctx")
    return _Failure(
        failure.message,
        frozenset(codes),
        status,
        prompt if isinstance(prompt, int) else failure.prompt,
        limit if isinstance(limit, int) else failure.limit,
    )


def _append(failure: _Failure, raw: Any, depth: int) -> _Failure:
    """OpenRouter's own message and codes, followed by those of the provider behind it (``metadata.raw``)."""
    if isinstance(raw, str):
        with suppress(ValueError):
            raw = loads(raw)
    behind = _read(raw, depth + 1)
    message = f"{failure.message}: {behind.message}" if failure.message else behind.message
    return _Failure(
        message if behind.message else failure.message,
        failure.codes | behind.codes,
        failure.status or behind.status,
        behind.prompt or failure.prompt,
        behind.limit or failure.limit,
    )


def _validation_message(details: list[Any]) -> str:
    """FastAPI's list of problems: ``body.messages.0.content: field required``."""
    problems = []
    for item in details[:20]:
        if isinstance(item, dict):
            location = item.get("loc")
            path = ".".join(map(str, location)) if isinstance(location, list) else ""
            problems.append(": ".join(filter(None, (path, _text(item.get("msg") or item.get("message"))))))
        elif isinstance(item, str):
            problems.append(item)
    return "; ".join(filter(None, problems))


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _cap(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
