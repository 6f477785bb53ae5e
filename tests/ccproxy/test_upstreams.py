"""The proxy in front of several providers, over real sockets: who is asked, by which key, model and headers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from support.providers.scripted import Failure, Reply, ScriptedProvider
from support.serving.proxied import PROVIDER_KEY
from support.serving.several import several

TIERS = {"big_model": "local:qwen3", "middle_model": "gpt-4o", "small_model": "Cloud:llama3.1:70b"}


def message(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **more}


def _named(name: str) -> ScriptedProvider:
    return ScriptedProvider(lambda body: Reply(f"by {name}"), models=[f"of-{name}"])


class Providers:
    """Three of them; each says its own name."""

    def __init__(self) -> None:
        self.default, self.local, self.cloud = (_named(name) for name in ("default", "local", "cloud"))

    @contextmanager
    def client(self, **settings: Any) -> Iterator[httpx.Client]:
        others = {"local": self.local, "CLOUD": self.cloud}
        with (
            several(self.default, others, **{**TIERS, "max_retries": 0, **settings}) as url,
            httpx.Client(base_url=url, timeout=20) as http,
        ):
            yield http


@pytest.fixture(scope="module")
def open_providers() -> Iterator[tuple[httpx.Client, Providers]]:
    providers = Providers()
    fields = {"local": {"api_key": "one, two"}, "CLOUD": {"headers": {"X-Team": "cloud"}}}
    with providers.client(fields=fields, custom_headers={"X-Default": "d", "Anthropic-Beta": "mine"}) as http:
        yield http, providers


Open = tuple[httpx.Client, Providers]


@pytest.mark.parametrize(
    ("asked", "name", "model", "key"),
    [
        ("claude-opus-4-8", "local", "qwen3", "one/two"),
        ("claude-sonnet-4-5", "default", "gpt-4o", PROVIDER_KEY),
        ("claude-haiku-4-5", "cloud", "llama3.1:70b", "CLOUD-key"),
        ("LOCAL:other", "local", "other", "one/two"),
        ("claude/cloud:claude-3", "cloud", "claude-3", "CLOUD-key"),
        ("default:gpt-5", "default", "gpt-5", PROVIDER_KEY),
        ("claude/default:gpt-5", "default", "gpt-5", PROVIDER_KEY),
        ("local:other[1m]", "local", "other", "one/two"),
        ("nobody:model", "default", "nobody:model", PROVIDER_KEY),
        ("mistral", "default", "mistral", PROVIDER_KEY),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_upstream_of_the_model_is_asked_for_it(
    open_providers: Open, asked: str, name: str, model: str, key: str, stream: bool
) -> None:
    http, providers = open_providers
    before = {each: len(getattr(providers, each).requests) for each in ("default", "local", "cloud")}
    answer = http.post("/v1/messages", json=message(asked, stream=stream))
    assert answer.status_code == 200, answer.text
    assert f"by {name}" in answer.text.replace('"}}\n\nevent: content_block_delta', "") or stream
    if not stream:
        assert answer.json()["model"] == asked
    asked_now = {each: getattr(providers, each).requests[count:] for each, count in before.items()}
    assert {each: len(requests) for each, requests in asked_now.items()} == {
        each: int(each == name) for each in ("default", "local", "cloud")
    }
    (request,) = asked_now[name]
    assert request.body["model"] == model
    assert request.headers["authorization"].removeprefix("Bearer ") in key.split("/")
    assert request.headers.get("x-default") == ("d" if name == "default" else None)
    assert request.headers.get("anthropic-beta") == ("mine" if name == "default" else None)
    assert request.headers.get("x-team") == ("cloud" if name == "cloud" else None)


def test_standby_answers_when_the_first_of_a_list_fails() -> None:
    providers = Providers()
    providers.local = ScriptedProvider(lambda body: Failure(500, {"error": {"message": "down"}}))
    with providers.client(big_model="local:qwen3, default:gpt-4o,cloud:x") as http:
        answer = http.post("/v1/messages", json=message("claude-opus-4-8"))
    assert answer.json()["content"] == [{"type": "text", "text": "by default"}]
    assert [len(p.requests) for p in (providers.local, providers.default, providers.cloud)] == [1, 1, 0]
    assert providers.default.completions[0]["model"] == "gpt-4o"


def test_no_default_upstream_is_needed_where_no_model_is_its() -> None:
    local = ScriptedProvider()
    models = {"big_model": "local:a", "small_model": "local:b"}
    with several(None, {"local": local}, **models) as url, httpx.Client(base_url=url, timeout=20) as http:
        assert http.post("/v1/messages", json=message("claude-haiku-4-5")).status_code == 200
        refused = http.post("/v1/messages", json=message("gpt-4o"))
        page = http.get("/test-connection").json()
    assert local.completions[0]["model"] == "b"
    assert refused.status_code == 404
    assert refused.json()["error"]["type"] == "not_found_error"
    assert "NAME:model, with NAME out of local" in refused.json()["error"]["message"]
    assert (page["status"], list(page["upstreams"])) == ("ok", ["local"])


def test_safety_checks_may_go_to_another_upstream() -> None:
    providers = Providers()
    with providers.client(classifier_model="cloud:judge", big_model="local:a,gpt-4o") as http:
        for system in ("You are a security monitor for coding agents.", "classify"):
            assert http.post("/v1/messages", json=message("claude-opus-4-8", system=system)).status_code == 200
    assert [body["model"] for body in providers.cloud.completions] == ["judge"]
    assert [body["model"] for body in providers.local.completions] == ["a"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [9_000, 8_000, None])
def test_overflow_goes_to_a_standby_whose_provider_tells_of_a_larger_window(size: int | None, stream: bool) -> None:
    """Neither the settings nor the name of a model tell its window: the provider's list does, and its error."""
    providers = Providers()
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 8500 tokens."
    too_long = Failure(400, {"error": {"message": text, "code": "context_length_exceeded"}})
    providers.local = ScriptedProvider(lambda body: too_long)
    providers.cloud = ScriptedProvider(models=[{"id": "x", "max_model_len": size} if size else "x"])
    with providers.client(big_model="local:own,cloud:x") as http:
        answers = [http.post("/v1/messages", json=message("claude-opus-4-8", stream=stream)) for _ in range(2)]
    for answer in answers:
        if size == 9_000:
            assert answer.status_code == 200
            assert "Hello" in answer.text
            assert "upstream=cloud" in answer.headers["x-cc-boost-route"]
        else:
            assert "prompt is too long: 8500 tokens > 8192 maximum" in answer.text
    lists = [request for request in providers.cloud.requests if request.path.endswith("/models")]
    assert len(lists) == (2 if size is None else 1)  # asked again only where it has not told


def test_connection_test_asks_every_upstream_and_names_its_variables() -> None:
    providers = Providers()
    providers.cloud = ScriptedProvider(api_key="another")
    with providers.client() as http:
        answer = http.get("/test-connection")
    page = answer.json()
    assert (answer.status_code, page["status"], page["model"]) == (502, "failed", "gpt-4o")
    assert page["upstreams"]["local"] | {"usage": None} == {
        "status": "ok", "provider": "generic", "model": "qwen3", "usage": None, "corrections": {},
    }  # fmt: skip
    assert page["upstreams"]["cloud"]["status"] == "failed"
    assert page["upstreams"]["cloud"]["remedy"] == ("Check UPSTREAM_CLOUD_API_KEY: the provider does not accept it.")
    assert "CLOUD-key" not in answer.text


def test_connection_test_lists_models_of_an_upstream_without_a_named_model() -> None:
    providers = Providers()
    with providers.client(small_model="gpt-4o-mini") as http:
        page = http.get("/test-connection").json()
    assert page["upstreams"]["cloud"] == {
        "status": "ok", "provider": "generic", "model": None, "corrections": {},
    }  # fmt: skip
    assert [request.path for request in providers.cloud.requests] == ["/v1/models"]


def test_root_tells_of_every_upstream_and_no_secret(open_providers: Open) -> None:
    page = open_providers[0].get("/")
    assert page.json()["upstreams"] == {
        "local": {"provider": "generic", "api": "auto"},
        "cloud": {"provider": "generic", "api": "auto"},
    }
    assert page.json()["models"]["SMALL_MODEL"] == "Cloud:llama3.1:70b"
    assert "routing" not in page.json()["layers"]
    assert "RoutingMiddleware" in page.json()["layers"]
    assert not any(secret in page.text for secret in ("one", "two", "CLOUD-key", PROVIDER_KEY))
