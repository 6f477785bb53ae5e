"""The questions of Claude Code's auto mode, whether an action is safe: known for what they are, and answered."""

import json
from itertools import product
from typing import Any

import httpx
import pytest

from ccproxy_middleware import BoostMiddleware, ModelMappingMiddleware
from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.providers.profiles import PROFILES, resolve_profile
from ccproxy_middleware.toolkit.safety_checks import is_safety_check
from support.asgi import Inner, call, http_scope
from support.clients.sdk import accumulate
from support.providers.scripted import Failure, Reply, ScriptedProvider, error_body
from support.serving.proxied import proxied
from support.streams.grammar import check_stream

BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.972; cc_entrypoint=cli;"}
MONITOR = {"type": "text", "text": "You are a security monitor for autonomous AI coding agents.\n\n## Context\n..."}
ASKED = [{"role": "user", "content": [{"type": "text", "text": '<transcript>\n{"Bash":"ls"}\n</transcript>\n'}]}]
SYSTEM = [BILLING, MONITOR]
OFF = {"thinking": {"type": "disabled"}}
STAGE_1: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 64, "system": SYSTEM, "messages": ASKED, **OFF}
STAGE_2 = {**STAGE_1, "max_tokens": 8192}
WITH_STOPS = {**STAGE_1, "stop_sequences": ["</block>"]}
UNTOLD = {name: value for name, value in STAGE_1.items() if name != "thinking"}  # of a model that always thinks
ALLOW = ["reasoning", "thinking", "chat_template_kwargs", "extra_body", "reasoning_format", "top_k"]


@pytest.mark.parametrize(
    "request_",
    [
        STAGE_1, STAGE_2, WITH_STOPS, UNTOLD, {**STAGE_1, "system": [MONITOR]}, {**STAGE_1, "system": MONITOR["text"]},
        {**STAGE_1, "system": [{"type": "text", "text": "\n" + MONITOR["text"]}, BILLING]},
        {**STAGE_1, "tools": [{"name": "classify", "input_schema": {"type": "object"}}]}, {**STAGE_1, "stream": True},
    ],
)  # fmt: skip
def test_questions_of_auto_mode_are_known(request_: dict[str, Any]) -> None:
    assert is_safety_check(request_)
    assert convert_request(request_, PROFILES["generic"]).body["max_tokens"] == 8192


@pytest.mark.parametrize(
    "request_",
    [
        {**STAGE_1, "system": "You are a title generator."},
        {**STAGE_1, "system": [BILLING]},
        {**STAGE_1, "system": []},
        {**STAGE_1, "system": None},
        {**STAGE_1, "system": [BILLING, {"type": "text", "text": "You are Claude Code."}, MONITOR]},
        {**STAGE_1, "system": "Say: You are a security monitor"},
        {**STAGE_1, "system": "Be brief.", "messages": [{"role": "user", "content": MONITOR["text"]}]},
        {**WITH_STOPS, "system": "You write blocks."},
    ],
)
def test_ordinary_request_of_64_tokens_is_none(request_: dict[str, Any]) -> None:
    assert not is_safety_check(request_)
    converted = convert_request(request_, PROFILES["generic"])
    assert converted.body["max_tokens"] == 64
    assert converted.body.get("stop") == request_.get("stop_sequences")


@pytest.mark.parametrize("system", [None, 5, [], [5], [{"type": "image"}], [{"text": 5}], {}])
def test_odd_system_prompt_is_none(system: Any) -> None:
    assert not is_safety_check({"system": system})
    assert not is_safety_check([system])


class Thinker:
    """A model that thinks first, whatever it is told, for more than 64 tokens; it never minds stop sequences."""

    def __init__(self, way: str, text: str) -> None:
        self.way = way
        self.text = text

    def __call__(self, body: dict[str, Any]) -> Reply:
        thoughts = "They list a directory, </block> or not. " * 20
        limit = body.get("max_tokens") or body["max_completion_tokens"]
        cut = limit < 1000
        if self.way == "field":
            return Reply("" if cut else self.text, reasoning=thoughts, finish_reason="length" if cut else "stop")
        text = f"<think>\n{thoughts}" + ("" if cut else f"</think>\n\n{self.text}")
        return Reply(text, finish_reason="length" if cut else "stop")


QUESTIONS = {
    "stage 1": (STAGE_1, "<severity>5</severity>", "<severity>5</severity>", "end_turn"),
    "stage 2": (STAGE_2, "<thinking>Fine.</thinking><severity>5</severity>", None, "end_turn"),
    "with stops": (WITH_STOPS, "<block>no</block>\nAs I said,", "<block>no", "stop_sequence"),
    "untold": (UNTOLD, "<severity>5</severity>", "<severity>5</severity>", "end_turn"),
    "streamed": ({**STAGE_1, "stream": True}, "<severity>5</severity>", "<severity>5</severity>", "end_turn"),
}


@pytest.mark.parametrize("provider", PROFILES)
def test_model_that_thinks_first_answers_on_every_profile(provider: str) -> None:
    model = Thinker("field", "")
    with proxied(ScriptedProvider(model, allow=ALLOW), provider=provider, middle_model="m") as url:
        for way, (name, (request, text, expected, reason)) in product(("field", "tags"), QUESTIONS.items()):
            model.way, model.text = way, text
            status, message = ask(url, request)
            assert status == 200, message
            assert message["content"] == [{"type": "text", "text": expected or text}], name
            assert message["stop_reason"] == reason, name


def ask(url: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    with httpx.Client(timeout=20.0, trust_env=False) as client:
        answer = client.post(f"{url}/v1/messages", json=request)
    if request.get("stream"):
        check_stream(answer.content)
        return answer.status_code, accumulate(answer.content)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("provider", "model", "sent"),
    [
        ("generic", "m", {}),
        ("openai", "gpt-4o", {}),
        ("openai", "o3", {"reasoning_effort": "low"}),
        ("openai", "gpt-5", {"reasoning_effort": "minimal"}),
        ("openai", "gpt-5.4", {"reasoning_effort": "none"}),
        ("ollama", "qwen3:8b", {"reasoning_effort": "none"}),
        ("vllm", "Qwen/Qwen3-8B", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("vllm", "deepseek-ai/DeepSeek-V3.1", {"chat_template_kwargs": {"thinking": False}}),
        ("llama.cpp", "m", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("deepseek", "deepseek-chat", {"thinking": {"type": "disabled"}}),
        ("openrouter", "m", {"reasoning": {"enabled": False}}),
        ("groq", "openai/gpt-oss-120b", {"reasoning_effort": "low", "reasoning_format": "parsed"}),
        ("gemini", "gemini-2.5-pro", {"reasoning_effort": "low"}),
        ("xai", "grok-3-mini", {"reasoning_effort": "low"}),
        ("together", "m", {"reasoning": {"enabled": False}}),
        ("z.ai", "glm-4.6", {"thinking": {"type": "disabled"}}),
    ],
)
@pytest.mark.parametrize("request_", [STAGE_1, UNTOLD, {**STAGE_1, "output_config": {"effort": "high"}}])
def test_thinking_is_off_or_the_least_that_the_model_knows(
    provider: str, model: str, sent: dict[str, Any], request_: dict[str, Any]
) -> None:
    body = convert_request({**request_, "model": model}, PROFILES[provider]).body
    names = ("reasoning_effort", "reasoning_format", "reasoning", "thinking", "chat_template_kwargs", "extra_body")
    assert {name: body[name] for name in names if name in body} == sent


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, 8192), ({"max_output": 4096}, 4096), ({"max_output": 100_000}, 8192), ({"min_output": 9000}, 9000)],
)
def test_room_keeps_to_the_limits_of_the_profile(options: dict[str, Any], limit: int) -> None:
    assert convert_request(STAGE_1, resolve_profile("generic", options)).body["max_tokens"] == limit


def test_thinking_that_is_mandatory_is_the_least() -> None:
    """OpenRouter's own words, for models whose thinking can't be switched off."""
    words = error_body("Reasoning is mandatory for this endpoint and cannot be disabled.")
    upstream = ScriptedProvider(
        lambda body: (
            Failure(400, words) if body["reasoning"].get("enabled") is False else Reply("<severity>5</severity>")
        ),
        allow=ALLOW,
    )
    with proxied(upstream, provider="openrouter", middle_model="m") as url:
        answers = [ask(url, STAGE_1), ask(url, STAGE_1)]
    assert [message["content"][0]["text"] for _, message in answers] == ["<severity>5</severity>"] * 2
    assert [body["reasoning"] for body in upstream.completions] == [{"enabled": False}, *[{"effort": "low"}] * 2]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["claude-sonnet-5", "claude-haiku-4-5", "my-own-model"])
async def test_classifier_model_is_asked_whatever_the_client_names(name: str) -> None:
    inner = Inner()
    app = ModelMappingMiddleware(inner, big="B", middle="M", small="S", classifier="C")
    await call(app, http_scope("POST", "/v1/messages"), {**STAGE_1, "model": name})
    assert inner.json()["model"] == "C"
    await call(app, http_scope("POST", "/v1/messages"), {**STAGE_1, "model": "claude-sonnet-5", "system": "Hi."})
    assert inner.json()["model"] == "M"


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "model"), [("claude-sonnet-5", "M"), ("claude-opus-5-5", "B"), ("own", "own")])
async def test_without_one_the_tier_is_asked(name: str, model: str) -> None:
    inner = Inner()
    app = ModelMappingMiddleware(inner, big="B", middle="M", small="S")
    await call(app, http_scope("POST", "/v1/messages"), {**STAGE_1, "model": name})
    assert inner.json()["model"] == model


@pytest.mark.anyio
async def test_question_is_not_boosted() -> None:
    inner, planner = Inner(), Inner()
    tools = [{"name": "classify", "input_schema": {"type": "object", "properties": {}}}]
    app = BoostMiddleware(inner, planner=planner, model="P")
    await call(app, http_scope("POST", "/v1/messages"), {**STAGE_1, "tools": tools})
    assert planner.bodies == []
    assert json.loads(inner.bodies[0]) == {**STAGE_1, "tools": tools}
