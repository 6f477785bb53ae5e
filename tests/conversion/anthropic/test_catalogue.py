"""The list of models: what is told of each, and the provider's own behind the aliases."""

import json
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware, ModelMappingMiddleware
from ccproxy_middleware.conversion import model_list
from ccproxy_middleware.conversion.anthropic.catalogue import model_info, models_from_openai
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from support.asgi import Inner, call, http_scope

pytestmark = pytest.mark.anyio

GENERIC = resolve_profile("generic", {})
ALIASES = ["claude-opus", "claude-sonnet", "claude-haiku"]
LISTED = json.dumps({"object": "list", "data": [
    {"id": "new", "created": 1_700_000_000, "max_model_len": 4096},
    {"id": "old", "created": 1_600_000_000},
    {"id": "claude-haiku", "created": 1_500_000_000},
]}).encode()  # fmt: skip


@pytest.mark.parametrize(
    ("model", "window", "output"),
    [
        ("gpt-4o", 128_000, 16_384),
        ("openai/gpt-4.1-mini", 1_047_576, 32_768),
        ("gpt-5", 400_000, 128_000),
        ("gpt-5-chat-latest", 128_000, 16_384),
        ("gpt-5.4", 1_050_000, 128_000),
        ("gpt-5.4-2026-03-05", 1_050_000, 128_000),
        ("gpt-5.4-mini", 400_000, 128_000),
        ("o4-mini", 200_000, 100_000),
        ("deepseek-chat", 128_000, 64_000),
        ("deepseek-v4-pro", 1_048_576, 384_000),
        ("gemini-2.5-pro", 1_048_576, 65_536),
        ("x-ai/grok-4-fast", 2_000_000, None),
        ("grok-4", 256_000, None),
        ("grok-4.3", None, None),
        ("llama3.2:3b", None, None),
    ],
)
def test_limits_are_what_is_known_of_the_model(model: str, window: int | None, output: int | None) -> None:
    info = model_info("claude-opus", model, GENERIC)
    assert (info["max_input_tokens"], info["max_tokens"]) == (window, output)


@pytest.mark.parametrize(
    ("entry", "window", "output"),
    [
        ({"max_model_len": 32_768}, 32_768, None),
        ({"context_length": 200_000, "top_provider": {"max_completion_tokens": 64_000}}, 200_000, 64_000),
        ({"context_length": 200_000, "top_provider": {"max_completion_tokens": None}}, 200_000, None),
        ({"context_window": 131_072, "max_completion_tokens": 32_768}, 131_072, 32_768),
        ({"max_context_length": 262_144}, 262_144, None),
        ({"meta": {"n_ctx": 8192, "n_ctx_train": 131_072}}, 8192, None),
        ({"meta": {"n_ctx_train": 131_072}}, 131_072, None),
        ({"id": "gpt-4o", "max_model_len": 1000}, 1000, 16_384),
        ({"max_model_len": "4096", "context_length": 0, "context_window": True, "meta": None}, None, None),
        ({"meta": [], "top_provider": "x", "max_completion_tokens": -1}, None, None),
    ],
)
def test_limits_are_what_the_provider_says_when_it_lists_the_model(
    entry: dict[str, Any], window: int | None, output: int | None
) -> None:
    (info,) = models_from_openai({"data": [{"id": "m", **entry}]}, GENERIC)
    assert (info["max_input_tokens"], info["max_tokens"]) == (window, output)


@pytest.mark.parametrize(("model", "output"), [("gpt-4o", 4096), ("gpt-4-turbo", 4096), ("unknown", 4096)])
def test_longest_answer_is_capped_by_what_the_proxy_allows(model: str, output: int) -> None:
    info = model_info("claude-opus", model, resolve_profile("generic", {"max_output": 4096}))
    assert info["max_tokens"] == output


def app(inner: Any, *, outside: bool = True, **options: Any) -> Any:
    if outside:
        return ModelMappingMiddleware(FormatConversionMiddleware(inner, options=options), big="B", small="S")
    return FormatConversionMiddleware(ModelMappingMiddleware(inner, big="B", small="S"), options=options)


@pytest.mark.parametrize("outside", [True, False])
async def test_providers_models_are_listed_behind_the_aliases_when_asked_for(outside: bool) -> None:
    inner = Inner(LISTED)
    page = (await call(app(inner, outside=outside, list_models="upstream"), http_scope("GET", "/v1/models"))).json()
    assert [model["id"] for model in page["data"]] == [*ALIASES, "new", "old"]
    assert [model["display_name"] for model in page["data"]] == ["B", "B", "S", "new", "old"]
    assert page["data"][3]["max_input_tokens"] == 4096
    assert [scope["path"] for scope in inner.scopes] == ["/v1/models"]


async def test_providers_model_is_found_by_its_id_when_they_are_listed() -> None:
    answer = await call(app(Inner(LISTED), list_models="upstream"), http_scope("GET", "/v1/models/old"))
    assert answer.json()["id"] == "old"


async def test_models_are_listed_once_when_there_are_no_aliases() -> None:
    alone = FormatConversionMiddleware(Inner(LISTED), options={"list_models": "upstream"})
    page = (await call(alone, http_scope("GET", "/v1/models"))).json()
    assert [model["id"] for model in page["data"]] == ["new", "old", "claude-haiku"]


async def never_answers(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("inner", [Inner(b"no"), Inner(b"{}"), Inner(b'{"error":"x"}', status=500), never_answers])
async def test_aliases_are_listed_when_the_provider_fails(
    inner: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_list, "_MODELS_LIMIT", 0.05)
    page = (await call(app(inner, list_models="upstream"), http_scope("GET", "/v1/models"))).json()
    assert [model["id"] for model in page["data"]] == ALIASES
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("claude-opus-5-5", "B"),
        ("claude-haiku-4-5-20251001", "S"),
        ("us.anthropic.claude-sonnet-4-5-v1:0", "B"),
        ("opus[1m]", "B"),
        ("B", "B"),
        ("old", "old"),
    ],
)
async def test_every_name_that_a_request_may_have_is_found(outside: bool, name: str, model: str) -> None:
    answer = await call(app(Inner(LISTED), outside=outside), http_scope("GET", f"/v1/models/{name}"))
    assert (answer.status, answer.json()["id"], answer.json()["display_name"]) == (200, name, model)


async def test_name_is_found_when_the_provider_has_no_list_and_takes_any() -> None:
    answer = await call(app(Inner(b"{}", status=404)), http_scope("GET", "/v1/models/gpt-4o"))
    assert (answer.status, answer.json()["id"]) == (200, "gpt-4o")


async def test_name_that_the_provider_does_not_list_is_not_found() -> None:
    answer = await call(app(Inner(LISTED)), http_scope("GET", "/v1/models/gpt-4o"))
    assert (answer.status, answer.json()["error"]["type"]) == (404, "not_found_error")
