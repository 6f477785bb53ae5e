"""Refusals of parameters: limits, reasoning, sampling, streams, structured output."""

import re
from collections.abc import Callable
from typing import Any

from ..profiles import Profile
from ..switch_values import EFFORTS
from .rule import Patch, Rule, Sent, Words, has_role, in_messages, top, unsupported


def _format(kind: str) -> Callable[[Sent], bool]:
    return lambda sent: (sent.get("response_format") or {}).get("type") == kind


def _tools_with_effort(effort_is_none: bool) -> Callable[[Sent], bool]:
    return lambda sent: "tools" in sent and (sent.get("reasoning_effort") == "none") is effort_is_none


def _reasons(sent: Sent) -> bool:
    thinking = ("reasoning_effort", "reasoning", "thinking", "chat_template_kwargs", "extra_body")
    return any(sent.get(name) not in (None, "none") for name in thinking)


_EFFORT = unsupported("reasoning_effort")
_EFFORT_WORD = re.compile(rf"\b(?:{'|'.join(EFFORTS)})\b", re.IGNORECASE)


def _listed_efforts(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    """The efforts that the refusal lists."""
    listed = {word.lower() for word in _EFFORT_WORD.findall(match["list"])} - {sent["reasoning_effort"]}
    if not listed:
        return {}
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


def _listed_minimum(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    least = int(match[1])
    asked = sent.get(profile.max_tokens_field)
    return {"min_output": least} if isinstance(asked, int) and asked < least <= 4096 else {}


def _room_to_think(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    """For a request that only tests the model. A request for a real answer should be told that its limit was too
    low.
    """
    asked = sent.get(profile.max_tokens_field)
    return {"min_output": 1024} if isinstance(asked, int) and asked <= 16 else {}


def _listed_stops(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    limit = int(next(filter(None, match.groups())))
    return {"stop_limit": limit} if len(sent["stop"]) > limit else {}


# In the order in which they are tried: a specific wording before a general one, a mild correction before a drastic one.
PARAMETERS = (
    # Tokens
    Rule(unsupported("max_tokens"), top("max_tokens"), {"max_tokens_field": "max_completion_tokens"}),
    Rule(unsupported("max_completion_tokens"), top("max_completion_tokens"), {"max_tokens_field": "max_tokens"}),
    Rule(
        Words(
            r"max_(?:completion_|output_)?tokens is too large: \d+\. This model supports at most (\d{1,9})",  # OpenAI
            r"valid range of max_tokens is \[1, ?(\d{1,9})\]",  # DeepSeek
            r"range of max_tokens should be \[1, ?(\d{1,9})\]",  # Alibaba
            # Claude
            r"max_(?:completion_|output_)?tokens: \d+ > (\d{1,9}), which is the maximum allowed number of output",
            # Volcengine
            r"max_(?:completion_|output_)?tokens@ [^\n]{0,60}above maximum value, expected a value <= (\d{1,9})",
            # pydantic, vLLM, and others in their own words
            r"max_(?:completion_|output_)?tokens@?[^\n.;]{0,60}(?:less than or equal to|<=|at most|exceeds?(?: the)?"
            r"|no more than|up to|(?:not|n't) be (?:greater|larger|higher|more) than|\bmaximum|\bmax\b)[^\d\n]{0,40}"
            r"(\d{3,9})\b",
            r"max_(?:completion_|output_)?tokens@?[^\n.;]{0,30}(?:between|range(?: of)?|取值范围)[^\d\n]{0,6}[01]"
            r"[^\d\n]{1,6}(\d{3,9})\b",
            r"max_(?:completion_|output_)?tokens@?[^\n。；]{0,30}(?:不能|不得|超过|超出|最大)[^\d\n]{0,12}(\d{3,9})\b",
        ),
        top("max_tokens", "max_completion_tokens"),
        _listed_limit,
    ),
    Rule(  # Azure and others that answer by OpenAI's Responses API
        Words(r"max_(?:completion_|output_)?tokens@: integer below minimum value\. Expected a value >= (\d{1,9})"),
        top("max_tokens", "max_completion_tokens"),
        _listed_minimum,
    ),
    Rule(  # OpenAI's reasoning models, which had not finished thinking
        Words(r"could not finish the message because max_tokens or model output limit was reached"),
        top("max_tokens", "max_completion_tokens"),
        _room_to_think,
        lasting=False,
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
            r"(?:reasoning[_.]?effort|\beffort@|invalid reasoning value|(?:unsupported|invalid) value: @"
            rf"(?:{'|'.join(EFFORTS)})@(?: is not supported|[.])).{{0,120}}?"
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
    Rule(  # Claude behind gateways that turn the effort into a budget; accepted with a larger max_tokens
        Words(
            r"max_tokens@ must be (?:greater|larger|higher) than @(?:thinking\.)?budget_tokens",
            r"budget_tokens@ (?:must be|should be) (?:strictly )?(?:less|lower|smaller) than @max_tokens",
            r"reasoning (?:budget|max_tokens) (?:must be|should be|cannot be|exceeds)[^\n]{0,60}max_tokens",
        ),
        _reasons,
        {"reasoning_style": "none"},
        lasting=False,
    ),
    Rule(  # OpenRouter, all of whose models support this effort
        Words(r"reasoning is mandatory for this endpoint"), top("reasoning"), {"effort_off": "low"}
    ),
    Rule(unsupported("reasoning_format"), top("reasoning_format"), {"reasoning_style": "openai"}),
    Rule(
        unsupported("reasoning", "reasoning.effort", "thinking", "chat_template_kwargs", "extra_body"),
        top("reasoning", "thinking", "chat_template_kwargs", "extra_body"),
        {"reasoning_style": "none"},
    ),
    Rule(  # Cerebras, Groq, Mistral
        Words(r"messages\S{1,40}\breasoning\w*@?: (?:property|extra inputs)", r"reasoning_content@ is unsupported"),
        lambda sent: in_messages("reasoning_content")(sent) or in_messages("reasoning")(sent),
        {"reasoning_roundtrip": "drop"},
    ),
    Rule(  # DeepSeek, Moonshot
        Words(
            r"reasoning_content@ in the thinking mode must be passed back",
            r"thinking is enabled but reasoning_content is missing",
        ),
        has_role("assistant"),
        {"reasoning_roundtrip": "reasoning_content"},
    ),
    # Sampling and stopping
    Rule(
        Words(
            unsupported("temperature", "top_p").pattern,
            r"(?:temperature|top_p)@? must be (?:exactly )?[\d.]+ (?:for|with|in|when using) (?:this|the) model",
            r"only the default[^\n]{0,20} (?:is|are) (?:supported|allowed) for @(?:temperature|top_p)",
            r"invalid (?:temperature|top_p): only [\d.]+ is allowed for this model",  # Moonshot
        ),
        top("temperature", "top_p"),
        {"sampling": "drop"},
    ),
    Rule(  # Claude
        Words(
            r"@temperature@ and @top_p@ cannot both be specified",
            r"@(?:temperature|top_p)@ may only be set to [\d.]+ when thinking is enabled",
            r"@top_p@ must be [^\n]{0,60} when thinking is enabled",
        ),
        top("temperature", "top_p"),
        {"sampling": "drop"},
        lasting=False,
    ),
    Rule(unsupported("top_k"), top("top_k"), {"top_k": "drop"}),
    Rule(unsupported("stop"), top("stop"), {"stop_limit": 0}),
    Rule(  # Azure: github.com/QwenLM/Qwen-Agent/issues/228
        Words(
            r"@stop@: array too long\. Expected an array with maximum length (\d{1,4})",
            r"\bstop(?: sequences?)?@?:[^\n]{0,30}(?:at most|maximum(?: of)?|up to) (\d{1,2})\b",
            r"(?:at most|maximum(?: of)?|up to|limit of|more than) (\d{1,2}) stop(?: sequences?| words?)?\b",
            r"stop sequences[^\n]{0,40}(?:exceeds?|limit|at most)[^\d\n]{0,20}(\d{1,2})\b",
        ),
        top("stop"),
        _listed_stops,
    ),
    # The stream, the caller
    Rule(
        Words(
            # Alibaba, ModelScope: github.com/langchain4j/langchain4j/issues/3974,
            # github.com/musistudio/claude-code-router/issues/948, github.com/alibaba/spring-ai-alibaba/issues/867
            r"enable_thinking@? must be set to false for non-streaming calls",
            r"enable_thinking@?必须设置为false才能进行非流式调用",
            r"enable thinking can not be support when @stream=false",
            # Alibaba: github.com/infiniflow/ragflow/issues/5912
            r"only supports? (?:the )?stream(?:ing)?(?: mode| calls| output| requests?| responses?)?\b",
            r"(?:non.?stream(?:ing)?|stream=false)(?: mode| calls?| requests?| responses?| completions?)? "
            r"(?:is|are) (?:not supported|unsupported|not allowed|disabled)",
            r"does(?: not|n't) support non.?stream",
            r"@stream@ (?:must be|should be|has to be)(?: set to)? @true",
            r"(?:please )?set @?stream@? ?(?:to|=) ?@true",
            r"(?:仅|只)支持流式|不支持非流式|不支持非?stream=false",
        ),
        lambda sent: not sent.get("stream"),
        {"streaming": "always"},
    ),
    Rule(
        Words(
            # OpenAI's first o1: github.com/github/gh-models/issues/31; Hugging Face:
            # github.com/huggingface/chat-ui/issues/296; Azure: github.com/stulzq/azure-openai-proxy/issues/63
            r"@stream@ does not support true",
            r"@stream@ is not supported (?:for|with|by) this model",
            r"\bstream(?:ing)?(?: mode| completions?| responses?| output)? is not (?:support|allowed|enabled)",
            r"does(?: not|n't) support stream(?:ing|ed)?\b(?!_)",
            r"cannot use tools with stream",  # llama.cpp's older servers: github.com/OpenAgentPlatform/Dive/issues/90
            r"不支持流式",
        ),
        lambda sent: sent.get("stream") is True,
        {"streaming": "never"},
    ),
    Rule(unsupported("stream_options", "stream_options.include_usage"), top("stream_options"), {"stream_usage": False}),
    Rule(unsupported("user"), top("user"), {"user_field": "none"}),
    Rule(unsupported("safety_identifier"), top("safety_identifier"), {"user_field": "none"}),
    Rule(unsupported("prompt_cache_key"), top("prompt_cache_key"), {"prompt_cache_key": False}),
    Rule(unsupported("service_tier"), top("service_tier"), {"service_tier": "drop"}),
    # Structured output
    Rule(
        Words(
            r"response_format(?:\.type)?@? must be[^\n]{0,60}json_object",
            r"response_format@? @json_schema@ (?:is )?(?:not supported|unsupported)",
        ),
        _format("json_schema"),
        {"structured_output": "json_object"},
    ),
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
)
