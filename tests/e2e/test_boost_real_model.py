"""A real model plans without tools, and carries the plan out with them: ``CC_BOOST_REAL=qwen``."""

import os
from collections.abc import Iterator

import pytest
from anthropic import Anthropic
from anthropic.types import Message, MessageParam, ToolParam

from ccproxy import Settings, create_app
from support.providers.real_model import Unavailable, real_model
from support.serving.servers import serve

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

READ_FILE: ToolParam = {
    "name": "read_file",
    "description": "Read a text file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


@pytest.fixture(scope="module")
def client() -> Iterator[Anthropic]:
    if "qwen" not in os.environ.get("CC_BOOST_REAL", "").split(","):
        pytest.skip("it takes a real model: CC_BOOST_REAL=qwen fetches and runs one")
    try:
        with real_model("qwen") as model:
            settings = Settings.explicit(
                openai_api_key="none",
                openai_base_url=f"{model}/v1",
                big_model="qwen",
                enable_boost_support="BIG_MODEL",
                boost_base_url=f"{model}/v1",
                boost_api_key="none",
                boost_model="qwen",
                request_timeout=300,
            )
            with serve(create_app(settings)) as proxy:
                yield Anthropic(api_key="k", base_url=proxy.url, max_retries=0, timeout=600)
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize("question", ["Which number stands in note.txt?", "Hello! Who are you?"])
def test_every_question_gets_an_answer_that_a_client_can_use(client: Anthropic, question: str) -> None:
    """Nobody can say what so small a model decides: only that a client never sees anything but an answer."""
    messages: list[MessageParam] = [{"role": "user", "content": question}]
    response = client.messages.with_raw_response.create(
        model="claude-opus-4-8", max_tokens=256, tools=[READ_FILE], messages=messages, extra_body={"temperature": 0}
    )
    assert response.headers["x-boost-outcome"] in ("summary", "guidance", "fallback")
    assert 1 <= int(response.headers["x-boost-loops"]) <= 3
    check(response.parse())


def test_stream_comes_to_its_end_however_long_the_planning_takes(client: Anthropic) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "Read note.txt, please."}]
    with client.messages.stream(
        model="claude-opus-4-8", max_tokens=256, tools=[READ_FILE], messages=messages
    ) as stream:
        check(stream.get_final_message())


def check(message: Message) -> None:
    assert message.content
    assert message.stop_reason in ("end_turn", "max_tokens", "tool_use")
    calls = [block.name for block in message.content if block.type == "tool_use"]
    assert (message.stop_reason == "tool_use") == bool(calls) or message.stop_reason == "max_tokens"
    assert set(calls) <= {"read_file"}
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > 400  # the planner's prompt
