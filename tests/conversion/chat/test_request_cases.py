"""The request cases: what a client sends, and the chat request that must come of it."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.anthropic.signatures import encode_signature
from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError
from ccproxy_middleware.toolkit.json import loads
from support.match import match
from support.paths import DATA

CASES = [json.loads(path.read_text()) for path in sorted((DATA / "cases").glob("r*.json"))]


def with_envelopes(value: Any) -> Any:
    """The request with each ``$ENVELOPE:{..}`` replaced by the proxy's own encoding of it."""
    if isinstance(value, str) and value.startswith("$ENVELOPE:"):
        return encode_signature(json.loads(value.removeprefix("$ENVELOPE:")))
    if isinstance(value, dict):
        return {key: with_envelopes(item) for key, item in value.items()}
    return [with_envelopes(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_request_case(case: dict[str, Any]) -> None:
    profile = resolve_profile(case["profile"]["base"], case["profile"]["overrides"])
    request = loads(json.dumps(with_envelopes(case["anthropic_request"])))
    if case["kind"] == "error":
        with pytest.raises(ApiError) as refused:
            convert_request(request, profile)
        error = refused.value
        actual = {"status": error.status, "body": error.body("req_0123456789abcdef")}
        assert match(case["expected"], actual) == []
    else:
        assert match(case["expected"], convert_request(request, profile).body) == []
    assert request == loads(json.dumps(with_envelopes(case["anthropic_request"])))  # it may be shared with others


def test_request_cases_are_there() -> None:
    assert len(CASES) == 54
