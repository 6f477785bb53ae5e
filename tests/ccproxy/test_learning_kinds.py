"""What refusals teach stays with the model, over real sockets: sessions with pictures, models that only stream."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic
from anthropic.types import Message

from support.providers.openai_rules import error_body
from support.providers.scripted import Endless, Failure, Raw, Reply, ScriptedProvider, ToolCall
from support.serving.proxied import proxied

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
QUESTION = {"type": "text", "text": "What is this?"}
TOOL = {"name": "lookup", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
BLIND = "this model does not support image input (ref: {})"


def refused(words: str, status: int = 400, **fields: Any) -> Raw:
    return Raw([json.dumps(error_body(words, **fields)).encode()], status, {"content-type": "application/json"})


def images(body: dict[str, Any]) -> int:
    contents = [message["content"] for message in body["messages"] if isinstance(message.get("content"), list)]
    return sum(part["type"] == "image_url" for content in contents for part in content)


def ask(url: str, *messages: Any, stream: bool = True, **fields: Any) -> Message:
    body = {"model": "claude-opus-4-8", "max_tokens": 100, "messages": messages, **fields}
    with Anthropic(base_url=url, api_key="k", max_retries=0, timeout=20) as client:
        if not stream:
            message: Message = client.messages.create(**body)
            return message
        with client.messages.stream(**body) as streamed:
            final: Message = streamed.get_final_message()
            return final


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def learned(url: str) -> Any:
    return httpx.get(f"{url}/test-connection").json()["corrections"].get("gpt-4o")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_session_with_a_picture_goes_on_when_the_model_takes_none(status: int, stream: bool) -> None:
    provider = ScriptedProvider(
        lambda body: refused(BLIND.format(len(provider.requests)), status) if images(body) else Reply("ok")
    )
    messages: list[Any] = [{"role": "user", "content": [IMAGE, QUESTION]}]
    with proxied(provider, provider="ollama", max_retries=0) as url:
        for _ in range(4):
            assert text_of(ask(url, *messages, stream=stream)) == "ok"
            messages += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": [QUESTION, IMAGE]}]
        assert [images(body) > 0 for body in provider.completions] == [True, False, False, False, False]
        assert learned(url) == {"vision": False}


def test_newest_pictures_stay_when_there_may_be_only_so_many() -> None:
    words = "At most 2 image(s) may be provided in one request."
    provider = ScriptedProvider(lambda body: refused(words) if images(body) > 2 else Reply("ok"))
    messages: list[Any] = [{"role": "user", "content": [IMAGE, QUESTION]}]
    with proxied(provider, provider="vllm", max_retries=0) as url:
        for _ in range(5):
            assert text_of(ask(url, *messages)) == "ok"
            messages += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": [IMAGE, QUESTION]}]
        assert [images(body) for body in provider.completions] == [1, 2, 3, 2, 2, 2]
        assert learned(url) == {"images_max": 2}


def test_picture_that_cannot_be_read_is_left_out_of_each_request_that_has_it() -> None:
    provider = ScriptedProvider(
        lambda body: refused("Could not process image") if '"url": "data:image/gif' in json.dumps(body) else Reply("ok")
    )
    broken = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PNG}}
    with proxied(provider, provider="generic", max_retries=0) as url:
        old = [{"role": "user", "content": [broken, QUESTION]}, {"role": "assistant", "content": "?"}]
        assert text_of(ask(url, *old, {"role": "user", "content": [IMAGE, QUESTION]})) == "ok"
        assert images(provider.completions[-1]) == 1  # the other one
        assert text_of(ask(url, {"role": "user", "content": [IMAGE, broken, QUESTION]})) == "ok"
        assert images(provider.completions[-1]) == 0
        assert text_of(ask(url, {"role": "user", "content": [IMAGE, QUESTION]})) == "ok"
        assert images(provider.completions[-1]) == 1
        assert learned(url) is None


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
@pytest.mark.parametrize("as_event", [True, False], ids=["event", "object"])
def test_refusal_counts_where_an_answer_should_be(as_event: bool, stream: bool) -> None:
    failure = json.dumps({"error": {"message": BLIND.format(1), "code": 400}}).encode()
    event = [b": waiting\n\n", b"event: error\ndata: " + failure + b"\n\n", b"data: [DONE]\n\n"]
    answer = (
        Raw(event, 200, {"content-type": "text/event-stream"})
        if as_event
        else Raw([failure], 200, {"content-type": "application/json"})
    )
    provider = ScriptedProvider(lambda body: answer if images(body) else Reply("ok"))
    options = {"streaming": "always"} if as_event else {}
    with proxied(provider, provider="generic", provider_options=options, max_retries=0) as url:
        for _ in range(2):
            assert text_of(ask(url, {"role": "user", "content": [IMAGE, QUESTION]}, stream=stream)) == "ok"
        assert [images(body) for body in provider.completions] == [1, 0, 0]
        assert learned(url) == {"vision": False}


def test_refusal_behind_the_first_words_of_an_answer_ends_it() -> None:
    words = b'data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\n'
    event = b'data: {"error": {"message": "this model does not support image input", "code": 400}}\n\n'
    provider = ScriptedProvider(lambda body: Raw([words, event], 200, {"content-type": "text/event-stream"}))
    with proxied(provider, provider="generic", max_retries=0) as url:
        with pytest.raises(anthropic.APIStatusError):
            ask(url, {"role": "user", "content": [IMAGE, QUESTION]})
        assert len(provider.completions) == 1
        assert learned(url) is None


# Models that stream always, or never


def only_streams(answer: Reply) -> Callable[[dict[str, Any]], Raw | Reply]:
    words = "This model only support stream mode, please enable the stream parameter to access the model."
    return lambda body: answer if body.get("stream") else refused(words)


ANSWERS = [
    Reply("Done.", reasoning="Hm."),
    Reply("I look.", tool_calls=[ToolCall("lookup", '{"city": "Rome"}')]),
    Reply("Cut of", finish_reason="length"),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=["thinking", "call", "cut"])
def test_answer_comes_whole_when_the_model_only_streams(answer: Reply) -> None:
    fields: dict[str, Any] = {"tools": [TOOL], "thinking": {"type": "enabled", "budget_tokens": 1024}}
    hello = {"role": "user", "content": "hi"}
    with proxied(ScriptedProvider(lambda body: answer), provider="generic") as url:
        expected = ask(url, hello, stream=False, **fields).to_dict()
    provider = ScriptedProvider(only_streams(answer))
    with proxied(provider, provider="generic") as url:
        for _ in range(2):
            message = ask(url, hello, stream=False, **fields).to_dict()
            for block in [*message["content"], *expected["content"]]:  # type: ignore[misc]
                block.pop("id", None)
                block.pop("signature", None)
            assert {**message, "id": ""} == {**expected, "id": ""}
        assert [body.get("stream", False) for body in provider.completions] == [False, True, True]
        assert learned(url) == {"streaming": "always"}


def test_stream_that_breaks_off_is_an_error_when_the_answer_was_to_come_whole() -> None:
    half = Raw([b'data: {"choices":[{"index":0,"delta":{"content":"Hal'], 200, {"content-type": "text/event-stream"})
    provider = ScriptedProvider(lambda body: half)
    with (
        proxied(provider, provider="generic", provider_options={"streaming": "always"}, max_retries=0) as url,
        pytest.raises(anthropic.APIStatusError) as failed,
    ):
        ask(url, {"role": "user", "content": "hi"}, stream=False)
    assert failed.value.status_code >= 500


def test_error_in_a_stream_is_told_when_the_answer_was_to_come_whole() -> None:
    event = b'data: {"error": {"message": "slow down", "code": 429}}\n\n'
    provider = ScriptedProvider(lambda body: Raw([event], 200, {"content-type": "text/event-stream"}))
    with (
        proxied(provider, provider="generic", provider_options={"streaming": "always"}, max_retries=0) as url,
        pytest.raises(anthropic.RateLimitError),
    ):
        ask(url, {"role": "user", "content": "hi"}, stream=False)


def test_stream_without_end_is_broken_off_when_the_answer_was_to_come_whole() -> None:
    provider = ScriptedProvider(lambda body: Endless(0.001, 100_000))
    with (
        proxied(
            provider,
            provider="generic",
            provider_options={"streaming": "always"},
            max_retries=0,
            max_answer=1,
        ) as url,
        pytest.raises(anthropic.APIStatusError, match="over the limit of 1048576 bytes"),
    ):
        ask(url, {"role": "user", "content": "hi"}, stream=False)


def test_client_gets_a_stream_when_the_model_gives_none() -> None:
    words = "Unsupported value: 'stream' does not support true with this model. Supported values are: false."
    provider = ScriptedProvider(lambda body: refused(words) if body.get("stream") else Reply("Done."))
    with proxied(provider, provider="generic") as url:
        assert [text_of(ask(url, {"role": "user", "content": "hi"})) for _ in range(2)] == ["Done.", "Done."]
        assert [body.get("stream", False) for body in provider.completions] == [True, False, False]
        assert learned(url) == {"streaming": "never"}


# What must not be learned


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
def test_nothing_is_remembered_when_the_corrected_request_fails_inside_a_200(stream: bool) -> None:
    failure = Raw([json.dumps(error_body("no")).encode()], 200, {"content-type": "application/json"})
    provider = ScriptedProvider(lambda body: refused(BLIND) if images(body) else failure)
    with proxied(provider, provider="generic", max_retries=0) as url:
        with pytest.raises(anthropic.APIStatusError):
            ask(url, {"role": "user", "content": [IMAGE, QUESTION]}, stream=stream)
        assert len(provider.completions) == 2
        assert learned(url) is None


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Failure(429, "Rate limit reached for images per minute: Limit 5, Used 5"), 429),
        (Failure(500, "The vision encoder crashed"), 500),
        (Failure(400, "The 'temperature' of 0.5 is above the maximum"), 400),
        (Failure(404, "The model gpt-4o does not exist"), 404),
        (refused("'temperature' is not supported with this plan", 402, code="insufficient_quota"), 402),
    ],
    ids=["rate", "crash", "value", "model", "money"],
)
def test_failure_of_another_kind_is_told_at_once(failure: Failure | Raw, status: int) -> None:
    provider = ScriptedProvider(lambda body: failure)
    with proxied(provider, provider="generic", max_retries=0) as url:
        with pytest.raises(anthropic.APIStatusError) as failed:
            ask(url, {"role": "user", "content": [IMAGE, QUESTION]}, extra_body={"temperature": 0.5})
        assert failed.value.status_code == status
        assert len(provider.completions) == 1
        assert learned(url) is None


def test_correction_that_did_not_help_is_not_remembered_when_the_words_differ_in_their_ids() -> None:
    """The model takes no picture, and the words speak of a temperature."""

    def answer(body: dict[str, Any]) -> Raw | Reply:
        if images(body):
            words = "Unsupported parameters: 'temperature'. This model does not support image input"
            return refused(f"{words} (request id: {len(provider.requests):032d})")
        return Reply("ok")

    provider = ScriptedProvider(answer)
    with proxied(provider, provider="generic", max_retries=0) as url:
        assert (
            text_of(ask(url, {"role": "user", "content": [IMAGE, QUESTION]}, extra_body={"temperature": 0.5})) == "ok"
        )
        assert learned(url) == {"vision": False}
