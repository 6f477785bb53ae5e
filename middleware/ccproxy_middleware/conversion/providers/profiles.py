"""The switches by which providers differ, and the profiles that ``profile_rows`` makes of them.

A converter never checks which provider it is, only the value of a switch. Defaults are those of ``generic``, an
ordinary OpenAI-compatible server.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit

from .profile_rows import ROWS
from .switch_values import read_switch


@dataclass(frozen=True, slots=True)
class Profile:
    """One provider's switches. See docs of each; ``PROVIDER_OPTIONS`` may set any of them."""

    name: str = "generic"

    # The API
    api: Literal["auto", "chat", "responses"] = "auto"  # auto: Responses for the models that work better with it

    # Parameters
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_output: int | None = None  # lower a larger max_tokens to this
    min_output: int | None = None  # raise a smaller one to this
    sampling: Literal["pass", "drop"] = "pass"  # temperature and top_p
    top_k: Literal["pass", "drop"] = "drop"
    stop_limit: int | None = 4  # the proxy looks for more stop sequences than this; none: no limit
    stream_usage: bool = True  # request usage with stream_options
    obfuscation: Literal["default", "off"] = "default"  # Responses: off requests a stream without padding
    streaming: Literal["asked", "always", "never"] = "asked"  # the client gets what it requested in any case
    user_field: Literal["none", "user", "safety_identifier"] = "none"  # the field for metadata.user_id
    prompt_cache_key: bool = False  # send one, derived from the session
    service_tier: Literal["pass", "drop"] = "drop"
    structured_output: Literal["json_schema", "json_object", "prompt", "refuse"] = "json_schema"
    extra_body: Mapping[str, Any] = field(default_factory=dict)  # merged into the body last

    # Messages
    system_role: Literal["system", "developer", "user"] = "system"
    mid_system: Literal["inline", "user", "hoist"] = "inline"
    content_parts: bool = True  # off: content is always a string
    text_parts: Literal["string", "list"] = "string"  # a user message of several texts and nothing else
    assistant_null_content: Literal["null", "empty"] = "null"
    vision: bool = True
    images_max: int | None = None  # only the newest images are kept
    image_formats: tuple[str, ...] = ()  # others are left out; none: no limit
    image_urls: Literal["pass", "refuse", "drop"] = "pass"
    pdf: Literal["text", "file", "refuse"] = "text"
    tool_images: Literal["user_message", "tool_content", "drop"] = "user_message"
    tool_output_parts: bool = True  # Responses: images and files inside results
    bridge_after_tool: bool = False  # an assistant message between tool results and a user message
    tool_result_name: bool = False  # the tool's name on its result message
    prefill: Literal["refuse", "vllm", "prefix", "pass"] = "refuse"
    cache_control: Literal["drop", "pass", "breakpoints"] = "drop"
    history_repair: Literal["on", "refuse"] = "on"
    first_user: bool = False  # a user message precedes the first assistant message
    unoffered_calls: Literal["pass", "text"] = "pass"  # earlier calls of tools that are not offered

    # Tools
    strict_tools: bool = True
    schema_dialect: Literal["openai", "cerebras", "gemini", "moonshot", "llama.cpp", "xgrammar", "full"] = "openai"
    tool_description_max: int | None = None  # characters; the rest goes into the system prompt
    forced_tool_choice: bool = True
    tool_choice_object: bool = True  # off: a forced tool is offered alone, with the word ``required``
    parallel_flag: bool = True
    tool_id: Literal["openai40", "mistral9", "kimi", "any"] = "openai40"
    tool_name_max: int = 64
    server_tools: Literal["refuse", "drop"] = "refuse"
    web_search: Literal["off", "hosted"] = "off"  # hosted: by the provider, in place of Anthropic's servers
    chat_search: Literal["none", "openrouter", "options"] = "none"  # how to request it in chat completions
    repair_arguments: bool = True  # values written as strings although the tool's schema requires another type
    tools: Literal["native", "prompted"] = "native"  # prompted: described in the prompt, by PromptedToolsMiddleware
    text_tool_calls: Literal["off", "auto"] = "off"  # calls in the text, in any of the models' own formats
    text_calls: bool = True  # calls between tags, also without text_tool_calls, unless that is set to off
    unescape_arguments: bool = False  # HTML entities in the arguments of calls

    # Reasoning
    efforts: tuple[str, ...] = ()  # the reasoning_effort values the model accepts; none: send no effort
    effort_off: str = "none"  # what switches reasoning off; "omit" if nothing does
    adaptive_effort: str = "omit"  # for adaptive thinking that names no effort
    reasoning_style: Literal[
        "openai",
        "openrouter",
        "deepseek",
        "chat_template",
        "gemini",
        "thinking_object",
        "enable_thinking",
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
    ] = "drop"  # Responses: return encrypted reasoning with any value but off
    encrypted_reasoning: bool = True  # Responses: request it if the model reasons
    reasoning_summary: Literal["auto", "drop"] = "auto"  # Responses: request one if thinking is shown
    reasoning_turns: Literal["all", "loop"] = "all"  # loop: only while the tool calls of one user message go on
    think_tags: Literal["off", "on", "auto"] = "off"
    emit_thinking: Literal["auto", "on", "off"] = "auto"

    # Counting
    tokenizer: Literal["o200k", "estimate"] = "estimate"
    count_tokens: Literal["local", "vllm", "llama.cpp", "upstream"] = "local"  # by the provider, with this API

    # Models
    context: int | None = (
        None  # tokens that a model accepts, including the answer; none: as the provider or a table says
    )
    list_models: Literal["aliases", "upstream"] = "aliases"  # upstream: also the provider's own

    # Identification
    key_mode: Literal["server", "passthrough"] = "server"
    strict_version: bool = False

    # Matched in order against the upstream model's name; the first match's switches replace those above.
    models: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    responses_models: str = ""  # a pattern of the upstream models for which ``api: auto`` uses Responses; empty: none
    options: Mapping[str, Any] = field(default_factory=dict)  # set by the user: they override the models'
    # Hosts (a leading dot or dash matches all that end so) and ports that identify a provider by its base URL.
    hosts: tuple[str, ...] = ()
    port: int | None = None

    def for_model(self, model: str) -> "Profile":
        """The profile with the switches of one upstream model applied."""
        for pattern, switches in self.models:
            if re.match(pattern, model.rpartition("/")[2], re.IGNORECASE):
                return replace(self, **{**switches, **self.options})
        return self

    def api_for(self, model: str) -> Literal["chat", "responses"]:
        """The API to use for an upstream model."""
        if self.api != "auto":
            return self.api
        wanted = self.responses_models and re.match(self.responses_models, model.rpartition("/")[2], re.IGNORECASE)
        return "responses" if wanted else "chat"

    @property
    def text_forms(self) -> Literal["tags", "all"] | None:
        """The formats of calls in the text that are parsed; None: no format."""
        if self.text_tool_calls == "auto":
            return "all"
        return "tags" if self.text_calls and self.options.get("text_tool_calls") != "off" else None

    def __hash__(self) -> int:
        return id(self)


_TABLE = tuple(Profile(**row) for row in ROWS)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in _TABLE}
"""Every profile by its name."""

_HINTS = get_type_hints(Profile)
SWITCHES: tuple[str, ...] = tuple(
    f.name for f in fields(Profile) if f.name not in ("name", "models", "options", "hosts", "port", "responses_models")
)
"""The names of all switches."""


def resolve_profile(provider: str, options: Mapping[str, Any]) -> Profile:
    """The profile of a provider with switches set by the user.

    Raises ValueError for an unknown profile, switch or value, with a one-line message that lists the valid ones.
    """
    profile = PROFILES.get(provider.lower())
    if profile is None:
        raise ValueError(f"unknown provider {provider!r}; there are {', '.join(PROFILES)}")
    if not options:
        return profile
    checked = {}
    for name, value in options.items():
        if name not in SWITCHES:
            close = get_close_matches(str(name), SWITCHES, n=1, cutoff=0.6)
            meant = f"; do you mean {close[0]!r}?" if close else ""
            raise ValueError(f"unknown switch {name!r}{meant}; there are {', '.join(SWITCHES)}")
        checked[name] = read_switch(name, _HINTS[name], value)
    return replace(profile, **checked, options=checked)


def detect_provider(base_url: str) -> str:
    """The profile for a base URL's host or port, else ``generic``."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    for profile in PROFILES.values():
        for known in profile.hosts:
            if host == known or (known.startswith((".", "-")) and host.endswith(known)):
                return profile.name
    for profile in PROFILES.values():
        if profile.port is not None and profile.port == parts.port:
            return profile.name
    return "generic"


@lru_cache(maxsize=1024)
def profile_for_model(profile: Profile, model: str, api: Literal["chat", "responses"] | None = None) -> Profile:
    """``profile.for_model(model)``, cached, with the API to use: ``api``, or the one that the profile selects."""
    switches = profile.for_model(model)
    api = api or switches.api_for(model)
    return switches if switches.api == api else replace(switches, api=api)
