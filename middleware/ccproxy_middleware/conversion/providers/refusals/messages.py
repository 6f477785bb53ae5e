"""Refusals of messages: their roles and order, and the format of their content."""

import re
from itertools import pairwise

from ..profiles import Profile
from .rule import Patch, Rule, Sent, Words, content_lists, has_role, late_system, unsupported


def _user_after_tool(sent: Sent) -> bool:
    return ("tool", "user") in pairwise(message["role"] for message in sent["messages"])


def _begins_without_user(sent: Sent) -> bool:
    """Whether the assistant speaks first, or there are only system messages."""
    roles = (message["role"] for message in sent["messages"])
    return next((role for role in roles if role not in ("system", "developer")), None) != "user"


def _list_of_texts(sent: Sent) -> bool:
    return any(all(part["type"] == "text" for part in content) for content in content_lists(sent))


def _as_string(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    return {"text_parts": "string", "cache_control": "drop"}


def _as_string_without_images(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    return {"content_parts": False, "cache_control": "drop"}


# Content that is a list. Each wording is that of programs in one language.
_LIST = Words(
    # Python: templates that join strings; github.com/abetlen/llama-cpp-python/issues/1168
    r"expected str instance, list found",
    r"can only concatenate str \(not .{0,3}list",
    r"@list@ object has no attribute @(?:strip|lstrip|rstrip|split|startswith|endswith|replace|lower|find|encode)",
    r"(?:expected string or bytes-like object|must be str, not list|unhashable type: @list)",
    # Pydantic: github.com/chenyme/grok2api/pull/222
    r"content(?:\.str)?@?[:,\])]{0,3}[^\n]{0,40}input should be a valid string",
    # Groq: github.com/microsoft/PyRIT/issues/704
    r"content@? (?:must|should|has to) be (?:a |of type )?@?(?:string|str|text)\b(?! or)",
    r"messages[.\[]\d{1,6}\]?\.content@?[^\n]{0,80}value must be a string",
    # Azure: github.com/danny-avila/LibreChat/issues/3111; zod
    r"expected (?:a )?string, (?:but )?(?:got|received) (?:an )?array",
    # Rust: github.com/lastmile-ai/mcp-agent/issues/25, github.com/browser-use/browser-use/issues/159
    r"invalid type: sequence, expected a string",
    r"did not match any variant of untagged enum \w{0,40}content",
    # Go and C++
    r"cannot unmarshal array into go (?:struct field|value)[^\n]{0,80} of type string",
    r"type must be string, but is array",
    # Chinese: content has to be a string
    r"content@?\s?(?:字段|参数)?(?:必须|应|需|只能)(?:为|是)(?:字符串|文本|string)|content@?[^\n]{0,20}不支持(?:数组|列表)",
)

DEVELOPER = Words(
    r"role@ does not support @developer",  # OpenAI
    r"unknown variant @developer",  # DeepSeek
    r"developer@ is not one of",  # Alibaba
    r"invalid (?:role|value):? @developer",
    r"role:? @developer@ (?:is )?(?:not supported|unsupported|not allowed|unknown)",
    r"role@? must be one of (?![^\n]{0,60}developer)",
    r"unexpected message role",  # templates of Qwen, by vLLM and llama.cpp
    r"messages\.0\.role: input should be",  # pydantic
)

MESSAGES = (
    # Roles
    Rule(
        DEVELOPER,
        has_role("developer"),
        {"system_role": "system"},
    ),
    Rule(
        Words(
            r"system message must be at the beginning",  # templates of Qwen
            r"unexpected role @system@ after role",  # Mistral
            r"conversation roles must alternate",  # templates of Gemma and Mistral
            r"messages\[[1-9]\d{0,5}\]\.role@ does not support @system",  # OpenAI
            r"invalid (?:message )?role:? @system",  # MiniMax: github.com/codexu/note-gen/issues/918
            r"invalid chat setting \(2013\)",  # MiniMax of two: github.com/can1357/oh-my-pi/pull/954
            r"(?:only (?:one|the first|a single)|multiple|more than one|a second|additional) [^.\n]{0,30}"
            r"system (?:message|prompt|role)",
            r"system (?:message|role|prompt)s?@? (?:must|should|can|may)(?: only)? (?:be|come|appear|stand)(?: only)?"
            r" (?:at|in|as) (?:the )?(?:first|start|beginning|front|head|position 0|index 0)",
            r"system (?:message|role|prompt)s?@? (?:is|are) only (?:supported|allowed|permitted) (?:at|as|in)",
            # Perplexity: github.com/perplexityai/api-discussion/issues/265
            r"roles should be alternating",
            r"last message must have role @user",
            r"system[^\n]{0,20}(?:第一条|首条|开头)",
        ),
        late_system,
        {"mid_system": "user"},
    ),
    Rule(
        Words(
            r"messages\[0\]\.role@ does not support @system",  # OpenAI
            r"system role (?:is )?not supported",  # templates of Gemma
            r"developer instruction is not enabled",  # Gemini
            r"invalid (?:message )?role:? @system",  # MiniMax: github.com/volcengine/OpenViking/pull/628
            r"only user(?:,| and| or) assistant[^.\n]{0,30} roles are supported",  # templates of Mistral
            r"(?:role @system|system role|system messages?)@ (?:is|are) (?:not supported|unsupported|not allowed)",
            r"(?:does(?: not|n't) support|unsupported|unknown|unexpected) (?:the )?(?:message )?"
            r"(?:role:? @system|system (?:role|message|prompt|instruction))",
            r"不支持\s?@system@\s?(?:角色|消息)",
        ),
        lambda sent: sent["messages"][0]["role"] == "system",
        {"system_role": "user"},
    ),
    Rule(Words(r"system role (?:is )?not supported"), late_system, {"mid_system": "user"}),
    Rule(
        Words(r"unexpected role @user@ after role @tool", r"roles must alternate", r"roles should be alternating"),
        _user_after_tool,
        {"bridge_after_tool": True},
    ),
    Rule(
        Words(
            r"no user (?:query|message|prompt) (?:was )?found",  # templates of Qwen3.5
            # Gemini: github.com/google-gemini/gemini-cli/issues/26486
            r"function call turn comes immediately after a user turn",
            # Bedrock: github.com/langgenius/dify/issues/12340
            r"conversation must start with a @user@ message",
            # Claude: github.com/tonyljx/TextWordExplain/issues/2
            r"first message(?:'s)?(?: role)? must (?:use|have|be)[^\n]{0,20}\buser\b",
            r"expected first[^\n]{0,20} role[^\n]{0,20}\buser\b",
            r"(?:at least|must (?:have|contain|include)|requires?|missing|without|needs?) (?:at least )?(?:one|an?)?"
            r" ?(?:message (?:with|of) (?:the )?(?:role )?@user|@user@ (?:message|turn|role|prompt))",
            r"last message must have role @user",  # Perplexity: github.com/langgenius/dify/issues/6179
            # Z.ai, which says so of any order it doesn't accept (1214)
            r"the messages parameter is illegal",
            r"messages ?参数非法",
            r"(?:缺少|至少|必须包含|没有)[^\n]{0,16}(?:user|用户)[^\n]{0,6}(?:消息|角色)",
            r"必须以[^\n]{0,8}(?:user|用户)[^\n]{0,12}(?:开头|开始)",
        ),
        _begins_without_user,
        {"first_user": True},
    ),
    # The format of the content
    Rule(_LIST, _list_of_texts, _as_string),
    Rule(_LIST, lambda sent: any(content_lists(sent)), _as_string_without_images),
    Rule(
        Words(
            # Groq: github.com/tidyverse/ellmer/issues/162
            r"messages[.\[]\d{1,6}\]?\.content@? : value must be a string",
            r"messages[.\[]\d{1,6}\]?\.content@?:? (?:input should be|must be|expected) a (?:valid )?string"
            r"(?:, (?:but )?got (?:null|none))?",
            r"invalid type: null, expected a string|expected a string, (?:but )?got null",
            r"content[^\n]{0,30} (?:can't|cannot|must not|should not) be (?:null|none|empty)",
            r"can only concatenate str \(not .{1,2}nonetype",
        ),
        lambda sent: any("content" in m and m["content"] is None for m in sent["messages"]),
        {"assistant_null_content": "empty"},
    ),
    Rule(
        unsupported("cache_control"),
        lambda sent: any("cache_control" in part for content in content_lists(sent) for part in content),
        {"cache_control": "drop"},
    ),
)
