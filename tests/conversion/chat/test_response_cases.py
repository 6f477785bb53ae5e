"""The answer cases: what upstream sends, whole or streamed, and what the client must get of it."""

import base64
import json
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_middleware.conversion.anthropic.message import message_events, refusal_message
from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.errors import PromptRefused, error_from_payload
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from support.clients.sdk import accumulate
from support.match import match, match_events
from support.paths import DATA
from support.streams.grammar import check_stream

CASES = [json.loads(path.read_text()) for path in sorted((DATA / "cases").glob("*.json"))]
RESPONSES = [case for case in CASES if case["kind"] == "response" and case.get("openai_response")]
STREAMS = [case for case in CASES if case["kind"] == "stream"]


def context_of(case: dict[str, Any]) -> Context:
    profile = resolve_profile(case["profile"]["base"], case["profile"]["overrides"])
    return convert_request(case["anthropic_request"], profile).context


def reads_of(case: dict[str, Any]) -> list[bytes]:
    """What is read from upstream, one piece per read."""
    if "openai_sse_b64" in case:
        return [base64.b64decode(read) for read in case["openai_sse_b64"]]
    chunks = [json.dumps(chunk) for chunk in case["openai_chunks"]] + ["[DONE]"] * case["done"]
    return [f"data: {chunk}\n\n".encode() for chunk in chunks]


def convert(case: dict[str, Any], reads: list[bytes]) -> bytes:
    converter = StreamConverter(context_of(case), "req_0123456789abcdef")
    frames = [frame for read in reads for frame in converter.feed(read)]
    return b"".join(frames + converter.finish())


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case["name"])
def test_response_case(case: dict[str, Any]) -> None:
    message = convert_response(case["openai_response"], context_of(case))
    assert match(case["expected"], message) == []
    Message.model_validate(message)


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case["name"])
def test_response_case_as_events(case: dict[str, Any]) -> None:
    """A stream request may be answered with JSON; its events add up to the same message."""
    message = convert_response(case["openai_response"], context_of(case))
    frames = b"".join(message_events(message))
    check_stream(frames)
    assert match(message, accumulate(frames)) == []


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case["name"])
def test_stream_case(case: dict[str, Any]) -> None:
    frames = convert(case, reads_of(case))
    events = check_stream(frames)
    assert match_events(case, events) == []
    if case.get("expected_message") is not None:
        assert match(case["expected_message"], accumulate(frames)) == []


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case["name"])
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_stream_case_when_cut_anywhere(case: dict[str, Any], data: st.DataObject) -> None:
    whole = b"".join(reads_of(case))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert match_events(case, check_stream(convert(case, pieces))) == []


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case["name"])
def test_stream_case_byte_by_byte(case: dict[str, Any]) -> None:
    whole = b"".join(reads_of(case))
    pieces = [whole[n : n + 1] for n in range(len(whole))]
    assert match_events(case, check_stream(convert(case, pieces))) == []


def test_azure_prompt_filter_is_a_refusal() -> None:
    (case,) = (case for case in CASES if case["name"].startswith("e26"))
    error = error_from_payload(case["openai_error"]["body"], case["openai_error"]["status"])
    assert isinstance(error, PromptRefused)
    message = refusal_message(error.message, context_of(case))
    assert match(case["expected"], message) == []
    check_stream(b"".join(message_events(message)))


def test_first_event_is_an_error() -> None:
    (case,) = (case for case in CASES if case["name"].startswith("e22"))
    converter = StreamConverter(context_of(case), "req_0123456789abcdef")
    assert [frame for read in reads_of(case) for frame in converter.feed(read)] == []
    assert converter.error is not None
    actual = {
        "status": converter.error.status,
        "headers": {},
        "body": converter.error.body("req_0123456789abcdef"),
    }
    assert match(case["expected"], actual) == []
    assert not converter.started


def test_answer_cases_are_there() -> None:
    assert (len(RESPONSES), len(STREAMS)) == (23, 29)
