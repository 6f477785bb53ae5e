"""The client's own credential for Anthropic goes to the upstream that it is for, and nowhere else."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from support.providers.anthropic_rules import Body
from support.providers.anthropic_server import AnthropicServer, Content, Refusal
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.several import several

OURS = "the-proxys-own-key"
TOKEN = "sk-ant-oat01-the-clients-own-token"
OWN = {
    "x-cc-boost-key": OURS,
    "authorization": f"Bearer {TOKEN}",
    "anthropic-beta": "oauth-2025-04-20",
    "anthropic-version": "2023-06-01",
}


def hello(body: Body) -> Content:
    return [{"type": "text", "text": "Hello"}]


def message(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **more}


class Providers:
    """The client's own Anthropic, another one with a key, and one for each of OpenAI's APIs."""

    def __init__(self, answer: Any = hello) -> None:
        self.mine = AnthropicServer(answer, strict=True, credentials=[TOKEN])
        self.other = AnthropicServer(hello, strict=True, credentials=["other-key"])
        self.chat = ScriptedProvider(lambda body: Reply("by chat"))
        self.responses = ScriptedProvider(lambda body: Reply("by responses"))

    @contextmanager
    def client(self, **settings: Any) -> Iterator[httpx.Client]:
        fields = {
            "mine": {"api_key": "client", "api": "anthropic"},
            "other": {"api": "anthropic"},
            "resp": {"api": "responses"},
        }
        others: dict[str, ASGIApp] = {"mine": self.mine, "other": self.other, "resp": self.responses}
        tiers = {"big_model": "mine:claude-opus-4-8", "small_model": "gpt-4o-mini"}
        with (
            several(
                self.chat,
                others,
                fields=fields,
                **{"anthropic_api_key": OURS, **tiers, "max_retries": 0, **settings},
            ) as url,
            httpx.Client(base_url=url, timeout=20, trust_env=False, headers=OWN) as http,
        ):
            yield http

    def heard(self) -> dict[str, str]:
        """All that each of them was sent."""
        return {
            "mine": str([self.mine.headers, self.mine.raws]),
            "other": str([self.other.headers, self.other.raws]),
            "chat": str([(request.headers, request.raw) for request in self.chat.requests]),
            "responses": str([(request.headers, request.raw) for request in self.responses.requests]),
        }


@pytest.mark.parametrize("stream", [False, True])
def test_it_goes_to_its_upstream_alone(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    providers = Providers()
    models = ["claude-opus-4-8", "other:claude-sonnet-4-5", "gpt-4o", "resp:gpt-5", "mine:claude-haiku-4-5"]
    with providers.client(inspector=True, metrics=True, log_bodies=True) as http:
        for model in models:
            answer = http.post("/v1/messages", json=message(model, stream=stream))
            assert answer.status_code == 200, answer.text
        http.post("/v1/messages/count_tokens", json=message("claude-opus-4-8"))
        http.get("/v1/models")
        http.get("/test-connection")
        shown = [http.get(path).text for path in ("/", "/metrics", "/ui/api/exchanges")]
        pages = [http.get(f"/ui/api/exchanges/{each['id']}").text for each in json.loads(shown[-1])["exchanges"]]
    heard = providers.heard()
    assert {name: TOKEN in text for name, text in heard.items()} == {
        "mine": True, "other": False, "chat": False, "responses": False,
    }  # fmt: skip
    assert [OURS in text for text in heard.values()] == [False] * 4
    assert len(pages) >= len(models)
    assert not [text for text in (*shown, *pages, caplog.text) if TOKEN in text or OURS in text]
    assert providers.mine.headers[0]["authorization"] == f"Bearer {TOKEN}"
    assert providers.other.headers[0]["x-api-key"] == "other-key"
    assert [body["model"] for body in providers.mine.bodies[:2]] == ["claude-opus-4-8", "claude-haiku-4-5"]


def test_its_refusal_is_the_clients_business_and_nobody_else_is_asked() -> None:
    providers = Providers(lambda body: Refusal(f"bad {TOKEN}", 401, "authentication_error"))
    with providers.client(big_model="mine:claude-opus-4-8,other:claude-sonnet-4-5,gpt-4o") as http:
        answer = http.post("/v1/messages", json=message("claude-opus-4-8"))
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert answer.json()["error"]["message"] == "bad ***"
        providers.mine.script = hello
        assert http.post("/v1/messages", json=message("claude-opus-4-8")).json()["content"][0]["text"] == "Hello"
    assert providers.other.bodies == []
    assert providers.chat.requests == []


def test_standby_that_takes_over_never_sees_it() -> None:
    providers = Providers(lambda body: Refusal("Overloaded", 529, "overloaded_error"))
    with providers.client(big_model="mine:claude-opus-4-8,other:claude-sonnet-4-5") as http:
        answer = http.post("/v1/messages", json=message("claude-opus-4-8"))
        assert answer.status_code == 200
        providers.other.credentials = ["no longer"]
        http.post("/v1/messages", json=message("claude-opus-4-8"))
    assert TOKEN not in providers.heard()["other"]


def test_planner_never_sees_it() -> None:
    providers = Providers()
    with providers.client(
        enable_boost_support="BIG_MODEL", boost_model="other:claude-sonnet-4-5,resp:gpt-5", big_model="gpt-4o"
    ) as http:
        tools = [{"name": "Read", "input_schema": {"type": "object"}}]
        http.post("/v1/messages", json=message("claude-opus-4-8", tools=tools))
    heard = providers.heard()
    assert providers.other.bodies
    assert not [name for name, text in heard.items() if TOKEN in text]


@pytest.mark.parametrize(
    "headers", [{"x-api-key": OURS}, {"authorization": f"Bearer {OURS}"}, {"x-cc-boost-key": OURS}]
)
def test_our_key_in_its_place_is_a_401_that_says_so(headers: dict[str, str]) -> None:
    providers = Providers()
    with providers.client(big_model="mine:claude-opus-4-8,gpt-4o") as http:
        http.headers = httpx.Headers({"anthropic-version": "2023-06-01"})
        answer = http.post("/v1/messages", json=message("claude-opus-4-8"), headers=headers)
        assert http.post("/v1/messages", json=message("claude-haiku-4-5"), headers=headers).status_code == 200
    assert answer.status_code == 401
    assert "this proxy's key as `x-cc-boost-key`" in answer.json()["error"]["message"]
    assert providers.mine.headers == []
    assert OURS not in str(providers.heard())
