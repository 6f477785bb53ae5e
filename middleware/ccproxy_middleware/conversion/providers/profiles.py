"""What providers do differently, as data: the switches of a profile and the table of profiles.

A converter never asks who the provider is, only what a switch says. Defaults are those of ``generic``, a plain
OpenAI-compatible server. Sources of the table: the vendors' own pages and observed behaviour, as of November 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit

from .switches import EFFORTS, check_switch


@dataclass(frozen=True, slots=True)
class Profile:
    """One provider's switches. See docs of each; ``PROVIDER_OPTIONS`` may set any of them."""

    name: str = "generic"

    # The API
    api: Literal["auto", "chat", "responses"] = "auto"  # auto: by ``responses_models`` and the provider's refusals

    # Parameters
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_output: int | None = None  # lower a larger max_tokens to this
    min_output: int | None = None  # raise a smaller one to this
    sampling: Literal["pass", "drop"] = "pass"  # temperature and top_p
    top_k: Literal["pass", "drop"] = "drop"
    stop_limit: int | None = 4  # more stop sequences than this are found by the proxy; none: no limit
    stream_usage: bool = True  # ask for usage with stream_options
    obfuscation: Literal["default", "off"] = "default"  # Responses: off asks for streams without padding
    user_field: Literal["none", "user", "safety_identifier"] = "none"  # where metadata.user_id goes
    prompt_cache_key: bool = False  # send one, derived from the session
    service_tier: Literal["pass", "drop"] = "drop"
    structured_output: Literal["json_schema", "json_object", "prompt", "refuse"] = "json_schema"
    extra_body: Mapping[str, Any] = field(default_factory=dict)  # merged into the body last

    # Messages
    system_role: Literal["system", "developer", "user"] = "system"
    mid_system: Literal["inline", "user", "hoist"] = "inline"
    content_parts: bool = True  # off: content is always a string
    assistant_null_content: Literal["null", "empty"] = "null"
    vision: bool = True
    image_urls: Literal["pass", "refuse"] = "pass"
    pdf: Literal["text", "file", "refuse"] = "text"
    tool_images: Literal["user_message", "tool_content", "drop"] = "user_message"
    tool_output_parts: bool = True  # Responses: images and files inside a tool's result; off: in the message after it
    bridge_after_tool: bool = False  # an assistant message between tool results and a user message
    tool_result_name: bool = False  # the tool's name on its result message
    prefill: Literal["refuse", "vllm", "prefix", "pass"] = "refuse"
    cache_control: Literal["drop", "pass", "breakpoints"] = "drop"
    history_repair: Literal["on", "refuse"] = "on"

    # Tools
    strict_tools: bool = True
    schema_dialect: Literal["openai", "cerebras", "gemini", "moonshot", "llama.cpp", "xgrammar", "full"] = "openai"
    forced_tool_choice: bool = True
    parallel_flag: bool = True
    tool_id: Literal["openai40", "mistral9", "kimi", "any"] = "openai40"
    tool_name_max: int = 64
    server_tools: Literal["refuse", "drop"] = "refuse"
    repair_arguments: bool = True  # values written as strings where the tool's schema asks for something else
    unescape_arguments: bool = False  # HTML entities in the arguments of calls

    # Reasoning
    efforts: tuple[str, ...] = ()  # the reasoning_effort values the model takes; none: send no effort
    effort_off: str = "none"  # what switches reasoning off; "omit" where nothing does
    adaptive_effort: str = "omit"  # for adaptive thinking that names no effort
    reasoning_style: Literal[
        "openai",
        "openrouter",
        "deepseek",
        "chat_template",
        "gemini",
        "thinking_object",
        "together",
        "groq",
        "none",
    ] = "openai"
    tools_with_effort: Literal["ok", "none", "drop"] = "ok"
    reasoning_roundtrip: Literal[
        "drop",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "gemini",
        "reasoning_text",
        "off",
    ] = "drop"  # Responses returns encrypted reasoning by all of them but off
    encrypted_reasoning: bool = True  # Responses: ask for it where the model reasons
    reasoning_summary: Literal["auto", "drop"] = "auto"  # Responses: ask for one where thinking is shown
    reasoning_turns: Literal["all", "loop"] = "all"  # loop: only while the tool calls of one user message go on
    think_tags: Literal["off", "on", "auto"] = "off"
    emit_thinking: Literal["auto", "on", "off"] = "auto"

    # Counting
    tokenizer: Literal["o200k", "estimate"] = "estimate"
    count_tokens: Literal["local", "vllm", "llama.cpp", "upstream"] = "local"  # by the provider, in this form

    # Models
    list_models: Literal["aliases", "upstream"] = "aliases"  # upstream: the provider's own models behind the aliases

    # Who is who
    key_mode: Literal["server", "passthrough"] = "server"
    strict_version: bool = False

    # Matched in order against the upstream model's name; the first match's switches replace those above.
    models: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    responses_models: str = ""  # a pattern of the upstream models that ``api: auto`` asks by Responses; empty: none
    options: Mapping[str, Any] = field(default_factory=dict)  # set by the user: they beat the models' switches
    # Hosts (a leading dot: and all below) and ports by which a base URL shows its provider.
    hosts: tuple[str, ...] = ()
    port: int | None = None

    def for_model(self, model: str) -> "Profile":
        """The profile with the switches of one upstream model applied."""
        for pattern, switches in self.models:
            if re.match(pattern, model.rpartition("/")[2], re.IGNORECASE):
                return replace(self, **{**switches, **self.options})
        return self

    def api_for(self, model: str) -> Literal["chat", "responses"]:
        """The API by which to ask for an upstream model."""
        if self.api != "auto":
            return self.api
        wanted = self.responses_models and re.match(self.responses_models, model.rpartition("/")[2], re.IGNORECASE)
        return "responses" if wanted else "chat"

    def __hash__(self) -> int:
        return id(self)


_EFFORTS_LMH = ("low", "medium", "high")

# Kimi's own form of ids, ``functions.NAME:0``, which its template knows.
# Source: moonshotai/Kimi-K2-Instruct on Hugging Face, docs/tool_call_guidance.md
_KIMI_MODELS: tuple[tuple[str, Mapping[str, Any]], ...] = ((r"kimi", {"tool_id": "kimi"}),)

_OPENAI_MODELS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (r"(gpt-3|gpt-4|chatgpt-4)", {"efforts": ()}),
    (r"gpt-5.*-chat", {"efforts": ()}),
    (
        r"(o3|o4-mini)",
        {
            "efforts": _EFFORTS_LMH, "effort_off": "omit", "sampling": "drop",
            "system_role": "developer", "stop_limit": 0,
        },
    ),
    (
        r"o1",
        {"efforts": _EFFORTS_LMH, "effort_off": "omit", "sampling": "drop", "system_role": "developer"},
    ),
    (
        r"gpt-5\.[4-9]",
        {"sampling": "drop", "system_role": "developer", "tools_with_effort": "none"},
    ),
    (r"gpt-5\.[1-3]", {"efforts": ("none", *_EFFORTS_LMH), "sampling": "drop", "system_role": "developer"}),
    (
        r"gpt-5(-|$)",
        {
            "efforts": ("minimal", *_EFFORTS_LMH), "effort_off": "minimal",
            "sampling": "drop", "system_role": "developer",
        },
    ),
)  # fmt: skip

# gpt-5.4 and later refuse tools with an effort on chat completions; codex and pro models are on Responses alone.
_RESPONSES_MODELS = (
    r"(?!.*(?:search-preview|audio|realtime|transcribe|o1-mini))(?:gpt-(?:[5-9]|[12]\d)|o\d|codex|computer-use)"
)

_OPENAI = Profile(
    name="openai",
    obfuscation="off",
    responses_models=_RESPONSES_MODELS,
    hosts=("api.openai.com",),
    max_tokens_field="max_completion_tokens",
    efforts=EFFORTS,
    pdf="file",
    user_field="safety_identifier",
    service_tier="pass",
    tokenizer="o200k",
    models=_OPENAI_MODELS,
)

_TABLE = (
    Profile(models=_KIMI_MODELS),
    _OPENAI,
    replace(
        _OPENAI,
        name="azure",
        hosts=(".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
        user_field="user",
        service_tier="drop",
    ),
    Profile(  # github.com/ollama/ollama, openai/openai.go: reasoning_effort is its "think", and reasoning comes back
        name="ollama",
        port=11434,
        stop_limit=None,
        efforts=("none", *_EFFORTS_LMH),
        reasoning_roundtrip="reasoning",
        reasoning_turns="loop",
        models=_KIMI_MODELS,
    ),
    Profile(
        name="vllm",
        top_k="pass",
        schema_dialect="xgrammar",
        prefill="vllm",
        stop_limit=None,
        reasoning_roundtrip="reasoning",
        reasoning_turns="loop",
        models=_KIMI_MODELS,
    ),
    Profile(
        name="llama.cpp",
        top_k="pass",
        schema_dialect="llama.cpp",
        stop_limit=None,
        reasoning_roundtrip="reasoning_content",
        reasoning_turns="loop",
        models=_KIMI_MODELS,
    ),
    Profile(
        name="deepseek",
        hosts=("api.deepseek.com",),
        reasoning_style="deepseek",
        efforts=("high", "max"),
        reasoning_roundtrip="reasoning_content",
        structured_output="json_object",
        stop_limit=16,
        vision=False,
        strict_tools=False,
    ),
    Profile(
        name="openrouter",
        hosts=("openrouter.ai",),
        reasoning_style="openrouter",
        reasoning_roundtrip="reasoning_details",
        efforts=EFFORTS,
        top_k="pass",
        pdf="file",
        models=_KIMI_MODELS,
    ),
    Profile(
        name="groq",
        hosts=("api.groq.com",),
        max_tokens_field="max_completion_tokens",
        reasoning_style="groq",
        models=(
            (r"gpt-oss", {"efforts": _EFFORTS_LMH, "effort_off": "low"}),
            (r"qwen", {"efforts": ("none",), "effort_off": "none"}),
            *_KIMI_MODELS,
        ),
    ),
    Profile(
        name="gemini",
        hosts=("generativelanguage.googleapis.com", ".aiplatform.googleapis.com"),
        reasoning_roundtrip="gemini",
        schema_dialect="gemini",
        strict_tools=False,
        parallel_flag=False,
        stop_limit=5,
        efforts=_EFFORTS_LMH,
        models=(
            (r"gemini-(1|2\.0)", {"efforts": ()}),
            (r"gemini-2\.5-pro", {"effort_off": "low"}),
            (r"gemini-3", {"effort_off": "low"}),
        ),
    ),
    Profile(
        name="mistral",
        hosts=("api.mistral.ai", "codestral.mistral.ai"),
        tool_id="mistral9",
        bridge_after_tool=True,
        assistant_null_content="empty",
        mid_system="user",
        stream_usage=False,
        stop_limit=None,
        prefill="prefix",
    ),
    Profile(
        name="xai",
        responses_models=r"grok-(?:[4-9]|[1-9]\d)",  # docs.x.ai calls chat completions deprecated
        unescape_arguments=True,  # github.com/anomalyco/opencode, issues on grok-4.1 and "&amp;&amp;"
        hosts=("api.x.ai",),
        max_tokens_field="max_completion_tokens",
        models=(
            (r"grok-(4\.[3-9]|[5-9])", {"efforts": ("none", *_EFFORTS_LMH), "stop_limit": 0}),
            (r"grok-4", {"stop_limit": 0}),
            (r"grok-3-mini", {"efforts": ("low", "high"), "effort_off": "omit", "stop_limit": 0}),
        ),
    ),
    Profile(
        name="together",
        models=_KIMI_MODELS,
        hosts=("api.together.xyz", "api.together.ai"),
        reasoning_style="together",
        strict_tools=False,
        top_k="pass",
        stop_limit=None,
    ),
    Profile(
        name="fireworks",
        models=_KIMI_MODELS,
        hosts=("api.fireworks.ai",),
        efforts=("none", *_EFFORTS_LMH),
        top_k="pass",
    ),
    Profile(
        name="cerebras",
        hosts=("api.cerebras.ai",),
        schema_dialect="cerebras",
        max_tokens_field="max_completion_tokens",
        models=((r"gpt-oss", {"efforts": _EFFORTS_LMH, "effort_off": "low"}),),
    ),
    Profile(name="nvidia", hosts=("integrate.api.nvidia.com",), strict_tools=False, models=_KIMI_MODELS),
    Profile(name="cloudflare", hosts=("api.cloudflare.com", "gateway.ai.cloudflare.com"), strict_tools=False),
    Profile(
        name="moonshot",
        tool_id="kimi",
        hosts=("api.moonshot.ai", "api.moonshot.cn"),
        schema_dialect="moonshot",
        reasoning_style="thinking_object",
        reasoning_roundtrip="reasoning_content",
        strict_tools=False,
        structured_output="json_object",
        stop_limit=5,
    ),
    Profile(
        name="z.ai",
        hosts=("api.z.ai", "open.bigmodel.cn"),
        reasoning_style="thinking_object",
        structured_output="json_object",
        stop_limit=5,
    ),
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in _TABLE}
"""Every profile by its name."""

_HINTS = get_type_hints(Profile)
SWITCHES: tuple[str, ...] = tuple(
    f.name for f in fields(Profile) if f.name not in ("name", "models", "options", "hosts", "port", "responses_models")
)
"""The names of all switches."""


def resolve_profile(provider: str, options: Mapping[str, Any]) -> Profile:
    """The profile of a provider with switches set by the user.

    Raises ValueError, in one line that lists what exists, for a profile, a switch or a value that doesn't.
    """
    profile = PROFILES.get(provider.lower())
    if profile is None:
        raise ValueError(f"unknown provider {provider!r}; there are {', '.join(PROFILES)}")
    if not options:
        return profile
    for name in options:
        if name not in SWITCHES:
            raise ValueError(f"unknown switch {name!r}; there are {', '.join(SWITCHES)}")
    checked = {name: check_switch(name, value, _HINTS[name]) for name, value in options.items()}
    return replace(profile, **checked, options=checked)


def detect_provider(base_url: str) -> str:
    """The profile that a base URL's host or port gives away, else ``generic``."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    for profile in PROFILES.values():
        for known in profile.hosts:
            if host == known or (known.startswith(".") and host.endswith(known)):
                return profile.name
    for profile in PROFILES.values():
        if profile.port is not None and profile.port == parts.port:
            return profile.name
    return "generic"


@lru_cache(maxsize=1024)
def profile_for_model(profile: Profile, model: str, api: Literal["chat", "responses"] | None = None) -> Profile:
    """``profile.for_model(model)``, remembered, with the API to ask by: ``api``, or the one that the profile takes."""
    switches = profile.for_model(model)
    api = api or switches.api_for(model)
    return switches if switches.api == api else replace(switches, api=api)
