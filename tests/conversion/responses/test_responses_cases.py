"""The Responses cases: requests, answers, streams, errors and whole conversations, through the layer."""

import json
from typing import Any

import pytest
from anthropic.types import Message

from support.match import match_events
from support.paths import ROOT
from support.responses_cases import CaseProvider, answers_of, ask, conversation_differences, differences, frames, layer
from support.streams.grammar import parse_frames

pytestmark = pytest.mark.anyio

CASES = [json.loads(path.read_text()) for path in sorted((ROOT / "tests/data/responses-cases").glob("*.json"))]
SINGLE = [case for case in CASES if case["kind"] != "conversation"]
STREAMS = [case for case in CASES if case["kind"] == "stream"]


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case["name"])
async def test_case(case: dict[str, Any]) -> None:
    assert await differences(case) == []


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["kind"] == "conversation"], ids=lambda case: case["name"]
)
async def test_conversation_case(case: dict[str, Any]) -> None:
    assert await conversation_differences(case) == []


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case["name"])
async def test_stream_case_byte_by_byte(case: dict[str, Any]) -> None:
    [answer] = answers_of(case)
    whole = b"".join(answer["reads"] if "reads" in answer else frames(answer["events"], case.get("wire") or {}))
    provider = CaseProvider([{"reads": [whole[n : n + 1] for n in range(len(whole))]}], {})
    got = await ask(layer(case, provider), case["anthropic_request"], case)
    assert match_events(case, parse_frames(got.body)) == []


@pytest.mark.parametrize("case", [case for case in CASES if case["kind"] == "response"], ids=lambda case: case["name"])
async def test_answer_is_one_that_the_sdk_knows(case: dict[str, Any]) -> None:
    provider = CaseProvider(answers_of(case), {})
    Message.model_validate((await ask(layer(case, provider), case["anthropic_request"], case)).json())


def test_cases_are_there() -> None:
    assert len(CASES) == 131
