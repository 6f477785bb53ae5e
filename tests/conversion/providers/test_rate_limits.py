import math
import time
from datetime import UTC, datetime, timedelta

import pytest

from ccproxy_middleware.conversion.providers.rate_limits import response_headers, retry_headers


def raw(**headers: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]


def test_limits_are_renamed_when_upstream_sends_openais() -> None:
    headers = raw(
        x_ratelimit_limit_requests="500",
        x_ratelimit_remaining_requests="499",
        X_RateLimit_Limit_Tokens="30000",
        x_ratelimit_remaining_tokens="29000",
        server="x",
        x_request_id="y",
    )
    assert response_headers(headers) == [
        ("anthropic-ratelimit-requests-limit", "500"),
        ("anthropic-ratelimit-requests-remaining", "499"),
        ("anthropic-ratelimit-tokens-limit", "30000"),
        ("anthropic-ratelimit-tokens-remaining", "29000"),
    ]


def in_seconds(seconds: float, form: str) -> str:
    moment = time.time() + seconds
    match form:
        case "epoch":
            return str(moment)
        case "milliseconds":
            return str(round(moment * 1000))
        case "iso":
            return datetime.fromtimestamp(moment, UTC).isoformat()
        case "naive":
            return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
        case _:
            return datetime.fromtimestamp(moment, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("6s", 6),
        ("1m1.5s", 61.5),
        ("12ms", 0.012),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("250us", 0.00025),
        ("30", 30),
        ("0.5", 0.5),
        ("0s", 0),
        *((form, 90) for form in ("epoch", "milliseconds", "iso", "naive", "http")),
    ],
)
def test_reset_is_a_time_in_utc_when_upstream_tells_it_in_any_form(value: str, seconds: float) -> None:
    before = time.time()
    value = value if value[0].isdigit() else in_seconds(seconds, value)
    headers = dict(response_headers(raw(x_ratelimit_reset_tokens=value)))
    reset = datetime.strptime(headers["anthropic-ratelimit-tokens-reset"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    earliest, latest = before + seconds - 1, math.ceil(time.time() + seconds)
    assert earliest <= reset.timestamp() <= latest


BAD = [
    "",
    "soon",
    "-5",
    "1e9",
    "nan",
    "9" * 15,
    "9" * 400,
    "5\r\nset-cookie: a=b",
    "5 s",
    "Thu, 99 Foo 2026 00:00:00 GMT",
    "9999-99-99T00:00:00Z",
    "١٢",
    "\xff\xfe",
]


@pytest.mark.parametrize("value", BAD)
def test_values_are_dropped_when_they_are_absurd(value: str) -> None:
    encoded = value.encode("utf-8")
    assert response_headers([(b"x-ratelimit-reset-requests", encoded)]) == []
    assert retry_headers([(b"retry-after", encoded), (b"x-should-retry", encoded)]) == []
    if value != "9" * 15:  # as a limit it is only large
        assert response_headers([(b"x-ratelimit-limit-requests", encoded)]) == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "7"}, {"retry-after": "7"}),
        ({"retry_after": "0.2"}, {"retry-after": "1"}),
        ({"retry_after": "1m1.5s"}, {"retry-after": "62"}),
        ({"retry_after_ms": "150"}, {"retry-after-ms": "150"}),
        ({"x_should_retry": "false"}, {"x-should-retry": "false"}),
        ({"x_should_retry": "maybe"}, {}),
        # upstream's own goes before what can be derived
        (
            {"retry_after": "7", "x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "60s"},
            {"retry-after": "7"},
        ),
        (
            {
                "x_ratelimit_remaining_tokens": "0",
                "x_ratelimit_reset_tokens": "1m1.5s",
                "x_ratelimit_remaining_requests": "9",
                "x_ratelimit_reset_requests": "2h",
            },
            {"retry-after": "62"},
        ),
        (
            {
                "x_ratelimit_remaining_tokens": "0",
                "x_ratelimit_reset_tokens": "12ms",
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_reset_requests": "3s",
            },
            {"retry-after": "3"},
        ),
        (
            {"x_ratelimit_remaining_tokens_minute": "0", "x_ratelimit_reset_tokens_minute": "4"},
            {"retry-after": "4"},
        ),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "5"}, {"retry-after": "5"}),
        ({"x_ratelimit_remaining_tokens": "0"}, {}),
        ({"x_ratelimit_reset_tokens": "5s"}, {}),
    ],
)
def test_retry_headers_are_passed_or_derived(headers: dict[str, str], expected: dict[str, str]) -> None:
    assert dict(retry_headers(raw(**headers))) == expected


def test_retry_after_is_in_seconds_when_upstream_gives_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=30)
    ((name, value),) = retry_headers(raw(retry_after=moment.strftime("%a, %d %b %Y %H:%M:%S GMT")))
    assert name == "retry-after"
    assert 25 <= int(value) <= 30
    past = datetime.now(UTC) - timedelta(days=1)
    assert retry_headers(raw(retry_after=past.strftime("%a, %d %b %Y %H:%M:%S GMT"))) == [("retry-after", "0")]
