"""What a provider's refusal teaches: a 400 that names a parameter, as the profile switches that avoid it.

Providers differ from their profile: a new model drops ``max_tokens``, a gateway knows no ``stream_options``. The
wordings are the providers' own, collected from their answers. A wording that isn't known teaches nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from .context_length import overflow_message
from .errors import PromptRefused, error_from_response
from .profiles import EFFORTS, Profile

Patch: TypeAlias = Mapping[str, Any]
"""Profile switches and their new values."""

_Sent: TypeAlias = Mapping[str, Any]  # the refused chat body
_Computed: TypeAlias = Callable[[re.Match[str], _Sent, Profile], Patch]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One lesson: ``patch`` for a refusal in these words, if what it is about was in the request."""

    words: "_Words"
    concerns: Callable[[_Sent], bool]
    patch: Patch | _Computed
    lasting: bool = True


class Correction(dict[str, Any]):
    """Profile switches and their new values, for one refusal.

    lasting: whether the model doesn't take the parameter as such, so that other requests need the correction too. What
        one request's content has caused, such as an odd schema, is corrected for that request alone.
    refusal: the provider's words, without keys.
    """

    def __init__(self, switches: Patch, *, lasting: bool, refusal: str) -> None:
        super().__init__(switches)
        self.lasting = lasting
        self.refusal = refusal


def what_helped(applied: Sequence[Correction]) -> dict[str, Any]:
    """Of the corrections of a request that was taken in the end, the switches to remember.

    A correction that was answered by the same refusal has not helped.
    """
    helped: dict[str, Any] = {}
    for n, correction in enumerate(applied):
        answered = applied[n + 1].refusal if n + 1 < len(applied) else None
        if correction.lasting and answered != correction.refusal:
            helped |= correction
    return helped


def find_correction(status: int, body: bytes, sent: Mapping[str, Any], profile: Profile) -> Correction | None:
    """The switches to change so that the provider takes what it has refused, or None if that can't be known.

    ``status`` and ``body`` are its answer, ``sent`` the chat body that it got, ``profile`` the profile that made
    it. Only a 400 or 422 about the form of the request can teach something.
    """
    if status not in (400, 422):
        return None
    error = error_from_response(status, (), body, profile)
    if error.type != "invalid_request_error" or isinstance(error, PromptRefused):
        return None  # its code tells of the model, the account or the filter
    if overflow_message(error.message) is not None:
        return None
    for rule in _RULES:
        match = rule.words.search(error.message)
        if match and rule.concerns(sent):
            patch = rule.patch(match, sent, profile) if callable(rule.patch) else rule.patch
            changes = {name: value for name, value in patch.items() if getattr(profile, name) != value}
            if changes:
                return Correction(changes, lasting=rule.lasting, refusal=error.message)
    return None


# What a refusal must concern


def _top(*names: str) -> Callable[[_Sent], bool]:
    return lambda sent: any(name in sent for name in names)


def _in_tools(key: str) -> Callable[[_Sent], bool]:
    return lambda sent: any(key in tool.get("function", ()) for tool in sent.get("tools") or ())


def _in_messages(key: str) -> Callable[[_Sent], bool]:
    return lambda sent: any(key in message for message in sent["messages"])


def _has_role(role: str) -> Callable[[_Sent], bool]:
    return lambda sent: any(message["role"] == role for message in sent["messages"])


def _late_system(sent: _Sent) -> bool:
    return any(message["role"] in ("system", "developer") for message in sent["messages"][1:])


def _user_after_tool(sent: _Sent) -> bool:
    roles = [message["role"] for message in sent["messages"]]
    return ("tool", "user") in pairwise(roles)


def _forced_choice(sent: _Sent) -> bool:
    return sent.get("tool_choice") not in (None, "auto", "none")


def _format(kind: str) -> Callable[[_Sent], bool]:
    return lambda sent: (sent.get("response_format") or {}).get("type") == kind


def _tools_with_effort(effort_is_none: bool) -> Callable[[_Sent], bool]:
    return lambda sent: "tools" in sent and (sent.get("reasoning_effort") == "none") is effort_is_none


# What it says. "@" stands for any quote, or none.


class _Words:
    """A pattern that is compiled when the first refusal is looked at: all of them take a noticeable part of a start."""

    def __init__(self, *alternatives: str) -> None:
        self.pattern = "|".join(f"(?:{words})" for words in alternatives).replace("@", r"[\"'`\\]{0,4}")

    def search(self, message: str) -> re.Match[str] | None:
        return re.search(self.pattern, message, re.IGNORECASE | re.DOTALL)


_UNSUPPORTED = (
    # OpenAI, Azure, GitHub Copilot, ChatGPT's backend
    r"(?:unsupported|unknown|unrecognized) (?:request )?(?:parameter|argument)s?(?: supplied)?: @(?:[\w.]+, )*<name>",
    r"unsupported value: @<name>@ does not support",
    # Mistral and others built on pydantic, Fireworks
    r"(?<!\.)(?:body\.)?<name>: extra inputs are not permitted",
    r"@<name>@[\])],? @msg@: @extra inputs are not permitted",
    r"extra inputs are not permitted, field: @<name>",
    # Groq, Cerebras
    r"property @<name>@ is unsupported",
    r"@<name>@ is (?:not supported|unsupported|deprecated) (?:with|by|for|on|in) (?:this|the) ",
    # xAI, LiteLLM
    r"does not support parameters?:? [^.\n]{0,120}?<name>",
    r"argument not supported on this model: <name>",
    # Gemini
    r"unknown name @<name>@: cannot find field",
    # Servers in Rust, as Bedrock's and DeepSeek's
    r"unknown field @<name>@",
)


def _unsupported(*names: str) -> _Words:
    """The wordings for a parameter that the model doesn't take; xAI writes its name in camelCase."""
    name = "|".join(re.escape(name).replace("_", "_?") for name in names)
    return _Words(*(words.replace("<name>", rf"(?<!\w)(?:{name})(?!\w)") for words in _UNSUPPORTED))


_EFFORT = _unsupported("reasoning_effort")
_EFFORT_WORD = re.compile(rf"\b(?:{'|'.join(EFFORTS)})\b", re.IGNORECASE)


def _listed_efforts(match: re.Match[str], sent: _Sent, profile: Profile) -> Patch:
    """The efforts that the refusal lists."""
    listed = {word.lower() for word in _EFFORT_WORD.findall(match["list"])} - {sent["reasoning_effort"]}
    efforts = tuple(word for word in EFFORTS if word in listed)
    patch: dict[str, Any] = {"efforts": efforts}
    if efforts and profile.effort_off not in (*efforts, "omit"):
        patch["effort_off"] = efforts[0]
    if sent["reasoning_effort"] == "none" and profile.tools_with_effort == "none":
        patch["tools_with_effort"] = "drop"
    return patch


def _listed_limit(match: re.Match[str], sent: _Sent, profile: Profile) -> Patch:
    limit = int(next(filter(None, match.groups())))
    asked = sent.get(profile.max_tokens_field)
    return {"max_output": limit} if isinstance(asked, int) and 0 < limit < asked else {}


# In the order of trying: a wording that says more goes before a plain one, a gentle correction before a hard one.
_RULES = (
    # Tokens
    _Rule(_unsupported("max_tokens"), _top("max_tokens"), {"max_tokens_field": "max_completion_tokens"}),
    _Rule(_unsupported("max_completion_tokens"), _top("max_completion_tokens"), {"max_tokens_field": "max_tokens"}),
    _Rule(
        _Words(
            r"max_(?:completion_)?tokens is too large: \d+\. This model supports at most (\d{1,9})",  # OpenAI
            r"valid range of max_tokens is \[1, ?(\d{1,9})\]",  # DeepSeek
            r"range of max_tokens should be \[1, ?(\d{1,9})\]",  # Alibaba
            r"max_(?:completion_)?tokens: \d+ > (\d{1,9}), which is the maximum allowed number of output",  # Claude
            r"max_(?:completion_)?tokens@ [^\n]{0,60}above maximum value, expected a value <= (\d{1,9})",  # Volcengine
        ),
        _top("max_tokens", "max_completion_tokens"),
        _listed_limit,
    ),
    # Reasoning
    _Rule(
        _Words(r"function tools with reasoning_effort are not supported"),
        _tools_with_effort(effort_is_none=False),
        {"tools_with_effort": "none"},
    ),
    _Rule(
        _Words(r"function tools with reasoning_effort are not supported"),
        _tools_with_effort(effort_is_none=True),
        {"tools_with_effort": "drop"},
    ),
    _Rule(
        _Words(
            r"(?:reasoning_?effort|invalid reasoning value|unsupported value: @"
            rf"(?:{'|'.join(EFFORTS)})@ is not supported).{{0,120}}?"
            r"(?:supported values are|must be|should be|expected)(?: one of)?:? "
            r"(?P<list>[^\[.\n]{1,120})"
        ),
        _top("reasoning_effort"),
        _listed_efforts,
    ),
    _Rule(_EFFORT, _tools_with_effort(effort_is_none=True), {"efforts": (), "tools_with_effort": "drop"}),
    _Rule(_EFFORT, _top("reasoning_effort"), {"efforts": ()}),
    _Rule(  # Ollama
        _Words(r"does not support thinking", r"think value @\w+@ is not supported for this model"),
        _top("reasoning_effort"),
        {"efforts": ()},
    ),
    _Rule(  # OpenRouter, of which all the models know this effort
        _Words(r"reasoning is mandatory for this endpoint"), _top("reasoning"), {"effort_off": "low"}
    ),
    _Rule(_unsupported("reasoning_format"), _top("reasoning_format"), {"reasoning_style": "openai"}),
    _Rule(
        _unsupported("reasoning", "reasoning.effort", "thinking", "chat_template_kwargs", "extra_body"),
        _top("reasoning", "thinking", "chat_template_kwargs", "extra_body"),
        {"reasoning_style": "none"},
    ),
    _Rule(  # Cerebras, Groq, Mistral
        _Words(r"messages\S{1,40}\breasoning\w*@?: (?:property|extra inputs)", r"reasoning_content@ is unsupported"),
        lambda sent: _in_messages("reasoning_content")(sent) or _in_messages("reasoning")(sent),
        {"reasoning_roundtrip": "drop"},
    ),
    _Rule(  # DeepSeek, Moonshot
        _Words(
            r"reasoning_content@ in the thinking mode must be passed back",
            r"thinking is enabled but reasoning_content is missing",
        ),
        _has_role("assistant"),
        {"reasoning_roundtrip": "reasoning_content"},
    ),
    # Sampling and stopping
    _Rule(
        _Words(
            _unsupported("temperature", "top_p").pattern,
            r"invalid (?:temperature|top_p): only [\d.]+ is allowed for this model",  # Moonshot
        ),
        _top("temperature", "top_p"),
        {"sampling": "drop"},
    ),
    _Rule(  # Claude
        _Words(r"@temperature@ and @top_p@ cannot both be specified"),
        _top("temperature"),
        {"sampling": "drop"},
        lasting=False,
    ),
    _Rule(_unsupported("top_k"), _top("top_k"), {"top_k": "drop"}),
    _Rule(_unsupported("stop"), _top("stop"), {"stop_limit": 0}),
    # The stream, the caller
    _Rule(
        _unsupported("stream_options", "stream_options.include_usage"), _top("stream_options"), {"stream_usage": False}
    ),
    _Rule(_unsupported("user"), _top("user"), {"user_field": "none"}),
    _Rule(_unsupported("safety_identifier"), _top("safety_identifier"), {"user_field": "none"}),
    _Rule(_unsupported("prompt_cache_key"), _top("prompt_cache_key"), {"prompt_cache_key": False}),
    _Rule(_unsupported("service_tier"), _top("service_tier"), {"service_tier": "drop"}),
    # Tools
    _Rule(_unsupported("parallel_tool_calls"), _top("parallel_tool_calls"), {"parallel_flag": False}),
    _Rule(
        _Words(
            r"tool_choice parameter does not support being set to required or object in thinking",  # Alibaba
            r"tool_choice @\w+@ is incompatible with thinking enabled",  # Moonshot
        ),
        _forced_choice,
        {"forced_tool_choice": False},
        lasting=False,
    ),
    _Rule(
        _Words(
            _unsupported("tool_choice").pattern,
            r"does not support this tool_choice",  # DeepSeek
            r"tool_choice parameter does not support being set to required or object",  # Alibaba
        ),
        _forced_choice,
        {"forced_tool_choice": False},
    ),
    _Rule(
        _Words(
            r"@strict@ mode on function call is currently not supported",  # xAI
            r"unknown name @strict@ at @[\w.]{0,20}tools",  # Gemini
            r"tools\S{1,40}\bstrict@?: (?:property|extra inputs)",  # Cerebras, Mistral
        ),
        _in_tools("strict"),
        {"strict_tools": False},
    ),
    _Rule(
        _Words(r"unknown name @[$\w]+@ at @[\w.\[\]]{0,80}\bparameters\b"),  # Gemini
        _in_tools("parameters"),
        {"schema_dialect": "gemini"},
    ),
    *(
        _Rule(words, _in_tools("parameters"), {"schema_dialect": dialect})
        for words, dialect in (
            (_Words(r"not a valid moonshot flavored json schema"), "moonshot"),
            (_Words(r"JSON schema conversion failed", r"failed to parse grammar"), "llama.cpp"),
            (_Words(r"tools with mixed values for @strict"), "cerebras"),
        )
    ),
    # One tool's schema is odd, which says nothing of those of other requests.
    _Rule(_Words(r"invalid schema for function"), _in_tools("strict"), {"strict_tools": False}, lasting=False),
    _Rule(_Words(r"invalid schema for function"), _in_tools("parameters"), {"schema_dialect": "gemini"}, lasting=False),
    _Rule(  # vLLM, which compiles the schemas only of a forced choice
        _Words(r"JSON schema contains features not supported by xgrammar"),
        _forced_choice,
        {"forced_tool_choice": False},
        lasting=False,
    ),
    # Structured output
    *(
        _Rule(
            _Words(
                _unsupported("response_format", "response_format.type", "response_format.json_schema").pattern,
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
        _Rule(
            _Words(
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
    _Rule(
        _Words(
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
    _Rule(
        _Words(
            r"system message must be at the beginning",  # templates of Qwen
            r"unexpected role @system@ after role",  # Mistral
            r"conversation roles must alternate",  # templates of Gemma and Mistral
            r"messages\[[1-9]\d{0,5}\]\.role@ does not support @system",  # OpenAI
        ),
        _late_system,
        {"mid_system": "user"},
    ),
    _Rule(
        _Words(
            r"messages\[0\]\.role@ does not support @system",  # OpenAI
            r"system role (?:is )?not supported",  # templates of Gemma
            r"developer instruction is not enabled",  # Gemini
        ),
        lambda sent: sent["messages"][0]["role"] == "system",
        {"system_role": "user"},
    ),
    _Rule(_Words(r"system role (?:is )?not supported"), _late_system, {"mid_system": "user"}),
    _Rule(_Words(r"unexpected role @user@ after role @tool"), _user_after_tool, {"bridge_after_tool": True}),
)
