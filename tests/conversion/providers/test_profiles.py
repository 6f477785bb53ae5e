"""Profiles: found by the base URL, and what they make of a request for each family of models."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.providers.effort import Reasoning, reasoning_params
from ccproxy_middleware.conversion.providers.profiles import (
    PROFILES,
    SWITCHES,
    detect_provider,
    profile_for_model,
    resolve_profile,
)


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.minimax.io/v1", "minimax"),
        ("https://api.minimaxi.com/v1", "minimax"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://coding-intl.dashscope.aliyuncs.com/v1", "dashscope"),
        ("https://api.siliconflow.cn/v1", "siliconflow"),
        ("http://localhost:1234/v1", "lmstudio"),
        ("http://192.168.1.9:1234", "lmstudio"),
        ("https://models.github.ai/inference", "github"),
        ("https://adb-1.2.azuredatabricks.net/serving-endpoints", "databricks"),
        ("https://dbc-1.cloud.databricks.com/serving-endpoints", "databricks"),
        ("https://router.huggingface.co/v1", "huggingface"),
        ("https://ark.cn-beijing.volces.com/api/v3", "volcengine"),
        ("https://ark.ap-southeast.bytepluses.com/api/v3/", "volcengine"),
        ("https://inference.baseten.co/v1", "baseten"),
        ("https://model-abc.api.baseten.co/environments/production/sync/v1", "baseten"),
        ("https://api.sambanova.ai/v1", "sambanova"),
        ("https://api.perplexity.ai", "perplexity"),
        ("https://n.services.ai.azure.com/models", "azure"),
        ("https://w.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://aiplatform.googleapis.com/v1/projects/p/locations/global/endpoints/openapi", "gemini"),
        ("https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", "gemini"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://us-east-1.api.x.ai/v1", "xai"),
        ("https://api.kimi.com/coding/v1", "moonshot"),
        # nobody's
        ("https://notaiplatform.googleapis.com/v1", "generic"),
        ("https://aliyuncs.com/v1", "generic"),
        ("https://api.minimax.io.example.com/v1", "generic"),
        ("https://notvolces.com/v1", "generic"),
        ("https://huggingface.co/v1", "generic"),
        ("http://localhost:12345/v1", "generic"),
    ],
)
def test_provider_is_found_by_its_base_url(base_url: str, name: str) -> None:
    assert detect_provider(base_url) == name


THINKS = Reasoning(True, "high")
THINKS_NOT = Reasoning(False)


@pytest.mark.parametrize(
    ("provider", "model", "asked", "sent"),
    [
        ("nvidia", "openai/gpt-oss-120b", THINKS, {"reasoning_effort": "high"}),
        ("nvidia", "openai/gpt-oss-120b", THINKS_NOT, {"reasoning_effort": "low"}),
        ("nvidia", "deepseek-ai/deepseek-v4-pro", THINKS, {"reasoning_effort": "high"}),
        ("nvidia", "deepseek-ai/deepseek-v4-pro", THINKS_NOT, {}),
        ("nvidia", "deepseek-ai/deepseek-v3.1", THINKS, {"chat_template_kwargs": {"thinking": True}}),
        ("nvidia", "z-ai/glm5", THINKS_NOT, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("nvidia", "nvidia/nemotron-3-nano-30b-a3b", THINKS, {"chat_template_kwargs": {"enable_thinking": True}}),
        ("nvidia", "meta/llama-3.3-70b-instruct", THINKS, {}),
        ("dashscope", "qwen-plus", THINKS, {"enable_thinking": True}),
        ("dashscope", "qwen3.5-plus", THINKS_NOT, {"enable_thinking": False}),
        ("dashscope", "qwen3-coder-plus", THINKS, {}),
        ("dashscope", "qwen3-235b-a22b-instruct-2507", THINKS, {}),
        ("siliconflow", "Qwen/Qwen3-32B", THINKS, {"enable_thinking": True}),
        ("siliconflow", "Qwen/Qwen3-Coder-480B-A35B-Instruct", THINKS, {}),
        (
            "siliconflow",
            "deepseek-ai/DeepSeek-V4-Flash",
            Reasoning(True, "max"),
            {"enable_thinking": True, "reasoning_effort": "max"},
        ),
        ("siliconflow", "deepseek-ai/DeepSeek-V4-Flash", THINKS_NOT, {"enable_thinking": False}),
        ("volcengine", "doubao-seed-1-6-251015", THINKS_NOT, {"thinking": {"type": "disabled"}}),
        ("volcengine", "ep-20260101-abc", THINKS, {"thinking": {"type": "enabled"}}),
        ("github", "openai/gpt-5-mini", THINKS, {"reasoning_effort": "high"}),
        ("github", "openai/gpt-4.1", THINKS, {}),
        ("databricks", "databricks-gpt-oss-120b", THINKS, {"reasoning_effort": "high"}),
        ("databricks", "databricks-claude-sonnet-4", THINKS, {}),
        ("huggingface", "openai/gpt-oss-120b:cerebras", THINKS, {"reasoning_effort": "high"}),
        ("sambanova", "DeepSeek-V3.1", THINKS, {}),
        ("minimax", "MiniMax-M3", THINKS, {}),
    ],
)
def test_thinking_is_asked_for_as_the_family_of_models_takes_it(
    provider: str, model: str, asked: Reasoning, sent: dict[str, Any]
) -> None:
    profile = profile_for_model(PROFILES[provider], model)
    assert reasoning_params(asked, True, {"model": model}, profile) == sent


def test_thinking_is_off_when_dashscope_would_refuse_a_forced_choice() -> None:
    body = {"model": "qwen-plus", "tools": [{}], "tool_choice": "required"}
    profile = profile_for_model(PROFILES["dashscope"], "qwen-plus")
    assert reasoning_params(THINKS, True, body, profile) == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("provider", "model", "switches"),
    [
        ("minimax", "MiniMax-M2.7", {"vision": False, "forced_tool_choice": False, "mid_system": "user"}),
        (
            "minimax",
            "MiniMax-M3",
            {"vision": True, "forced_tool_choice": True, "extra_body": {"reasoning_split": True}},
        ),
        ("github", "openai/o4-mini", {"max_tokens_field": "max_completion_tokens", "sampling": "drop"}),
        ("github", "meta/Llama-4", {"max_tokens_field": "max_tokens", "parallel_flag": False}),
        ("huggingface", "moonshotai/Kimi-K2-Instruct:novita", {"tool_id": "kimi"}),
        ("gemini", "gemini-2.5-flash", {"tool_result_name": True, "effort_off": "none"}),
        ("gemini", "google/gemini-3-pro", {"tool_result_name": True, "effort_off": "low"}),
        ("perplexity", "sonar", {"mid_system": "user", "efforts": ()}),
    ],
)
def test_switches_of_a_family_of_models(provider: str, model: str, switches: dict[str, Any]) -> None:
    profile = profile_for_model(PROFILES[provider], model)
    assert {name: getattr(profile, name) for name in switches} == switches


def test_no_host_or_port_shows_two_profiles() -> None:
    hosts = [host for profile in PROFILES.values() for host in profile.hosts]
    assert len(hosts) == len(set(hosts))
    ports = [profile.port for profile in PROFILES.values() if profile.port]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("name", PROFILES)
def test_values_of_a_row_are_values_of_the_switches(name: str) -> None:
    profile = PROFILES[name]
    for switches in ({name: getattr(profile, name) for name in SWITCHES}, *(own for _, own in profile.models)):
        options = resolve_profile("generic", switches).options
        assert options == dict(switches)
