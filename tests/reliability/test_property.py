"""Real requests, spoilt in every way: the answer is a valid one, or an error that is the client's.

``PROPERTY_EXAMPLES=20000 pytest --timeout=0 tests/reliability/test_property.py`` looks longer, and elsewhere each time.
"""

import asyncio
import gzip
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from anthropic.types import Message
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from ccproxy import Settings, create_app
from ccproxy_middleware import BoostMiddleware, FormatConversionMiddleware, ModelMappingMiddleware
from support.asgi import Answer, call, http_scope
from support.clients.mutations import HEADERS, cut_up, mutated, stored_requests
from support.providers.scripted import Reply, ScriptedProvider, ToolCall
from support.streams.grammar import check_stream

EXAMPLES = os.environ.get("PROPERTY_EXAMPLES")

STORED = [request for request in stored_requests() if request["method"] == "POST"]
BODIES = [request["body"] for request in STORED]
ERRORS = {
    400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large", 415: "invalid_request_error",
    424: "invalid_request_error",
}  # fmt: skip


def answer(body: dict[str, Any]) -> Reply:
    """Think, speak, and call the first tool."""
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    return Reply("An answer.", [ToolCall(name) for name in names[:1]], reasoning="A thought.")


def proxy(provider: str) -> ASGIApp:
    """The whole proxy, in front of a provider that refuses what OpenAI refuses."""
    return create_app(Settings.explicit(openai_api_key="k", provider=provider), endpoint=ScriptedProvider(answer))


def boosted() -> ASGIApp:
    planner = ScriptedProvider(lambda body: Reply("GUIDANCE: go on"))
    layers = [
        Middleware(ModelMappingMiddleware, big="B", small="S"),
        Middleware(BoostMiddleware, planner=planner, model="P"),
        Middleware(FormatConversionMiddleware),
    ]
    return create_app(Settings.explicit(openai_api_key="k"), endpoint=ScriptedProvider(answer), layers=layers)


STACKS: dict[str, Callable[[], ASGIApp]] = {
    **{name: partial(proxy, name) for name in ("generic", "openai", "gemini", "mistral", "openrouter")},
    "boosted": boosted,
}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def check_answer(got: Answer, path: str) -> None:
    """Raise AssertionError for anything but a valid answer, or an error that blames the client."""
    assert got.complete
    assert got.headers["request-id"].startswith("req_")
    if got.status == 200 and got.headers["content-type"].startswith("text/event-stream"):
        assert check_stream(got.body)[-1]["type"] == "message_stop"
    elif got.status == 200 and path.endswith("/count_tokens"):
        assert got.json().keys() == {"input_tokens"}
        assert got.json()["input_tokens"] > 0
    elif got.status == 200:
        Message.model_validate(got.json())
    else:
        error = got.json()
        assert error["type"] == "error"
        assert error["request_id"] == got.headers["request-id"]
        assert error["error"]["type"] == ERRORS[got.status], error
        assert isinstance(error["error"]["message"], str)
        assert error["error"]["message"]


@settings(
    max_examples=int(EXAMPLES or 250),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(st.data())
def test_spoilt_request_gets_a_valid_answer_or_a_clients_error(runner: asyncio.Runner, data: st.DataObject) -> None:
    request = data.draw(st.sampled_from(STORED))
    body = data.draw(mutated(request["body"], BODIES).flatmap(cut_up))
    packed = data.draw(st.sampled_from([None, None, None, "gzip", "zstd"]))
    headers = [*request["headers"].items(), *data.draw(st.lists(st.sampled_from(HEADERS), max_size=2))]
    if packed is not None:
        body = gzip.compress(body, 1) if packed == "gzip" else zstd.compress(body)
        headers = [
            *((name, value) for name, value in headers if name != "content-encoding"),
            ("content-encoding", packed),
        ]
        body = data.draw(cut_up(body))
    path = data.draw(st.sampled_from(["/v1/messages", request["path"].partition("?")[0], "/v1/messages/count_tokens"]))
    stack = STACKS[data.draw(st.sampled_from(sorted(STACKS)))]()
    got = runner.run(call(stack, http_scope("POST", path, headers), body, chunks=data.draw(st.integers(1, 3))))
    check_answer(got, path)
