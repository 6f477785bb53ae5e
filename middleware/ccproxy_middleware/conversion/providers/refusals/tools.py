"""Refusals of tools: their choice, schemas and descriptions, and calls in the history without a tool."""

import re

from ..profiles import Profile
from .rule import Patch, Rule, Sent, Words, forced_choice, in_tools, top, unsupported


def _named_choice(sent: Sent) -> bool:
    return isinstance(sent.get("tool_choice"), dict)


def _unoffered_calls(sent: Sent) -> bool:
    """Whether the history has calls of tools that are not offered, for example because no tool is."""
    return bool(_unoffered(sent))


def _unoffered(sent: Sent) -> set[str]:
    offered = {tool.get("function", {}).get("name") for tool in sent.get("tools") or ()}
    calls = (call for message in sent["messages"] for call in message.get("tool_calls") or ())
    return {call["function"]["name"] for call in calls} - offered


def _named_unoffered(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    return {"unoffered_calls": "text"} if match["name"] in _unoffered(sent) else {}


def _calls(sent: Sent) -> bool:
    return any(message.get("tool_calls") for message in sent["messages"])


def _listed_length(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    limit = int(next(filter(None, match.groups())))
    descriptions = [tool["function"].get("description", "") for tool in sent["tools"] if "function" in tool]
    return {"tool_description_max": limit} if limit >= _LEAST and max(map(len, descriptions), default=0) > limit else {}


def _listed_name_length(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    limit = int(match[1])
    return {"tool_name_max": limit} if _LEAST // 2 <= limit < profile.tool_name_max else {}


_LEAST = 64  # characters of a description: a limit below that is something else

NO_TOOLS = Words(
    # Ollama: github.com/ollama/ollama/issues/6027; xAI: github.com/google/adk-python/issues/952
    r"does(?: not|n't) (?:currently )?support (?:the )?(?:use of )?@?(?:tools?|functions?)(?:[ _-]?(?:use|usage|calls?"
    r"|calling))?@?(?! (?:choice|messages?|results?|descriptions?|ids?|names?))\b",
    # OpenAI: github.com/sbintuitions/flexeval/pull/242
    r"@?(?<![\w.\]])tools@? (?:is|are) (?:not supported|unsupported)(?! (?:in|for) (?:messages|streaming))",
    # DeepInfra: github.com/truefoundry/models/pull/944; Gemini, Groq, Mistral
    r"(?<![\w.\]])(?<!multiple )(?<!parallel )(?<!several )(?<!concurrent )(?<!simultaneous )(?<!nested )"
    r"(?:tool|function)s?[ _-]?(?:use|usage|calls?|calling)@?,? (?:is|are|feature is|has been|have been)"
    r"(?: not|n't| un) ?(?:supported|available|enabled|allowed)",
    r"no endpoints found that support tool use",  # OpenRouter
    r"features? function calling not support",  # Novita: github.com/hotovo/aider-desk/issues/86
    r"tool choice requires --enable-auto-tool-choice",  # vLLM
    r"tools? param(?:eter)? requires --jinja",  # llama.cpp
    r"不支持(?:使用|调用)?\s?(?:@?tools?@?(?![\w_])|工具(?:调用)?|函数调用|function[ _-]?call(?:ing)?)",
)
"""That the model or its server has no tools at all."""

TOOLS = (
    Rule(unsupported("parallel_tool_calls"), top("parallel_tool_calls"), {"parallel_flag": False}),
    Rule(
        Words(
            r"tool_choice parameter does not support being set to required or object in thinking",  # Alibaba
            r"tool_choice @\w+@ is incompatible with thinking enabled",  # Moonshot
            # Claude: github.com/langchain-ai/langchain/issues/31122
            r"thinking may not be enabled when tool_choice forces tool use",
        ),
        forced_choice,
        {"forced_tool_choice": False},
        lasting=False,
    ),
    Rule(
        Words(
            # LM Studio: github.com/lmstudio-ai/lmstudio-bug-tracker/issues/670
            r"invalid tool_choice type: @object",
            r"tool_choice@?[^.\n]{0,40} (?:must be|should be|expected|expects)(?: a| of type)? @?string",
            r"tool_choice@?[^.\n]{0,40} (?:must be|should be|expected)(?: one of| either)? @(?:none|auto|required)@?,",
            r"tool_choice@?[^\n]{0,20} invalid type: map, expected",
            r"cannot unmarshal object into go [^\n]{0,60}tool_choice",
            r"(?:named|specific) (?:tool|function)(?:_| )?(?:choice|call(?:ing)?)? (?:is|are) not supported",
        ),
        _named_choice,
        {"tool_choice_object": False},
    ),
    Rule(
        Words(
            unsupported("tool_choice").pattern,
            r"does not support this tool_choice",  # DeepSeek
            r"tool_choice parameter does not support being set to required or object",  # Alibaba
            r"tool.choice must be @auto",  # Z.ai: github.com/vectorize-io/hindsight/issues/4246
            r"tool_choice@? only supports @?(?:auto|none)",
            r"only @auto@(?: (?:and|or) @none@)? (?:is|are) supported (?:for|as|in) @tool_choice",
            r"tool_choice@?(?: value)?[:=]? ?@(?:required|any|function|object)@ (?:is|are) (?:not supported|unsupported"
            r"|not allowed|invalid|not valid)",
            r"(?:does not|doesn't) support tool_choice[=: ]{1,2}@(?:required|any|function|object)",
            r"forced (?:tool|function)(?: use| call(?:s|ing)?| choice)? (?:is|are) not supported",
            r"tool_choice@?\s?(?:仅|只)支持\s?@?auto|不支持\s?@?tool_choice",
        ),
        forced_choice,
        {"forced_tool_choice": False},
    ),
    Rule(
        Words(
            r"@strict@ mode on function call is currently not supported",  # xAI
            r"unknown name @strict@ at @[\w.]{0,20}tools",  # Gemini
            r"tools\S{1,40}\bstrict@?: (?:property|extra inputs)",  # Cerebras, Mistral
            r"(?:unknown|unsupported|unrecognized) [^:\n]{1,30}: @tools\[\d{1,4}\]\S{0,20}\bstrict",
            r"unknown field in tool[^:\n]{0,20}: @strict",
            r"additional properties are not allowed \(@strict@ was unexpected\)",
        ),
        in_tools("strict"),
        {"strict_tools": False},
    ),
    Rule(
        Words(r"unknown name @[$\w]+@ at @[\w.\[\]]{0,80}\bparameters\b"),  # Gemini
        in_tools("parameters"),
        {"schema_dialect": "gemini"},
    ),
    *(
        Rule(words, in_tools("parameters"), {"schema_dialect": dialect})
        for words, dialect in (
            (Words(r"not a valid moonshot flavored json schema"), "moonshot"),
            (Words(r"JSON schema conversion failed", r"failed to parse grammar"), "llama.cpp"),
            (Words(r"tools with mixed values for @strict"), "cerebras"),
        )
    ),
    # One tool's schema is unusual, which implies nothing about the schemas of other requests.
    Rule(Words(r"invalid schema for function"), in_tools("strict"), {"strict_tools": False}, lasting=False),
    Rule(Words(r"invalid schema for function"), in_tools("parameters"), {"schema_dialect": "gemini"}, lasting=False),
    Rule(  # vLLM, which compiles the schemas only for a forced choice
        Words(r"JSON schema contains features not supported by xgrammar"),
        forced_choice,
        {"forced_tool_choice": False},
        lasting=False,
    ),
    # Descriptions, names, ids
    Rule(
        Words(
            # OpenAI, Azure, relays: github.com/getsentry/sentry-mcp/issues/106
            r"(?:\bfunction|tools\[\d{1,4}\])\.description@?: string too long\. expected a string with maximum length "
            r"(\d{2,5})",
            r"tools[.\[]\d{1,4}\]?\.(?:function\.|custom\.)?description@?: (?:string|value) should have at most "
            r"(\d{2,5})",
            r"(?:tool|function)(?:'s)? (?:@[\w-]{1,128}@ )?description[^\n]{0,60}?(?:at most|maximum|exceeds?|limit"
            r"|longer than|up to|within)[^\d\n]{0,30}(\d{2,5})\b",
            r"(?:工具|函数)[^\n]{0,20}描述[^\n]{0,30}(?:不能超过|超过|最多|最大|限制)[^\d\n]{0,10}(\d{2,5})",
        ),
        in_tools("description"),
        _listed_length,
    ),
    Rule(  # DeepSeek: github.com/mrexodia/ida-pro-mcp/issues/129
        Words(
            r"(?:\bfunction|tools\[\d{1,4}\])\.name@?: string too long\. expected a string with maximum length "
            r"(\d{2,3})"
        ),
        in_tools("name"),
        _listed_name_length,
    ),
    Rule(  # Mistral's models behind others: github.com/jackmpcollins/magentic/issues/276
        Words(r"tool call ids? (?:was|should be|must be)[^\n]{0,80} length (?:of )?9\b"),
        _calls,
        {"tool_id": "mistral9"},
    ),
    Rule(
        Words(
            r"function_?response\.name[^\n]{0,10}: name cannot be empty",  # Gemini
            r"^request contains an invalid argument",  # Gemini, for a result without a name and for much else
            r"(?:tool|function) (?:message|result|response)s? (?:must|should) (?:have|include|contain) (?:a )?@name",
        ),
        lambda sent: any(message["role"] == "tool" for message in sent["messages"]),
        {"tool_result_name": True},
    ),
    # Calls in the history, of tools that are not offered
    Rule(
        Words(
            r"tool calling without @tools=",  # LiteLLM
            # Bedrock: github.com/pydantic/pydantic-ai/pull/5929, github.com/langgenius/dify/issues/17545
            r"toolconfig field must be (?:defined|provided|set|present)",
            # Claude's older API
            r"include @tool_use@ or @tool_result@ blocks must define tools",
            # Groq: github.com/mastra-ai/mastra/issues/9688, github.com/BerriAI/litellm/issues/11001
            r"which was not in request\.tools",
            r"requested tool does not exist",
            r"(?:tool|function)(?:_| )?calls?[^.\n]{0,60} (?:without|but no|require|requires|need|needs)[^.\n]{0,30}"
            r"@tools@?(?: param| parameter| field| to be|\b)",
            r"@tools@ (?:is|are|must be) (?:required|provided|defined|specified|present|non-empty)[^.\n]{0,60}"
            r"(?:tool|function)",
            r"role @tool@[^.\n]{0,40}(?:requires?|needs?|without)[^.\n]{0,30}@tools",
            r"(?:工具|函数)[^\n]{0,40}(?:未在|未定义|未声明|未提供|不存在|不在)",
        ),
        _unoffered_calls,
        {"unoffered_calls": "text"},
    ),
    Rule(
        Words(
            r"(?:tool|function)s?(?:_| )?(?:calls?|names?|uses?)?:? @(?P<name>[\w.-]{1,128})@ "
            r"(?:(?:is|are|was|were)(?: not|n't)|not) "
            r"(?:been )?(?:found|declared|defined|offered|provided|listed|present|available|included|in)\b",
        ),
        _unoffered_calls,
        _named_unoffered,
    ),
    Rule(
        Words(
            r"(?:unknown|undeclared|undefined|unexpected) (?:tool|function)(?: name| call)?:? @(?P<name>[\w.-]{1,128})"
        ),
        _unoffered_calls,
        _named_unoffered,
    ),
)
