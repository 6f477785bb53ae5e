"""ModelMappingMiddleware alone: in front of an Anthropic app, an OpenAI app, and other apps."""

import json
from typing import Any

import pytest
from starlette.types import ASGIApp

from ccproxy_middleware import ModelMappingMiddleware
from ccproxy_middleware.models import tier_of
from support.asgi import Answer, Inner, call, http_scope

pytestmark = pytest.mark.anyio

SSE = {"content-type": "text/event-stream"}


def mapping(inner: ASGIApp) -> ModelMappingMiddleware:
    return ModelMappingMiddleware(inner, big="B", middle="M", small="S")


async def ask(inner: Inner, model: Any, path: str = "/v1/messages", **more: Any) -> Answer:
    return await call(mapping(inner), http_scope("POST", path, **more), {"model": model, "n": 1}, chunks=3)


@pytest.mark.parametrize(
    ("name", "model", "tier"),
    [
        ("claude-3-5-haiku-20241022", "S", "SMALL_MODEL"),
        ("claude-sonnet-5", "M", "MIDDLE_MODEL"),
        ("claude-opus-4-8", "B", "BIG_MODEL"),
        ("claude-opus-4-8[1m]", "B", "BIG_MODEL"),
        ("claude-fable-5", "B", "BIG_MODEL"),
        ("anthropic/claude-sonnet-5", "M", "MIDDLE_MODEL"),
        ("anthropic/other", "B", "BIG_MODEL"),
        ("Claude-HAIKU", "S", "SMALL_MODEL"),
        ("claude-opus/qwen3-coder", "B", "BIG_MODEL"),
        ("claude-fable/qwen3-coder", "B", "BIG_MODEL"),
        ("claude-opus/claude-3-haiku", "B", "BIG_MODEL"),  # the tier is what stands first
        ("claude-sonnet/meta/llama:70b[1m]", "M", "MIDDLE_MODEL"),
        ("claude-haiku/opus-mt", "S", "SMALL_MODEL"),
        ("claude-provider/deepseek/deepseek-chat:free", "deepseek/deepseek-chat:free", None),
        ("claude-provider/claude-sonnet-5", "claude-sonnet-5", None),
        ("gpt-5.2-codex", "gpt-5.2-codex", None),
        ("qwen3-coder:30b", "qwen3-coder:30b", None),
    ],
)
async def test_model_goes_by_its_tier(name: str, model: str, tier: str | None) -> None:
    inner = Inner()
    await ask(inner, name)
    assert inner.json() == {"model": model, "n": 1}
    assert inner.scopes[0]["ccproxy.model"] == {"requested": name, "tier": tier}
    assert tier_of(name) == tier


async def test_middle_defaults_to_big() -> None:
    inner = Inner()
    await call(
        ModelMappingMiddleware(inner, big="B", small="S"), http_scope("POST", "/v1/messages"), {"model": "sonnet"}
    )
    assert inner.json() == {"model": "B"}


@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions", "/chat/completions"]
)
async def test_both_formats_are_mapped(path: str) -> None:
    inner = Inner()
    await ask(inner, "claude-opus-4-8", path)
    assert inner.json()["model"] == "B"


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}", b'{"model": 3}', b""])
async def test_body_without_a_model_passes_byte_by_byte(body: bytes) -> None:
    inner = Inner()
    await call(mapping(inner), http_scope("POST", "/v1/messages"), body)
    assert inner.bodies == [body]


async def test_unmapped_request_passes_byte_by_byte() -> None:
    inner = Inner()
    body = b'{ "model" : "gpt-4o" }'
    await call(mapping(inner), http_scope("POST", "/v1/messages", {"content-length": str(len(body))}), body)
    assert inner.bodies == [body]
    assert inner.header["content-length"] == str(len(body))


async def test_stale_length_is_dropped_with_the_old_body() -> None:
    inner = Inner()
    await ask(inner, "claude-opus-4-8", headers={"content-length": "33"})
    assert "content-length" not in inner.header


async def test_too_large_a_body_is_refused_by_its_length() -> None:
    inner = Inner()
    answer = await call(mapping(inner), http_scope("POST", "/v1/messages", {"content-length": str(33 << 20)}))
    assert answer.status == 413
    assert answer.json()["error"]["type"] == "request_too_large"
    assert inner.scopes == []


@pytest.mark.parametrize(
    ("inner", "model"),
    [
        (Inner(b'{"type":"message","model":"real-2024"}'), "model"),
        (Inner(b'{"object":"chat.completion","model":"real-2024"}'), "model"),
    ],
)
async def test_json_answer_carries_the_name_that_the_client_sent(inner: Inner, model: str) -> None:
    answer = await ask(inner, "claude-opus-4-8")
    assert answer.json()[model] == "claude-opus-4-8"
    assert answer.headers["x-upstream-model"] == "B"
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_stream_carries_the_name_that_the_client_sent_however_it_is_cut() -> None:
    events = (
        b'event: message_start\ndata: {"type":"message_start","message":{"model":"real","id":"m"}}\n\n'
        b': comment\n\ndata: {"model":"real","choices":[{"delta":{"content":"\\"model\\": real"}}]}\n\n'
        b"data: [DONE]\n\n"
    )
    for size in (1, 7, len(events)):
        chunks = [events[i : i + size] for i in range(0, len(events), size)]
        answer = await ask(Inner(chunks, headers=SSE), "claude-opus-4-8")
        data = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
        assert data[0]["message"]["model"] == data[1]["model"] == "claude-opus-4-8"
        assert data[1]["choices"] == [{"delta": {"content": '"model": real'}}]
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert b": comment\n" in answer.body


@pytest.mark.parametrize(
    "inner",
    [
        Inner(b'{"model":"real"}', headers={"content-type": "application/json", "x-upstream-model": "B"}),
        Inner(b'{"model":"real"}', status=400),
        Inner(b"\x1f\x8b...", headers={"content-type": "application/json", "content-encoding": "gzip"}),
        Inner(b'"model"', headers={"content-type": "text/plain"}),
    ],
)
async def test_answer_that_is_restored_already_or_none_passes(inner: Inner) -> None:
    answer = await ask(inner, "claude-opus-4-8")
    assert answer.body == inner.body
    assert answer.status == inner.status


async def test_outer_layer_that_knows_the_clients_name_restores_it() -> None:
    inner = Inner(b'{"model":"real"}')
    outer: dict[str, Any] = {"ccproxy.model": {"requested": "claude-x", "tier": None}}
    scope = http_scope("POST", "/v1/chat/completions", **outer)
    answer = await call(mapping(inner), scope, {"model": "haiku"})
    assert answer.body == b'{"model":"real"}'
    assert inner.scopes[0]["ccproxy.model"] == {"requested": "claude-x", "tier": "SMALL_MODEL"}


async def test_models_are_left_for_inner_layers_and_listed_for_an_outer_converter() -> None:
    inner = Inner()
    await call(mapping(inner), http_scope("GET", "/v1/models"))
    aliases = inner.scopes[0]["ccproxy.models"]
    assert [(alias.id, alias.model) for alias in aliases] == [
        ("claude-opus", "B"), ("claude-sonnet", "M"), ("claude-haiku", "S"),
    ]  # fmt: skip
    assert [tier_of(alias.id) for alias in aliases] == ["BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL"]
    asked: dict[str, Any] = {"ccproxy.lists_models": True}
    answer = await call(mapping(inner), http_scope("GET", "/v1/models", **asked))
    assert [item["display_name"] for item in answer.json()["data"]] == ["B", "M", "S"]
    assert len(inner.scopes) == 1


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("octopus-v2", None),
        ("hf.co/x/Qwen3-8B-Opus-Distill-GGUF", None),
        ("haikuforge-7b", None),
        ("sonnet-writer", None),
        ("my-claude-like", None),
        ("claudette-7b", None),
        ("gpt-4o", None),
        ("opus-mt-en-de", None),
        ("claude", "BIG_MODEL"),
        ("claude-fable-5", "BIG_MODEL"),
        ("CLAUDE-3-5-HAIKU-20241022", "SMALL_MODEL"),
        ("opus", "BIG_MODEL"),
        ("opus[1m]", "BIG_MODEL"),
        ("opusplan", "BIG_MODEL"),
        ("best", "BIG_MODEL"),
        ("sonnet", "MIDDLE_MODEL"),
        ("haiku", "SMALL_MODEL"),
        ("anthropic/claude-sonnet-4.5", "MIDDLE_MODEL"),
        ("openrouter/anthropic/claude-opus-4", "BIG_MODEL"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "SMALL_MODEL"),
        ("bedrock/global.anthropic.claude-sonnet-4-5", "MIDDLE_MODEL"),
        ("arn:aws:bedrock:us-east-1:123:inference-profile/us.anthropic.claude-opus-4-1", "BIG_MODEL"),
        ("vertex_ai/claude-opus-4@20250514", "BIG_MODEL"),
        ("anthropic.claude-v2", "BIG_MODEL"),
    ],
)
def test_only_claudes_own_names_are_mapped(name: str, tier: str | None) -> None:
    assert tier_of(name) == tier
