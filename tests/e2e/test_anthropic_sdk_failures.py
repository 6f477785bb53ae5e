"""The official ``anthropic`` SDK through the running proxy: errors, retries and cancelling."""

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam

from support.providers.faulty import Behaviour, closes_mid_body, faulty, resets_mid_event
from support.providers.scripted import (
    Answer,
    Chunks,
    Endless,
    Failure,
    Recorded,
    Reply,
    ScriptedProvider,
    Silence,
    error_body,
)
from support.serving.proxied import proxied, proxy
from support.serving.servers import eventually

MODEL = "claude-sonnet-5"
HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]
AT_ONCE = {"retry-after-ms": "10"}
MISSING_MODEL = Failure(404, error_body("The model `x` does not exist", code="model_not_found"))


def client_of(url: str, *, max_retries: int = 0, **options: Any) -> Anthropic:
    return Anthropic(**{"base_url": url, "api_key": "client-key", "max_retries": max_retries, "timeout": 20, **options})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "expected", "type"),
    [
        (Failure(400, error_body("bad value")), anthropic.BadRequestError, "invalid_request_error"),
        (Failure(402, error_body("no credit")), anthropic.PaymentRequiredError, "billing_error"),
        (Failure(403, error_body("not allowed")), anthropic.PermissionDeniedError, "permission_error"),
        (MISSING_MODEL, anthropic.NotFoundError, "not_found_error"),
        (Failure(413, error_body("too much")), anthropic.RequestTooLargeError, "request_too_large"),
        (Failure(429, error_body("slow down")), anthropic.RateLimitError, "rate_limit_error"),
        (Failure(500), anthropic.InternalServerError, "api_error"),
        (Failure(503, "<html>busy</html>"), anthropic.OverloadedError, "overloaded_error"),
        (Failure(529, error_body("overloaded")), anthropic.OverloadedError, "overloaded_error"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Failure) else "",
)
def test_failure_of_the_provider_is_its_own_exception(
    failure: Failure, expected: type[anthropic.APIStatusError], type: str, stream: bool
) -> None:
    with (
        proxied(ScriptedProvider([failure]), max_retries=0) as url,
        client_of(url) as client,
        pytest.raises(expected) as caught,
    ):
        client.messages.create(model=MODEL, max_tokens=100, messages=HELLO, stream=stream)
    assert caught.value.type == type
    assert caught.value.request_id is not None
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == type


def test_rate_limit_tells_when_to_try_again() -> None:
    failure = Failure(429, error_body("slow down"), {"retry-after": "7"})
    with (
        proxied(ScriptedProvider([failure]), max_retries=0) as url,
        client_of(url) as client,
        pytest.raises(anthropic.RateLimitError) as caught,
    ):
        client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "7"


def test_wrong_key_of_the_proxy_is_not_the_clients_fault() -> None:
    """The client must neither ask for another key nor try again."""
    with (
        proxied(ScriptedProvider(api_key="another")) as url,
        client_of(url, max_retries=2) as client,
        pytest.raises(anthropic.InternalServerError, match="refused the proxy's API key") as caught,
    ):
        client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
    assert caught.value.status_code == 502


def test_too_long_prompt_is_told_in_anthropics_words() -> None:
    message = (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130042 tokens. "
        "Please reduce the length of the messages."
    )
    failure = Failure(400, error_body(message, param="messages", code="context_length_exceeded"))
    with (
        proxied(ScriptedProvider([failure])) as url,
        client_of(url) as client,
        pytest.raises(anthropic.BadRequestError, match="prompt is too long: 130042 tokens > 128000 maximum"),
    ):
        client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)


def test_request_that_is_wrong_never_reaches_the_provider() -> None:
    provider = ScriptedProvider()
    with (
        proxied(provider) as url,
        client_of(url) as client,
        pytest.raises(anthropic.BadRequestError, match="max_tokens"),
    ):
        client.messages.create(model=MODEL, max_tokens=-1, messages=HELLO)
    assert provider.requests == []


def test_request_above_32_megabytes_is_too_large() -> None:
    provider = ScriptedProvider()
    text = "x" * (33 * 1024 * 1024)
    with (
        proxied(provider) as url,
        client_of(url) as client,
        pytest.raises(anthropic.RequestTooLargeError) as caught,
    ):
        client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": text}])
    assert "request_too_large" in str(caught.value.body)
    assert provider.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_sdk_tries_again_and_succeeds(stream: bool) -> None:
    failures = [
        Failure(529, error_body("overloaded"), AT_ONCE),
        Failure(429, error_body("slow down"), AT_ONCE),
    ]
    provider = ScriptedProvider([*failures, Reply("At last.")])
    with proxied(provider, max_retries=0) as url, client_of(url, max_retries=2) as client:
        if stream:
            with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as streamed:
                assert streamed.get_final_text() == "At last."
        else:
            message = client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
            assert message.stop_reason == "end_turn"
    assert len(provider.completions) == 3


def test_proxy_tries_again_where_the_client_does_not() -> None:
    provider = ScriptedProvider([Failure(503, headers=AT_ONCE), Reply("At last.")])
    with proxied(provider) as url, client_of(url) as client:
        client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
    assert len(provider.completions) == 2


@pytest.mark.parametrize(
    ("credentials", "welcome"),
    [
        ({"api_key": "good"}, True),  # this SDK sends it as a bearer token
        ({"auth_token": "good", "api_key": None}, True),
        ({"auth_token": "bad", "api_key": None, "default_headers": {"x-api-key": "good"}}, True),
        ({"api_key": "other"}, True),
        ({"api_key": "bad"}, False),
        ({"auth_token": "bad", "api_key": None, "default_headers": {"x-api-key": "bad"}}, False),
    ],
)
def test_client_key_is_checked(credentials: dict[str, Any], welcome: bool) -> None:
    provider = ScriptedProvider()
    with proxied(provider, anthropic_api_key="good,other") as url, client_of(url, **credentials) as client:
        if welcome:
            client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
            client.models.list()
        else:
            with pytest.raises(anthropic.AuthenticationError):
                client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
            with pytest.raises(anthropic.AuthenticationError):
                client.models.list()
    assert len(provider.requests) == welcome
    assert all(b"good" not in _head(request) for request in provider.requests)


def _head(request: Recorded) -> bytes:
    return repr(request.headers).encode()


PIECE = {"index": 0, "delta": {"role": "assistant", "content": "Some text"}, "finish_reason": None}
CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [PIECE]}


@pytest.mark.parametrize(
    "answer",
    [
        Chunks([CHUNK], done=False),  # ends in the middle
        Chunks([CHUNK, error_body("The server had an error", "server_error")], done=True),
    ],
    ids=["cut", "error"],
)
def test_failure_in_mid_stream_is_never_a_clean_message(answer: Answer) -> None:
    with (
        proxied(ScriptedProvider([answer])) as url,
        client_of(url) as client,
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream,
    ):
        stream.get_final_message()
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"


@pytest.mark.parametrize("behaviour", [closes_mid_body, resets_mid_event], ids=["closed", "reset"])
def test_broken_connection_in_mid_stream_is_never_a_clean_message(behaviour: Behaviour) -> None:
    with (
        faulty(behaviour) as upstream,
        proxy(upstream.url, max_retries=0) as url,
        client_of(url) as client,
        pytest.raises(anthropic.APIError),
        client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream,
    ):
        stream.get_final_message()


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [Endless(), Silence()], ids=["in mid-stream", "before the first byte"])
@pytest.mark.parametrize("stream", [True, False])
async def test_cancelled_task_closes_the_providers_request(answer: Answer, stream: bool) -> None:
    provider = ScriptedProvider([answer])
    with proxied(provider) as url:
        async with AsyncAnthropic(base_url=url, api_key="client-key", max_retries=0) as client:

            async def consume() -> None:
                got = await client.messages.create(model=MODEL, max_tokens=100, messages=HELLO, stream=stream)
                assert not isinstance(got, anthropic.types.Message)
                async for _ in got:
                    pass

            task = asyncio.create_task(consume())
            await eventually(lambda: provider.active)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: provider.disconnects)
    assert provider.active == 0


@pytest.mark.anyio
async def test_async_client_gets_the_same_exceptions_and_retries() -> None:
    provider = ScriptedProvider([Failure(529, headers=AT_ONCE), Reply("Hi."), MISSING_MODEL])
    with proxied(provider, max_retries=0) as url:
        async with AsyncAnthropic(base_url=url, api_key="client-key", max_retries=1) as client:
            message = await client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
            assert message.stop_reason == "end_turn"
            with pytest.raises(anthropic.NotFoundError):
                await client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
    assert len(provider.completions) == 3
