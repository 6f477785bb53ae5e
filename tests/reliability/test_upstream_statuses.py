"""The provider answers with an error status: the status and type that both kinds of client see."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.outcomes import Answered, Outcome, Refused, Watcher
from support.providers.faulty import Behaviour
from support.providers.scripted import error_body
from support.providers.upstream_faults import Fault, both, watched, whole
from support.reliability import Row

INVALID = (400, "invalid_request_error")
MISSING = (404, "not_found_error")
TIMEOUT = (504, "timeout_error")
OVERLOADED = (529, "overloaded_error")
INTERNAL = (500, "api_error")
GATEWAY = (502, "api_error")

STATUSES: dict[int, tuple[int, str]] = {
    **dict.fromkeys((400, 404, 405, 406, 410, 415, 418, 422), INVALID),
    401: GATEWAY,  # the proxy's own key is wrong, which the client can do nothing about
    402: (402, "billing_error"),
    403: (403, "permission_error"),
    **dict.fromkeys((408, 504, 522, 524), TIMEOUT),
    409: (409, "conflict_error"),
    413: (413, "request_too_large"),
    429: (429, "rate_limit_error"),
    **dict.fromkeys((498, 503, 529), OVERLOADED),
    **dict.fromkeys((500, 501), INTERNAL),
    **dict.fromkeys((407, 424, 499, 502, 520, 521, 523, 525, 530, 599), GATEWAY),
}

BODIES: dict[str, tuple[bytes, bytes, str]] = {
    "JSON": (b"application/json", json.dumps(error_body("no such luck", "some_error")).encode(), "no such luck"),
    "HTML": (b"text/html", b"<html><title>no</title><body>such luck</body></html>", "returned HTTP"),
    "text": (b"text/plain", b"no such luck", "no such luck"),
    "nothing": (b"application/json", b"", "returned HTTP"),
    "an array": (b"application/json", b'[{"error": {"message": "no such luck"}}]', "no such luck"),
    "wrong types": (b"application/json", b'{"error": {"message": 7, "code": [], "type": {}}, "detail": 1}', ""),
    "half of the JSON": (b"application/json", b'{"error": {"mess\xff', '{"error": {"mess'),
    "an event stream": (b"text/event-stream", b'data: {"error": {"message": "no such luck"}}\n\n', "no such luck"),
}


def answering(status: int, type_: bytes, body: bytes) -> Behaviour:
    """A response with this status."""
    return whole(body, b"HTTP/1.1 %d Said\r\ncontent-type: %s\r\n" % (status, type_))


def told(status: int, message: str = "no", **fields: Any) -> Behaviour:
    """An OpenAI error with these fields."""
    return answering(status, b"application/json", json.dumps(error_body(message, **fields)).encode())


def case(status: int, form: str) -> Fault:
    """A status with a body of this form."""
    type_, body, message = BODIES[form]
    return both(f"{status} with {form}", answering(status, type_, body), Refused(*STATUSES[status], message))


CASES = {status: [case(status, form) for form in BODIES] for status in STATUSES}

_TOO_LONG = "This model's maximum context length is 10 tokens. However, your messages resulted in 12 tokens."

SPECIAL: list[tuple[str, Behaviour, Outcome]] = [
    (
        "400 `context_length_exceeded`",
        told(400, _TOO_LONG, code="context_length_exceeded"),
        Refused(*INVALID, "prompt is too long: 12 tokens > 10 maximum"),
    ),
    ("400 `model_not_found`", told(400, code="model_not_found"), Refused(*MISSING)),
    ("404 that names a missing model", told(404, "The model `m` does not exist"), Refused(*MISSING)),
    ("400 `content_filter`", told(400, code="content_filter"), Answered("", "refusal")),
    (
        "413 with tokens per minute",
        told(413, "Request too large on tokens per minute (TPM): Limit 10, Requested 12"),
        Refused(*INVALID, "prompt is too long: 12 tokens > 10 maximum"),
    ),
    ("429 `insufficient_quota`", told(429, code="insufficient_quota"), Refused(402, "billing_error")),
    ("429 that quotes the provider's key", told(429, "provider-key, sk-1234567890"), Refused(429, "rate_limit_error")),
    ("500 `rate_limit_exceeded`", told(500, code="rate_limit_exceeded"), Refused(429, "rate_limit_error")),
    ("500 `overloaded`", told(500, code="overloaded"), Refused(*OVERLOADED)),
]
SPECIALS = [both(*case) for case in SPECIAL]


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    with watched([*SPECIALS, *(case for cases in CASES.values() for case in cases)]) as watcher:
        yield watcher


@pytest.mark.parametrize("status", STATUSES)
def test_status(watcher: Watcher, status: int) -> None:
    """With the forms of the body in turn."""
    assert {case.name: found for case in CASES[status] if (found := watcher.surprises(case.name, case.expected))} == {}


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in SPECIALS])
def test_code(watcher: Watcher, fault: Fault) -> None:
    assert watcher.surprises(fault.name, fault.expected) == {}


def rows() -> list[Row]:
    by_outcome: dict[tuple[int, str], list[int]] = {}
    for status, outcome in STATUSES.items():
        by_outcome.setdefault(outcome, []).append(status)
    told = [(", ".join(map(str, statuses)), str(Refused(*outcome))) for outcome, statuses in by_outcome.items()]
    for form, (_, _, message) in BODIES.items():
        told.append((f"each of these with {form}", f"the same status and type: {message or 'some text'}"))
    plain = [Row(fault, seen, seen, "test_status") for fault, seen in told]
    return plain + [fault.row(f"test_code[{fault.name}]") for fault in SPECIALS]
