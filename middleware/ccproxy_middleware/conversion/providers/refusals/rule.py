"""The format of a rule: the wording of a refusal, what it must be about, and the profile switches that avoid it."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..profiles import Profile

Patch: TypeAlias = Mapping[str, Any]
"""Profile switches and their new values."""

Sent: TypeAlias = Mapping[str, Any]
"""The chat body that was refused."""

_Computed: TypeAlias = Callable[[re.Match[str], Sent, Profile], Patch]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: applies ``patch`` for a refusal with this wording, if the request contained what it is about.

    lasting: whether the model never accepts this; otherwise the content of one request caused the refusal.
    """

    words: "Words | Clause"
    concerns: Callable[[Sent], bool]
    patch: Patch | _Computed
    lasting: bool = True


class Words:
    """Patterns, one of which must be found; ``@`` stands for an optional quotation mark of any kind.

    They are compiled when the first refusal is read: compiling all of them would noticeably slow down the start.
    """

    def __init__(self, *alternatives: str) -> None:
        self.pattern = "|".join(f"(?:{words})" for words in alternatives).replace("@", r"[\"'`\\]{0,4}")

    def search(self, message: str) -> re.Match[str] | None:
        return re.search(self.pattern, message, re.IGNORECASE | re.DOTALL)


class Clause:
    """A clause in which every one of ``needed`` is found, in any order, and nothing from ``but``."""

    def __init__(self, *needed: str, but: str) -> None:
        self._needed = needed
        self._but = but

    def search(self, message: str) -> re.Match[str] | None:
        for clause in _CLAUSES.findall(message):
            found = [re.search(pattern, clause, re.IGNORECASE) for pattern in self._needed]
            if all(found) and not re.search(self._but, clause, re.IGNORECASE):
                return found[0]
        return None


_CLAUSES = re.compile(r"(?:[^.;!?\n。；！]|[.;!?](?![\s\"'`)]|$))+")  # a dot inside a word or a number ends nothing


# What a refusal may be about


def top(*names: str) -> Callable[[Sent], bool]:
    """One of these fields of the body."""
    return lambda sent: any(name in sent for name in names)


def in_tools(key: str) -> Callable[[Sent], bool]:
    return lambda sent: any(key in tool.get("function", ()) for tool in sent.get("tools") or ())


def in_messages(key: str) -> Callable[[Sent], bool]:
    return lambda sent: any(key in message for message in sent["messages"])


def has_role(role: str) -> Callable[[Sent], bool]:
    return lambda sent: any(message["role"] == role for message in sent["messages"])


def late_system(sent: Sent) -> bool:
    return any(message["role"] in ("system", "developer") for message in sent["messages"][1:])


def forced_choice(sent: Sent) -> bool:
    return sent.get("tool_choice") not in (None, "auto", "none")


def content_lists(sent: Sent) -> Iterator[list[dict[str, Any]]]:
    """The contents of those messages whose content is a list of parts."""
    return (content for message in sent["messages"] if isinstance(content := message.get("content"), list))


def image_urls(sent: Sent) -> list[str]:
    """The URLs of all images."""
    parts = (part for content in content_lists(sent) for part in content)
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


# A parameter that isn't accepted

_UNSUPPORTED = (
    # OpenAI, Azure, GitHub Copilot, ChatGPT's backend; NVIDIA's NIM with "parameter(s)"
    r"(?:unsupported|unknown|unrecognized|unexpected|forbidden) (?:request |body |input )?"
    r"(?:parameter|argument|field|propert(?:y|ie)|keyword|key|option|attribute)(?:s|\(s\))?"
    r"(?: supplied| provided| in (?:the )?(?:object|request|body|payload))?: [\[{(]?@(?:[\w.]+@, ?@){0,9}<name>@"
    r"(?=[\s,.;)\]}]|$)"
    r"(?! ?(?:must|should|has to|needs|expected|is out|:|in @(?:messages|tools|functions)\b))",
    r"unsupported value: @<name>@ does not support",
    # Mistral and others built on pydantic, Fireworks; github.com/NVIDIA/garak/issues/748,
    # github.com/runpod-workers/worker-vllm/issues/85
    r"(?<!\.)(?:body(?:\.| -> ))?<name>:?\s{1,8}extra (?:inputs are|fields) not permitted",
    r"@<name>@[\])],? @msg@: @extra (?:inputs are|fields) not permitted",
    r"extra (?:inputs are|fields) not permitted(?:, field)?: @<name>",
    # Groq, Cerebras; github.com/huggingface/chat-ui/issues/296
    r"property @<name>@ is unsupported",
    r"(?:unsupported|unknown|unrecognized|unexpected|forbidden) (?:parameter|argument|field|property|key|option"
    r"|attribute) <quoted>(?! (?:must|should|in @?(?:messages|tools|functions)\b))",
    r"(?<![.\]])<name>(?::| is an?) (?:unknown|unsupported|unrecognized) (?:parameter|argument|field"
    r"|property|option)",
    r"(?:<quoted>|^<name>|<snake>) (?:parameter |argument |field )?(?:cannot|can't|can not) be (?:set|specified"
    r"|used|changed|modified)(?! (?:together|with @|when|while|above|below|over|to|greater|less|and|more))",
    r"@<name>@ (?:(?:parameter|argument|field|option) )?is (?:not supported|unsupported|deprecated|not allowed"
    r"|not permitted|no longer supported) (?:with|by|for|on|in)"
    r" (?:this|the) (?!(?:plan|region|account|tier|organi[sz]ation)\b)",
    r"(?:(?<!tool )(?<!model )(?<!function )(?<!role )(?<!role: )(?<!value )(?<!=)<quoted> (?:(?:is|are) )?not "
    r"(?:supported|allowed|permitted)|^<name> is not supported"
    r"|(?<![.\]])<snake> (?:(?:is|are) )?(?:not (?:supported|permitted)|unsupported)"
    r"|does(?: not|n't) support <snake>(?=[.,;!)]|\s*$))(?! to\b)(?! (?:in|at|on|for|by|with) (?:this|your|the) "
    r"(?:plan|region|account|tier|organi[sz]ation|key)\b)",
    r"parameter @<name>@ specified in (?:the )?request is not (?:valid|supported)[^.\n]{0,40}not support",  # Volcengine
    # xAI, LiteLLM
    r"does(?: not|n't) support (?:the )?parameters?:? [^.\n]{0,120}?<name>",
    r"(?<!role['\"`] )(?<!role )does(?: not|n't) support (?:the |setting )?<quoted>(?! ?(?:=|:|value|role))",
    r"does(?: not|n't) support (?:the )?<name> parameter",
    r"argument not supported on this model: <name>",
    # Fireworks: github.com/anomalyco/opencode/issues/11134
    r"(?:parameter |argument )?@<name>@ (?:is|are) (?:immutable|fixed|read.?only)\b",
    r"(?:parameter|argument|field|option) @<name>@ (?:is|are) (?:not|un|in)(?: ?supported|valid for this| allowed"
    r"| permitted| recogni[sz]ed| accepted|known)",
    r"(?:does not|doesn't|do not|can't|cannot) (?:accept|allow|take|recogni[sz]e|set|specify) (?:the )?"
    r"(?:parameter |argument |field )?<quoted>(?! (?:above|below|over|to|greater|less|with(?! (?:this|the) model)"
    r"|and|when|while|together))",
    # Python: github.com/langbot-app/LangBot/issues/828
    r"unexpected keyword argument:? @<name>@",
    # JSON Schema's own wording, and zod's
    r"additional properties are not allowed \([^)\n]{0,200}?<quoted>[^)\n]{0,200}? (?:was|were) unexpected\)"
    r"(?! - .?(?:tools|messages|functions))",
    r"unrecognized keys?(?:\(s\))? in object: [^\n]{0,120}?<quoted>",
    # Gemini
    r"unknown name @<name>@: cannot find field",
    # Servers in Rust, such as Bedrock's and DeepSeek's, and in Go
    r"unknown field:? @<name>@(?!@ in @(?:messages|tools|functions)\b)",
    r"@<name>@\s?(?:参数|字段)?(?:无效|非法)[^\n]{0,6}不支持|(?:非法|无效)的?参数[:：]\s?@<name>@(?=$|[\s,，。;；)])",
    # Chinese: "doesn't support", "unknown", "not allowed", "can't be changed"
    r"(?:不支持|不支援|未知|不允许|禁止)(?:的|使用|设置|传入|传递)?(?:请求)?(?:参数|字段)?[:：]?\s{0,2}@<name>@"
    r"(?!\s?(?:角色|消息|等于|大于|小于|为|值))",
    r"(?:参数|字段)[:：]?\s{0,2}@<name>@\s{0,2}(?:参数|字段)?(?:不支持|不被支持|不支援|未知|不允许|不可修改)"
    r"(?!\s?(?:等于|大于|小于|超过|为|值|设置为))",
    r"@<name>@\s{0,2}(?:参数|字段)?(?:不支持|不被支持|不受支持|不可修改)(?!\s?(?:等于|大于|小于|超过|为|值|设置为))",
)


def unsupported(*names: str) -> Words:
    """The wordings for a parameter that the model doesn't accept; xAI writes its name in camelCase."""
    name = "|".join(re.escape(name).replace("_", "_?") for name in names)
    bare = rf"(?<![A-Za-z0-9_])(?:{name})(?![A-Za-z0-9_])"
    snake = "|".join(re.escape(name) for name in names if "_" in name) or "(?!)"
    snake = rf"(?<![A-Za-z0-9_])(?:{snake})(?![A-Za-z0-9_])"
    quoted = rf"[\"'`“\\]{{1,4}}(?:{name})[\"'`”\\]{{1,4}}"
    return Words(
        *(words.replace("<name>", bare).replace("<quoted>", quoted).replace("<snake>", snake) for words in _UNSUPPORTED)
    )
