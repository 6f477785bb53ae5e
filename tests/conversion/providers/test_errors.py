import base64
import json
import timeit
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.conversion.providers.errors import (
    MAX_MESSAGE,
    PromptRefused,
    error_from_payload,
    error_from_response,
    redact,
)
from ccproxy_middleware.conversion.providers.profiles import Profile, resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError, new_request_id
from support.match import match
from support.paths import DATA

CASES = DATA / "cases"

FIELDS = (
    *("error", "errors", "detail", "message", "code", "type", "status", "statusCode", "metadata", "raw"),
    *("innererror", "loc", "msg", "n_prompt_tokens", "n_ctx", "base_resp", "status_code", "status_msg", "details"),
    *("retryDelay", "retry_after_ms", "seconds", "headers", "http_code", "choices"),
)

SERVER = Profile()
PASSTHROUGH = Profile(key_mode="passthrough")


def from_status(
    status: int, payload: Any = None, profile: Profile = SERVER, headers: dict[str, str] | None = None
) -> ApiError:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    raw = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return error_from_response(status, raw, body, profile)


def load_cases() -> list[Any]:
    cases = [json.loads(path.read_text()) for path in sorted(CASES.glob("e*.json"))]
    answered = [case for case in cases if "transport_error" not in case]
    return [pytest.param(case, id=case["name"]) for case in answered]


@pytest.mark.parametrize("case", load_cases())
def test_error_is_the_expected_one_when_upstream_answers_as_in_the_case(case: dict[str, Any]) -> None:
    profile = resolve_profile(case["profile"]["base"], case["profile"]["overrides"])
    upstream, expected = case["openai_error"], case["expected"]
    if "openai_sse_b64" in case:
        event = base64.b64decode("".join(case["openai_sse_b64"])).removeprefix(b"data: ").strip()
        error = error_from_payload(json.loads(event), upstream["status"], profile)
    else:
        body = upstream["body"]
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        error = from_status(upstream["status"], raw, profile, upstream["headers"])
    if case["kind"] == "response":
        assert isinstance(error, PromptRefused)
        return
    assert error.status == expected["status"]
    assert match(expected["body"], error.body(new_request_id())) == []
    sent = dict(error.headers)
    assert match(expected["headers"], {name: sent.get(name) for name in expected["headers"]}) == []


STATUSES = [
    *((status, 400, "invalid_request_error") for status in (400, 405, 406, 415, 422, 418, 431)),
    (402, 402, "billing_error"),
    (403, 403, "permission_error"),
    (404, 400, "invalid_request_error"),  # words that say nothing of a model: see test_error_classes.py
    (410, 400, "invalid_request_error"),
    *((status, 504, "timeout_error") for status in (408, 504, 522, 524)),
    (409, 409, "conflict_error"),
    (413, 413, "request_too_large"),
    (429, 429, "rate_limit_error"),
    *((status, 529, "overloaded_error") for status in (498, 503, 529)),
    *((status, 500, "api_error") for status in (500, 501)),
    *((status, 502, "api_error") for status in (302, 424, 499, 502, 505, 520, 521, 523, 525, 530)),
]


@pytest.mark.parametrize(("upstream", "status", "type"), STATUSES)
def test_status_and_type_follow_the_upstream_status(upstream: int, status: int, type: str) -> None:
    error = from_status(upstream, {"error": {"message": "m"}})
    assert (error.status, error.type, error.message) == (status, type, "m")


@pytest.mark.parametrize(
    ("upstream", "error", "status", "type"),
    [
        (429, {"code": "insufficient_quota"}, 402, "billing_error"),
        (429, {"type": "insufficient_quota"}, 402, "billing_error"),
        (400, {"code": "billing_hard_limit_reached"}, 402, "billing_error"),
        (429, {"type": "exceeded_current_quota_error"}, 402, "billing_error"),
        (400, {"code": "rate_limit_exceeded"}, 429, "rate_limit_error"),
        (503, {"status": "RESOURCE_EXHAUSTED"}, 429, "rate_limit_error"),
        (500, {"status": "UNAVAILABLE"}, 529, "overloaded_error"),
        (500, {"type": "overloaded_error"}, 529, "overloaded_error"),
        (429, {"type": "engine_overloaded_error"}, 529, "overloaded_error"),
        (500, {"code": "insufficient_system_resource"}, 529, "overloaded_error"),
        (400, {"code": "model_not_found"}, 404, "not_found_error"),
        (403, {"code": "model_not_found"}, 403, "permission_error"),
        (413, {"code": "rate_limit_exceeded"}, 413, "request_too_large"),
        # a number in the code is the status
        (400, {"code": 429}, 429, "rate_limit_error"),
        (200, {"code": 502}, 502, "api_error"),
        (200, {"code": "503"}, 529, "overloaded_error"),
        (403, {"code": 10000}, 403, "permission_error"),
        (400, {"code": True}, 400, "invalid_request_error"),
        # without a status the words decide
        (200, {"type": "invalid_request_error"}, 400, "invalid_request_error"),
        (None, {"type": "invalid_request_error", "code": "model_not_found"}, 404, "not_found_error"),
        (None, {"status": "PERMISSION_DENIED"}, 403, "permission_error"),
        (None, {"type": "timeout"}, 504, "timeout_error"),
        (None, {"type": "server_error"}, 500, "api_error"),
        (None, {"type": "whatever"}, 502, "api_error"),
        (None, {}, 502, "api_error"),
    ],
)
def test_codes_go_before_the_status_when_they_say_more(
    upstream: int | None, error: dict[str, Any], status: int, type: str
) -> None:
    found = error_from_payload({"error": {"message": "m", **error}}, upstream)
    assert (found.status, found.type) == (status, type)


@pytest.mark.parametrize(
    ("message", "status"), [("Engine overloaded", 529), ("Rate limit reached", 429), ("boom", 502)]
)
def test_the_text_decides_when_there_is_neither_status_nor_code(message: str, status: int) -> None:
    assert error_from_payload({"error": message}).status == status


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"error": {"message": "one"}}, "one"),
        ({"message": "one", "code": "x"}, "one"),
        ([{"error": {"code": 400, "message": "one", "status": "INVALID_ARGUMENT"}}], "one"),
        ({"error": "model 'x' not found"}, "model 'x' not found"),
        ({"code": "Client specified an invalid argument", "error": "bad model"}, "bad model"),
        ({"object": "error", "message": "one", "type": "BadRequestError", "code": 400}, "one"),
        ({"detail": "one"}, "one"),
        (
            {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "field required", "type": "missing"}]},
            "body.messages.0.content: field required",
        ),
        ({"detail": [{"msg": "one"}, "two", 3]}, "one; two"),
        ({"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "no"}]}}, "body: no"),
        ({"errors": [{"code": 10000, "message": "one"}], "success": False}, "one"),
        ({"errors": ["one", "two"]}, "one"),
        ({"statusCode": 400, "message": "one"}, "one"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "why"}}},
            "Provider returned error: why",
        ),
        (
            {"error": {"message": "Provider error", "metadata": {"raw": '{"error":{"message":"why"}}'}}},
            "Provider error: why",
        ),
        ({"error": {"metadata": {"raw": {"message": "why"}}}}, "why"),
        ("one", "one"),
        ({"error": {"message": None}}, "upstream returned HTTP 400"),
        ({"error": {"message": 5}}, "upstream returned HTTP 400"),
        ({"error": {}}, "upstream returned HTTP 400"),
        ({}, "upstream returned HTTP 400"),
        ([], "upstream returned HTTP 400"),
        (None, "upstream returned HTTP 400"),
        (5, "upstream returned HTTP 400"),
    ],
)
def test_message_is_found_in_every_form_that_providers_use(payload: Any, message: str) -> None:
    assert from_status(400, payload).message == message


def test_codes_of_the_provider_behind_openrouter_count_when_raw_holds_them() -> None:
    raw = json.dumps({"error": {"message": "too much", "code": "context_length_exceeded"}})
    error = from_status(400, {"error": {"message": "Provider returned error", "metadata": {"raw": raw}}})
    assert error.message == "prompt is too long (Provider returned error: too much)"


@pytest.mark.parametrize(
    "body",
    [b"<html>Bad Gateway</html>", b" \n<!DOCTYPE html>", b"", b"\xff\xfe", b"[" * 5000, b"\x1f\x8b\x08text", b"a\0b"],
)
def test_message_names_the_status_when_the_body_is_no_text(body: bytes) -> None:
    assert from_status(502, body).message == "upstream returned HTTP 502"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"Bad Gateway", "Bad Gateway"),
        (b" upstream connect error\r\n", "upstream connect error"),
        (b"\x1b[31mno GPU left\x1b[0m", "\x1b[31mno GPU left\x1b[0m"),
        (b'{"error": {"message": "cut o', '{"error": {"message": "cut o'),
        (b"Mod\xe8le introuvable", "Mod\ufffdle introuvable"),
        (b"\xe6\xa8\xa1\xe5\x9e\x8b\xe4\xb8\x8d\xe5\xad\x98\xe5\x9c\xa8", "\u6a21\u578b\u4e0d\u5b58\u5728"),
        (b"Incorrect API key: sk-1234567890", "Incorrect API key: [redacted]"),
        (b"no " + b"x" * 100_000, "no " + "x" * 1996 + "\u2026"),
        (b'data: {"error": {"message": "no"}}\n\n', "no"),
        (b'event: error\ndata: {"message": "no"}\n\ndata: [DONE]\n\n', "no"),
        (b"data: none", "data: none"),
    ],
)
def test_message_is_the_text_when_the_body_is_plain_text(body: bytes, message: str) -> None:
    error = from_status(502, body)
    assert (error.status, error.message) == (502, message)


def test_plain_text_is_read_for_an_overflow() -> None:
    text = b"This model's maximum context length is 10 tokens. However, your messages resulted in 12 tokens."
    error = from_status(400, text)
    assert (error.status, error.message) == (400, "prompt is too long: 12 tokens > 10 maximum")


def test_message_names_no_status_when_there_is_none() -> None:
    assert error_from_payload({"error": {}}).message == "upstream reported an error"


def test_deeply_nested_errors_are_given_up() -> None:
    payload: Any = "deep"
    for _ in range(50):
        payload = {"error": payload}
    assert from_status(500, payload).message == "upstream returned HTTP 500"


def test_refused_key_is_a_502_without_retry_when_it_is_the_proxys_own() -> None:
    error = from_status(401, {"error": {"message": "Incorrect API key provided: sk-abc123def."}})
    assert (error.status, error.type) == (502, "api_error")
    assert error.message.startswith("the provider refused the proxy's API key: Incorrect API key provided: [redacted]")
    assert dict(error.headers)["x-should-retry"] == "false"


def test_refused_key_is_a_401_when_it_is_the_clients() -> None:
    error = from_status(401, {"error": {"message": "no"}}, PASSTHROUGH)
    assert (error.status, error.type, error.headers) == (401, "authentication_error", ())
    assert error_from_payload({"code": "invalid_api_key"}, profile=PASSTHROUGH).status == 401


@pytest.mark.parametrize(
    "error", [{"code": "content_filter"}, {"innererror": {"code": "ResponsibleAIPolicyViolation"}}]
)
def test_refused_prompt_is_told_apart_when_a_filter_refused_it(error: dict[str, Any]) -> None:
    refused = from_status(400, {"error": {"message": "filtered", **error}})
    assert isinstance(refused, PromptRefused)
    assert (refused.status, refused.message) == (400, "filtered")


def test_billing_is_not_retried() -> None:
    error = from_status(
        429, {"error": {"code": "insufficient_quota", "message": "m"}}, headers={"x-should-retry": "true"}
    )
    assert dict(error.headers) == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (429, {"retry-after": "3", "retry-after-ms": "2500", "x-should-retry": "true"}),
        (503, {"retry-after": "3", "retry-after-ms": "2500", "x-should-retry": "true"}),
        (400, {}),
    ],
)
def test_retry_headers_pass_when_a_retry_can_help(status: int, expected: dict[str, str]) -> None:
    headers = {
        "retry-after": "2.5",
        "retry-after-ms": "2500",
        "x-should-retry": "true",
        "set-cookie": "a",
        "server": "b",
    }
    assert dict(from_status(status, {"error": "m"}, headers=headers).headers) == expected


def test_message_is_cut_when_it_is_long() -> None:
    error = from_status(400, {"error": {"message": "x " * 100_000}})
    assert len(error.message) == MAX_MESSAGE
    assert error.message.endswith("…")


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abc***xyz",
        "sk-proj-AbC_123-456789",
        "sk-or-v1-0123456789abcdef",
        "gsk_0123456789abcdef",
        "xai-0123456789abcdef",
        "nvapi-0123_4567-89abcdef",
        "AIzaSyA0123456789abcdef-_x",
        "key-0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    ],
)
@pytest.mark.parametrize("template", ["Incorrect API key provided: {}. See the docs.", '{{"k":"{}"}}', "{}"])
def test_keys_are_redacted_when_their_shape_is_known(secret: str, template: str) -> None:
    redacted = redact(template.format(secret))
    assert secret[:-1] not in redacted
    assert redacted.startswith(template.format("[redacted]").partition("]")[0] + "]")


@pytest.mark.parametrize("unit", ["eyJ-", "eyJabcdefgh-", "key-", "key_x-", "token ", "secret key ", "bearer ", "key:"])
def test_looking_for_keys_takes_time_in_line_with_the_text(unit: str) -> None:
    def seconds(size: int) -> float:
        text = (unit * size)[:size]
        return min(timeit.repeat(lambda: redact(text), number=1, repeat=3))

    assert seconds(64_000) < 100 * max(seconds(4_000), 1e-4)  # 16 times the text; 256 times the work if quadratic


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("got Authorization: Bearer abcDEF123456", "got Authorization: Bearer [redacted]"),
        ("Bearer abcDEF123456 is wrong", "Bearer [redacted] is wrong"),
        ("api_key=abc123def&x=1", "api_key=[redacted]&x=1"),
        ("Invalid key 0123456789abcdef0123456789abcdef.", "Invalid key [redacted]"),
        ("key `9d2f6a0e-1b2c-4d5e-8f90-123456789abc` unknown", "key `[redacted]` unknown"),
    ],
)
def test_keys_are_redacted_when_the_text_says_that_it_is_one(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-4o-2024-08-06` does not exist or you do not have access to it.",
        "Your API key does not have access to model gpt-4o-2024-08-06",
        "Missing bearer authentication in header",
        "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000, Used 29000",
        "Unknown key 'max_tokens' in body.messages.0; task-specific keys such as key-value are not allowed",
        "Invalid API key",
    ],
)
def test_text_stays_when_it_holds_no_key(text: str) -> None:
    assert redact(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner),
)


@given(JSON, st.sampled_from([None, 200, 302, 400, 401, 413, 429, 500]))
def test_any_json_gives_an_error_that_can_be_sent(payload: Any, status: int | None) -> None:
    error = error_from_payload(payload, status)
    assert 400 <= error.status < 600
    assert 0 < len(error.message) <= MAX_MESSAGE


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b"model is overloaded, try later\n", (400, "invalid_request_error", "model is overloaded, try later")),
        (503, b"no healthy upstream", (529, "overloaded_error", "no healthy upstream")),
        (401, "Cl\u00e9 refus\u00e9e".encode(), (502, "api_error", "Cl\u00e9 refus\u00e9e")),
        (400, b"bad key sk-abcdefghijklmnop", (400, "invalid_request_error", "bad key [redacted]")),
        (
            400,
            b"prompt token count of 93854 exceeds the limit of 90000",
            (400, "invalid_request_error", "prompt is too long: 93854 tokens > 90000 maximum"),
        ),
        (500, b"x" * 10_000, (500, "api_error", "x" * 1999)),
        (502, b"<html><title>502</title></html>", (502, "api_error", "upstream returned HTTP 502")),
        (500, b"\x00\x01\x02", (500, "api_error", "upstream returned HTTP 500")),
        (500, bytes(range(128, 250)), (500, "api_error", "upstream returned HTTP 500")),
        (500, b"  ", (500, "api_error", "upstream returned HTTP 500")),
    ],
)
def test_plain_text_is_an_errors_message(status: int, body: bytes, expected: tuple[int, str, str]) -> None:
    error = error_from_response(status, [], body, Profile())
    assert (error.status, error.type) == expected[:2]
    assert expected[2] in error.message
    assert len(error.message) <= 2000
