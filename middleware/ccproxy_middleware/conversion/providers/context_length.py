"""Context overflow, told in the words that make Claude Code compact the conversation or lower ``max_tokens``.

Claude Code recovers from ``prompt is too long: N tokens > M maximum`` and
from ``input length and `max_tokens` exceed context limit: N + O > M``; at any other wording
the session stops. Every provider has its own.
"""

import re
from collections.abc import Collection

# Codes that mean an overflow, whatever the words beside them.
_CODES = frozenset(
    {
        "context_length_exceeded", "exceed_context_size_error", "context_exceeded",
        "model_max_prompt_tokens_exceeded", "tokens_limit_reached",  # GitHub
        "tokens_too_long",  # Baidu
        "1261",  # Z.ai: "Prompt exceeds max length"
    }
)  # fmt: skip

_NUMBER = r"(?P<{}>\d[\d,]{{0,14}})"


def _pattern(template: str) -> re.Pattern[str]:
    """Compile one wording: ``<name>`` is a number, ``...`` is any text of bounded length."""
    source = re.sub(r"<(\w+)>", lambda match: _NUMBER.format(match[1]), template).replace("...", ".{0,400}?")
    return re.compile(source, re.IGNORECASE | re.DOTALL)


# The wordings that hold numbers; ``sum`` is prompt and output together.
_WORDINGS = tuple(
    map(
        _pattern,
        (
            # Claude itself, behind another gateway
            r"prompt is too long: <prompt> tokens > <limit> maximum",
            r"input length and `?max_tokens`? exceed context limit: <prompt> \+ <output> > <limit>",
            # vLLM
            r"maximum context length is <limit> tokens...requested <output> output tokens"
            r"...contains at least <prompt>",
            r"too large: <output>...maximum context length is <limit> tokens"
            r" and your request has <prompt> input",
            # OpenAI, and vLLM's older versions
            r"maximum context length is <limit> tokens...(?:resulted in|contains at least) <prompt>",
            # OpenAI, DeepSeek and OpenRouter, where the output's share is known
            r"maximum context length is <limit>...requested (?:about )?<sum> tokens...\(<prompt> "
            r"(?:in the messages|in your prompt|of text input)...<output> (?:in|for) the (?:completion|output)",
            # Gemini
            r"input token count \(?<prompt>\)? exceeds the maximum number of tokens allowed \(?<limit>",
            # Moonshot and Azure
            r"configured limit of <limit> tokens...resulted in <prompt>",
            # Mistral
            r"prompt contains <prompt> tokens...too large for model with <limit> maximum",
            r"prompt contains <prompt> tokens...(?:maximum|limit)\D{0,40}<limit>",
            # Ollama, SGLang
            r"input \(<prompt> tokens\)...context length \(<limit> tokens\)",
            # xAI
            r"maximum prompt length is <limit> but the request contains <prompt>",
            # SiliconFlow: prompt and output together
            r"max_total_tokens \(<sum>\)...max_seq_len \(<limit>",
            # Cerebras
            r"current length is <prompt> while limit is <limit>",
        ),
    )
)

# Groq answers 413 to a request that alone is over the minute's budget: waiting never helps.
_TOKENS_PER_MINUTE = _pattern(r"tokens per minute(?:...limit <limit>, requested <prompt>)?")

# Everything else is read by its words: what is too long, and that it is. `max_tokens` alone, a rate, or a number of
# something else are other errors.
_TOO_LONG = re.compile(
    r"exceed|too (?:long|large|many|big)|longer than|larger than|greater than|more than|less than|at most|overflow"
    r"|\bover\b|beyond|not enough|doesn't fit|does not fit|超过|超出|超长|超限|过长|大于|不能超|最长",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"context.{0,12}(?:length|window|size|limit)|(?:context|n_ctx)\b.{0,60}(?:overflow|token)|(?:input|prompt|request).{0,24}(?:length|tokens?\b)"
    r"|(?:length|number|count) of (?:the )?(?:input|prompt)|(?:length|number|count) of tokens.{0,40}(?:prompt|input)"
    r"|tokens? in (?:the )?(?:request|prompt|input)|prompt(?: is)? (?:too|exceeds|超长|过长)|prompt is longer"
    r"|input (?:is )?(?:too long|too large)|token limit|max_seq_len|max_prompt_tokens|max_input_tokens|sequence length"
    r"|上下文|提示词|输入.{0,8}(?:长度|过长|超长|token)|请求.{0,8}(?:长度|token)",
    re.IGNORECASE | re.DOTALL,
)
_RATE = re.compile(
    r"\bper[ -](?:minute|hour|day|second|month)|/ ?min\b|\b(?:tpm|rpm|tpd|rpd)\b|rate.?limit|quota"
    r"|每分钟|每天|频率|速率|限流",
    re.IGNORECASE,
)
_OTHER_COUNT = re.compile(
    r"(?:number|count|amount) of (?:the )?(?:tools?|functions?|images?|messages|stop|files|documents|videos|choices)"
    r"|(?:too many|at most \S{1,9}|more than \S{1,9}|maximum of \S{1,9}|limit of \S{1,9}) "
    r"(?:tools?|functions?|images?|image_url|messages|stop sequences|files|documents|requests|characters)"
    r"|description|image (?:size|dimensions?|width|height)|(?:tool|function) (?:name|calls?)|file size"
    r"|(?:工具|图片|图像).{0,6}(?:数量|个数|大小)",
    re.IGNORECASE,
)
_OUTPUT_ALONE = re.compile(
    r"max_(?:completion_|output_|new_)?tokens|max(?:imum)? (?:completion|output) tokens|thinking_budget|budget_tokens",
    re.IGNORECASE,
)
_INPUT_WORD = re.compile(
    r"\b(?:input|prompt|message|request contains|n_ctx|context)|prompt_tokens|max_seq_len|输入|上下文|提示",
    re.IGNORECASE,
)
_LIMIT_WORD = re.compile(
    r"limit|max|context (?:length|window|size)|n_ctx|only|allow|support|at most|up to|less than|larger than|longer than"
    r"|greater than|more than|exceeds?|budget|上限|最大|最长|限制|超过|超出|不能|大于",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?![\w.]?\d)|(?<![\w.])\d{3,10}(?!\w)(?!\.\d)")
_ERROR_NUMBER = re.compile(r"(?:code|error|status|http|id)\W{0,4}$", re.IGNORECASE)
_MAX_NUMBERS = 12


def overflow_message(
    text: str,
    *,
    codes: Collection[str] = (),
    status: int | None = None,
    prompt: int | None = None,
    limit: int | None = None,
    asked: int | None = None,
) -> str | None:
    """Claude's wording for a provider's context overflow, or None if the error is another one.

    ``text`` is the provider's message, ``codes`` its lower-case code and type, ``prompt`` and ``limit`` are
    token counts that came as fields (llama.cpp: ``n_prompt_tokens`` and ``n_ctx``). ``asked`` is the number of output
    tokens that the request asked for: a prompt that is under the limit is too long only together with them.
    """
    coded = not _CODES.isdisjoint(codes)
    if coded and prompt is not None and limit is not None and prompt > limit:
        return _too_long(prompt, limit)
    per_minute = _TOKENS_PER_MINUTE.search(text) if status == 413 else None
    found = per_minute or next(filter(None, (wording.search(text) for wording in _WORDINGS)), None)
    if found:
        numbers = {name: int(digits.replace(",", "")) for name, digits in found.groupdict().items() if digits}
        return _from_numbers(**numbers, asked=asked) or _without_numbers(text)
    if not coded and not _is_overflow(text, status):
        return None
    pair = _prompt_and_limit(text)
    return (_from_numbers(prompt=pair[0], limit=pair[1], asked=asked) if pair else None) or _without_numbers(text)


def _is_overflow(text: str, status: int | None) -> bool:
    """Whether a text says that the prompt, alone or with the output, is too long for the model."""
    if _RANGE_OF_INPUT.search(text):
        return True
    if not _TOO_LONG.search(text) or not _PROMPT.search(text):
        return False
    if status == 429 or _RATE.search(text) or _OTHER_COUNT.search(text):
        return False
    return _OUTPUT_ALONE.search(text) is None or _INPUT_WORD.search(text) is not None


_RANGE_OF_INPUT = re.compile("range of input length should be", re.IGNORECASE)  # Alibaba


def _prompt_and_limit(text: str) -> tuple[int, int] | None:
    """The tokens of the prompt and the model's limit, by the words in front of two numbers; None if they don't show."""
    numbers: list[tuple[int, bool]] = []
    end = 0
    for found in _DIGITS.finditer(text):
        before = text[max(end, found.start() - 60) : found.start()]
        end = found.end()
        if _ERROR_NUMBER.search(before):
            continue
        numbers.append((int(found[0].replace(",", "")), _LIMIT_WORD.search(before) is not None))
        if len(numbers) > _MAX_NUMBERS:
            return None
    values = list(dict.fromkeys(value for value, _ in numbers))
    if len(values) != 2:
        return None
    limits = [value for value, is_limit in numbers if is_limit]
    if len(set(limits)) == 1:
        limit = limits[0]
        return next(value for value in values if value != limit), limit
    return max(values), min(values)  # no words tell: too much is more than the limit


def _from_numbers(
    prompt: int = 0, limit: int = 0, output: int = 0, sum: int = 0, asked: int | None = None
) -> str | None:
    """The message for the numbers found, or None if they don't show what is too long."""
    if sum and output:  # the tools may be counted apart from the messages
        prompt = max(prompt, sum - output)
    output = output or asked or 0
    if sum and not prompt:
        prompt = sum - output if sum > output else sum
    if prompt > limit:
        return _too_long(prompt, limit)
    if prompt + output > limit:
        return (
            f"input length and `max_tokens` exceed context limit: {prompt} + {output} > {limit}, "
            "decrease input length or `max_tokens` and try again"
        )
    return None


def _too_long(prompt: int, limit: int) -> str:
    return f"prompt is too long: {prompt} tokens > {limit} maximum"


def _without_numbers(text: str) -> str:
    return f"prompt is too long ({text})" if text else "prompt is too long"
