"""Read a provider's error, whatever its format: message, codes, status, numbers, time to wait."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...toolkit.json import loads
from .rate_limits import seconds_in

_MAX_CODE = 100  # characters
_MAX_DETAILS = 20  # objects in an error's list of details
_MAX_DEPTH = 4

_CODES = ("code", "status", "statusCode", "status_code", "http_code", "error_code", "type", "error_type")
_MESSAGES = ("message", "msg", "error_msg", "status_msg")
_GOOD = ("", "0", "200", "ok", "success", "none", "null")  # values of a code that mean success


@dataclass(frozen=True, slots=True)
class Failure:
    """What could be read from a provider's error; ``codes`` are its code, type and status words, in lower case.

    ``wait``: the seconds after which to retry, if a field contains them.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    prompt: int | None = None
    limit: int | None = None
    wait: float | None = None


def is_failure(data: Any) -> bool:
    """Whether an object in place of an answer, or of a part of one, is an error."""
    if isinstance(data, list):  # Gemini
        return any(isinstance(item, dict) and bool(item.get("error")) for item in data)
    if not isinstance(data, dict):
        return False
    if data.get("error") or data.get("object") == "error" or data.get("type") == "error":
        return True
    if "base_resp" in data and _base_resp(data):
        return True
    if data.get("choices") is not None:
        return False
    if "choices" not in data and (data.get("detail") or data.get("errors")):
        return True
    return _is_coded(data) and any(_text(data.get(name)) for name in _MESSAGES)


def _is_coded(data: Mapping[str, Any]) -> bool:
    """Whether it has an error code, as SiliconFlow, DashScope, Z.ai and Baidu send beside the message."""
    status = str(data.get("status") or "")  # or a word for the progress of an answer
    codes = [data.get("code"), data.get("error_code"), data.get("status_code"), status if status.isdecimal() else None]
    return any(str(code or "").lower() not in _GOOD for code in codes)


def read_failure(payload: Any, depth: int = 0) -> Failure:
    """Message, codes and status from whatever the provider sent."""
    if depth > _MAX_DEPTH:
        return Failure()
    if isinstance(payload, str):
        return Failure(message=payload.strip())
    if isinstance(payload, list):  # Gemini puts its error object in a list
        return read_failure(next((item for item in payload if isinstance(item, (dict, str))), None), depth + 1)
    if not isinstance(payload, dict):
        return Failure()
    if base := _base_resp(payload):
        codes = frozenset((f"base_resp:{base['status_code']}",))
        return Failure(_text(base.get("status_msg")) or f"code {base['status_code']}", codes)
    for key in ("error", "errors", "detail", "message"):
        inner = payload.get(key)
        if not inner or (key == "message" and isinstance(inner, str)):
            continue
        if key == "detail" and isinstance(inner, list):
            return _with_fields(Failure(message=_validation_message(inner)), payload)
        return _with_fields(read_failure(inner, depth + 1), payload)
    message = next(filter(None, (_text(payload.get(name)) for name in _MESSAGES)), "")
    failure = _with_fields(Failure(message=message), payload)
    metadata = payload.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return _append(failure, raw, depth) if raw else failure


def _base_resp(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """MiniMax's own status of a request, if it reports a failure."""
    base = data.get("base_resp")
    return base if isinstance(base, dict) and str(base.get("status_code") or "0").lower() not in _GOOD else None


def _with_fields(failure: Failure, fields: Mapping[str, Any]) -> Failure:
    """A failure, completed from the object around its message."""
    codes = set(failure.codes)
    status = failure.status
    inner = fields.get("innererror")
    values = [fields.get(name) for name in _CODES]
    for value in (*values, inner.get("code") if isinstance(inner, dict) else None):
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            continue
        code = str(value).lower()
        if len(code) == 3 and code.isdecimal() and 400 <= int(code) < 600:
            status = int(code) if status is None else status
        elif len(code) <= _MAX_CODE:
            codes.add(code)
    prompt, limit = fields.get("n_prompt_tokens"), fields.get("n_ctx")
    waits = [wait for place in _places(fields) if (wait := seconds_in(place)) is not None]
    return Failure(
        failure.message,
        frozenset(codes),
        status,
        prompt if isinstance(prompt, int) else failure.prompt,
        limit if isinstance(limit, int) else failure.limit,
        failure.wait if failure.wait is not None else max(waits, default=None),
    )


def _places(fields: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects of an error that may contain the time to wait: Google's details, OpenRouter's metadata and
    headers.
    """
    yield fields
    details, metadata = fields.get("details"), fields.get("metadata")
    for place in (*(details[:_MAX_DETAILS] if isinstance(details, list) else (details,)), metadata):
        if isinstance(place, dict):
            yield place
            for inner in (place.get("metadata"), place.get("headers")):
                if isinstance(inner, dict):
                    yield inner


def _append(failure: Failure, raw: Any, depth: int) -> Failure:
    """OpenRouter's own message and codes, followed by those of the provider behind it (``metadata.raw``)."""
    if isinstance(raw, str):
        with suppress(ValueError):
            raw = loads(raw)
    behind = read_failure(raw, depth + 1)
    message = f"{failure.message}: {behind.message}" if failure.message else behind.message
    return Failure(
        message if behind.message else failure.message,
        failure.codes | behind.codes,
        failure.status or behind.status,
        behind.prompt or failure.prompt,
        behind.limit or failure.limit,
        failure.wait if failure.wait is not None else behind.wait,
    )


def _validation_message(details: list[Any]) -> str:
    """FastAPI's list of validation errors: ``body.messages.0.content: field required``."""
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
