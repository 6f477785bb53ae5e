"""What a provider's refusal teaches: a 400 that names a parameter, as the profile switches that avoid it.

Providers differ from their profile: a new model drops ``max_tokens``, a gateway knows no ``stream_options``. The
wordings are the providers' own, collected from their answers. A wording that isn't known teaches nothing.
"""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from .profiles import Profile
from .rules import Correction, Patch, Rule, Sent, Words, first_correction, forced_choice, top, unsupported
from .switches import EFFORTS


def find_correction(status: int, body: bytes, sent: Mapping[str, Any], profile: Profile) -> Correction | None:
    """The switches to change so that the provider takes what it has refused, or None if that can't be known.

    ``status`` and ``body`` are its answer, ``sent`` the chat body that it got, ``profile`` the profile that made it.
    """
    return first_correction(_RULES, status, body, sent, profile)


# What a refusal must concern


def _in_tools(key: str) -> Callable[[Sent], bool]:
    return lambda sent: any(key in tool.get("function", ()) for tool in sent.get("tools") or ())


def _in_messages(key: str) -> Callable[[Sent], bool]:
    return lambda sent: any(key in message for message in sent["messages"])


def _has_role(role: str) -> Callable[[Sent], bool]:
    return lambda sent: any(message["role"] == role for message in sent["messages"])


def _late_system(sent: Sent) -> bool:
    return any(message["role"] in ("system", "developer") for message in sent["messages"][1:])


def _user_after_tool(sent: Sent) -> bool:
    roles = [message["role"] for message in sent["messages"]]
    return ("tool", "user") in pairwise(roles)


def _format(kind: str) -> Callable[[Sent], bool]:
    return lambda sent: (sent.get("response_format") or {}).get("type") == kind


def _tools_with_effort(effort_is_none: bool) -> Callable[[Sent], bool]:
    return lambda sent: "tools" in sent and (sent.get("reasoning_effort") == "none") is effort_is_none


_EFFORT = unsupported("reasoning_effort")
_EFFORT_WORD = re.compile(rf"\b(?:{'|'.join(EFFORTS)})\b", re.IGNORECASE)


def _listed_efforts(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    """The efforts that the refusal lists."""
    listed = {word.lower() for word in _EFFORT_WORD.findall(match["list"])} - {sent["reasoning_effort"]}
    efforts = tuple(word for word in EFFORTS if word in listed)
    patch: dict[str, Any] = {"efforts": efforts}
    if efforts and profile.effort_off not in (*efforts, "omit"):
        patch["effort_off"] = efforts[0]
    if sent["reasoning_effort"] == "none" and profile.tools_with_effort == "none":
        patch["tools_with_effort"] = "drop"
    return patch


def _listed_limit(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    limit = int(next(filter(None, match.groups())))
    asked = sent.get(profile.max_tokens_field)
    return {"max_output": limit} if isinstance(asked, int) and 0 < limit < asked else {}


# In the order of trying: a wording that says more goes before a plain one, a gentle correction before a hard one.
_RULES = (
    # Tokens
    Rule(unsupported("max_tokens"), top("max_tokens"), {"max_tokens_field": "max_completion_tokens"}),
    Rule(unsupported("max_completion_tokens"), top("max_completion_tokens"), {"max_tokens_field": "max_tokens"}),
    Rule(
        Words(
            r"max_(?:completion_)?tokens is too large: \d+\. This model supports at most (\d{1,9})",  # OpenAI
            r"valid range of max_tokens is \[1, ?(\d{1,9})\]",  # DeepSeek
            r"range of max_tokens should be \[1, ?(\d{1,9})\]",  # Alibaba
            r"max_(?:completion_)?tokens: \d+ > (\d{1,9}), which is the maximum allowed number of output",  # Claude
            r"max_(?:completion_)?tokens@ [^\n]{0,60}above maximum value, expected a value <= (\d{1,9})",  # Volcengine
        ),
        top("max_tokens", "max_completion_tokens"),
        _listed_limit,
    ),
    # Reasoning
    Rule(
        Words(r"function tools with reasoning_effort are not supported"),
        _tools_with_effort(effort_is_none=False),
        {"tools_with_effort": "none"},
    ),
    Rule(
        Words(r"function tools with reasoning_effort are not supported"),
        _tools_with_effort(effort_is_none=True),
        {"tools_with_effort": "drop"},
    ),
    Rule(
        Words(
            r"(?:reasoning_?effort|invalid reasoning value|unsupported value: @"
            rf"(?:{'|'.join(EFFORTS)})@ is not supported).{{0,120}}?"
            r"(?:supported values are|must be|should be|expected)(?: one of)?:? "
            r"(?P<list>[^\[.\n]{1,120})"
        ),
        top("reasoning_effort"),
        _listed_efforts,
    ),
    Rule(_EFFORT, _tools_with_effort(effort_is_none=True), {"efforts": (), "tools_with_effort": "drop"}),
    Rule(_EFFORT, top("reasoning_effort"), {"efforts": ()}),
    Rule(  # Ollama
        Words(r"does not support thinking", r"think value @\w+@ is not supported for this model"),
        top("reasoning_effort"),
        {"efforts": ()},
    ),
    Rule(unsupported("reasoning_format"), top("reasoning_format"), {"reasoning_style": "openai"}),
    Rule(
        unsupported("reasoning", "reasoning.effort", "thinking", "chat_template_kwargs", "extra_body"),
        top("reasoning", "thinking", "chat_template_kwargs", "extra_body"),
        {"reasoning_style": "none"},
    ),
    Rule(  # Cerebras, Groq, Mistral
        Words(r"messages\S{1,40}\breasoning\w*@?: (?:property|extra inputs)", r"reasoning_content@ is unsupported"),
        lambda sent: _in_messages("reasoning_content")(sent) or _in_messages("reasoning")(sent),
        {"reasoning_roundtrip": "drop"},
    ),
    Rule(  # DeepSeek, Moonshot
        Words(
            r"reasoning_content@ in the thinking mode must be passed back",
            r"thinking is enabled but reasoning_content is missing",
        ),
        _has_role("assistant"),
        {"reasoning_roundtrip": "reasoning_content"},
    ),
    # Sampling and stopping
    Rule(
        Words(
            unsupported("temperature", "top_p").pattern,
            r"invalid (?:temperature|top_p): only [\d.]+ is allowed for this model",  # Moonshot
        ),
        top("temperature", "top_p"),
        {"sampling": "drop"},
    ),
    Rule(  # Claude
        Words(r"@temperature@ and @top_p@ cannot both be specified"),
        top("temperature"),
        {"sampling": "drop"},
        lasting=False,
    ),
    Rule(unsupported("top_k"), top("top_k"), {"top_k": "drop"}),
    Rule(unsupported("stop"), top("stop"), {"stop_limit": 0}),
    # The stream, the caller
    Rule(unsupported("stream_options", "stream_options.include_usage"), top("stream_options"), {"stream_usage": False}),
    Rule(unsupported("user"), top("user"), {"user_field": "none"}),
    Rule(unsupported("safety_identifier"), top("safety_identifier"), {"user_field": "none"}),
    Rule(unsupported("prompt_cache_key"), top("prompt_cache_key"), {"prompt_cache_key": False}),
    Rule(unsupported("service_tier"), top("service_tier"), {"service_tier": "drop"}),
    # Tools
    Rule(unsupported("parallel_tool_calls"), top("parallel_tool_calls"), {"parallel_flag": False}),
    Rule(
        Words(
            r"tool_choice parameter does not support being set to required or object in thinking",  # Alibaba
            r"tool_choice @\w+@ is incompatible with thinking enabled",  # Moonshot
        ),
        forced_choice,
        {"forced_tool_choice": False},
        lasting=False,
    ),
    Rule(
        Words(
            unsupported("tool_choice").pattern,
            r"does not support this tool_choice",  # DeepSeek
            r"tool_choice parameter does not support being set to required or object",  # Alibaba
        ),
        forced_choice,
        {"forced_tool_choice": False},
    ),
    Rule(
        Words(
            r"@strict@ mode on function call is currently not supported",  # xAI
            r"unknown name @strict@ at @[\w.]{0,20}tools",  # Gemini
            r"tools\S{1,40}\bstrict@?: (?:property|extra inputs)",  # Cerebras, Mistral
        ),
        _in_tools("strict"),
        {"strict_tools": False},
    ),
    Rule(
        Words(r"unknown name @[$\w]+@ at @[\w.\[\]]{0,80}\bparameters\b"),  # Gemini
        _in_tools("parameters"),
        {"schema_dialect": "gemini"},
    ),
    *(
        Rule(words, _in_tools("parameters"), {"schema_dialect": dialect})
        for words, dialect in (
            (Words(r"not a valid moonshot flavored json schema"), "moonshot"),
            (Words(r"JSON schema conversion failed", r"failed to parse grammar"), "llama.cpp"),
            (Words(r"tools with mixed values for @strict"), "cerebras"),
        )
    ),
    # One tool's schema is odd, which says nothing of those of other requests.
    Rule(Words(r"invalid schema for function"), _in_tools("strict"), {"strict_tools": False}, lasting=False),
    Rule(Words(r"invalid schema for function"), _in_tools("parameters"), {"schema_dialect": "gemini"}, lasting=False),
    Rule(  # vLLM, which compiles the schemas only of a forced choice
        Words(r"JSON schema contains features not supported by xgrammar"),
        forced_choice,
        {"forced_tool_choice": False},
        lasting=False,
    ),
    # Structured output
    *(
        Rule(
            Words(
                unsupported("response_format", "response_format.type", "response_format.json_schema").pattern,
                r"response_format@ of type @json_\w+@ is not supported",  # OpenAI
                r"response_format(?:\.type @json_\w+@| type) is unavailable",  # DeepSeek
                r"does not support response format @json_\w+",  # Groq
            ),
            _format(sent),
            {"structured_output": instead},
        )
        for sent, instead in (("json_schema", "json_object"), ("json_object", "prompt"))
    ),
    *(
        Rule(
            Words(
                r"invalid schema for response[_ ]format",  # OpenAI, Groq
                r"JSON schema contains features not supported by xgrammar",  # vLLM
            ),
            _format(sent),
            {"structured_output": instead},
            lasting=False,
        )
        for sent, instead in (("json_schema", "json_object"), ("json_object", "prompt"))
    ),
    # Roles
    Rule(
        Words(
            r"role@ does not support @developer",  # OpenAI
            r"unknown variant @developer",  # DeepSeek
            r"developer@ is not one of",  # Alibaba
            r"invalid role @developer",
            r"unexpected message role",  # templates of Qwen, by vLLM and llama.cpp
            r"messages\.0\.role: input should be",  # pydantic
        ),
        _has_role("developer"),
        {"system_role": "system"},
    ),
    Rule(
        Words(
            r"system message must be at the beginning",  # templates of Qwen
            r"unexpected role @system@ after role",  # Mistral
            r"conversation roles must alternate",  # templates of Gemma and Mistral
            r"messages\[[1-9]\d{0,5}\]\.role@ does not support @system",  # OpenAI
        ),
        _late_system,
        {"mid_system": "user"},
    ),
    Rule(
        Words(
            r"messages\[0\]\.role@ does not support @system",  # OpenAI
            r"system role (?:is )?not supported",  # templates of Gemma
            r"developer instruction is not enabled",  # Gemini
        ),
        lambda sent: sent["messages"][0]["role"] == "system",
        {"system_role": "user"},
    ),
    Rule(Words(r"system role (?:is )?not supported"), _late_system, {"mid_system": "user"}),
    Rule(Words(r"unexpected role @user@ after role @tool"), _user_after_tool, {"bridge_after_tool": True}),
)
