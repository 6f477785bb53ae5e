"""Report a context overflow in the wording that makes Claude Code compact the conversation or lower ``max_tokens``.

Claude Code recovers from ``prompt is too long: N tokens > M maximum`` and from ``input length and `max_tokens` exceed
context limit: N + O > M``; any other wording ends the session. Every provider has its own wording.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

# Codes that mean an overflow, whatever the message beside them.
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


# The wordings that contain numbers; ``sum`` is prompt and output together.
_WORDINGS = tuple(
    map(
        _pattern,
        (
            # Claude itself, behind another gateway
            r"prompt is too long: <prompt> tokens > <limit> maximum",
            r"input length and `?max_tokens`? exceed context limit: <prompt> \+ <output> > <limit>",
            # SGLang
            r"maximum context length of <limit> tokens...total of <sum> tokens: <prompt> tokens from the input"
            r"...and <output> tokens for the completion",
            # Hugging Face's TGI
            r"max_new_tokens`? must be <= <limit>\. given: <prompt> `?inputs`? tokens and <output>",
            r"`?inputs`? must have less than <limit> tokens\. given: <prompt>",
            # Cohere
            r"exceeded by <over> tokens...limit for this model is <limit>",
            # vLLM
            r"maximum context length is <limit> tokens...requested <output> output tokens"
            r"...contains at least <prompt>",
            r"too large: <output>...maximum context length is <limit> tokens"
            r" and your request has <prompt> input",
            # OpenAI, and vLLM's older versions
            r"maximum context length is <limit> tokens...(?:resulted in|contains at least) <prompt>",
            # OpenAI, DeepSeek and OpenRouter, if the output's share is given
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

# Groq answers 413 to a request that alone exceeds the budget of a minute: waiting never helps.
_TOKENS_PER_MINUTE = _pattern(r"tokens per minute(?:...limit <limit>, requested <prompt>)?")

# Everything else is recognized by two phrases: what is too long, and that it is too long. An error about `max_tokens`
# alone, a rate, or a number of something else is not an overflow.
_TOO_LONG = re.compile(
    r"exceed|too (?:long|large|many|big)|longer than|larger than|greater than|more than|less than|at most|overflow"
    r"|\bover\b|beyond|not enough|doesn't fit|does not fit|must be <=|超过|超出|超长|超限|过长|大于|不能超"
    r"|最长|缩短|太长|过多|不足",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"context.{0,12}(?:length|window|size|limit)|(?:context|n_ctx)\b.{0,60}(?:overflow|token)"
    r"|\b(?:input|prompt|request)s?\b(?![\[.]).{0,60}(?:length|tokens?\b)"
    r"|(?:length|number|count) of (?:the )?(?:input|prompt)|(?:length|number|count) of tokens.{0,40}(?:prompt|input)"
    r"|tokens? in (?:the )?(?:request|prompt|input)|prompt(?: is)? (?:too|exceeds|超长|过长)|prompt is longer"
    r"|(?:conversation|messages?|history)\b.{0,24}tokens|total tokens"
    r"|input (?:is )?(?:too long|too large)|token limit|max_seq_len|max_prompt_tokens|max_input_tokens|sequence length"
    r"|上下文|提示词|输入.{0,16}(?:长度|过长|超长|token)|请求.{0,8}(?:长度|token)|(?:对话|会话|消息|文本).{0,6}(?:长度|过长|超长)"
    r"|token.{0,3}(?:总数|数量|总量|总长|超)|内容.{0,4}(?:太长|过长)|\bn_tokens\b|\bwindow\b.{0,20}tokens?\b",
    re.IGNORECASE | re.DOTALL,
)
_RATE = re.compile(
    r"\bper[ -](?:min|minute|hour|day|second|month)\b|/ ?min\b|\b(?:tpm|rpm|tpd|rpd)\b|rate.?limit|quota"
    r"|\b(?:seconds?|minutes?|hours?|today)\b|\boverload|\bqueue|time.?(?:limit|out)|\bretries\b|\bdaily\b|\bmonthly\b"
    r"|\b(?:your|subscription|free) plan\b|\b(?:this|your|api)[ _-](?:api[ _-])?key\b"
    r"|每分钟|每天|每日|每月|今日|套餐|额度|限额|余额|配额|频率|速率|限流",
    re.IGNORECASE,
)
_OTHER_COUNT = re.compile(
    r"(?:number|count|amount) of (?:the )?(?:tools?|functions?|images?|messages|stop|files|documents|videos|choices)"
    r"|(?:too many|at most \S{1,9}|more than \S{1,9}|maximum of \S{1,9}|limit of \S{1,9}) "
    r"(?:tools?|functions?|images?|image_url|messages|stop sequences|files|documents|requests|characters)"
    r"|description|image (?:size|dimensions?|width|height)|(?:tool|function) (?:name|calls?)|file size"
    r"|\btools?[\[.]\d|\bfunctions?\.|\bpixels?\b|resolution|\bembedding|\bschema\b|user_id|safety_identifier|prompt_cache_key|logit_bias|logprobs|\bmetadata\b"
    r"|(?:工具|图片|图像).{0,6}(?:数量|个数|大小)|描述|像素|请求体",
    re.IGNORECASE,
)
_OUTPUT_ALONE = re.compile(
    r"max_(?:completion_|output_|new_)?tokens|(?:completion|output|new|generated) tokens|thinking_budget|budget_tokens"
    r"|最大输出|输出.{0,6}token|token.{0,4}输出",
    re.IGNORECASE,
)
_INPUT_WORD = re.compile(
    r"\b(?:inputs?|prompt|message|request contains|n_ctx|context)|prompt_tokens|max_seq_len|输入|上下文|提示",
    re.IGNORECASE,
)
_INPUT_BESIDE = re.compile(r"\b(?:inputs?|prompt|messages?|request contains)\b|prompt_tokens|输入|提示", re.IGNORECASE)
_QUOTES = " \"'`"
_LIMIT_WORD = re.compile(
    r"limit|max|window|context (?:length|size)|n_ctx|only|allow|support|at most|up to|less than|larger than"
    r"|longer than|greater than|more than|exceed(?!ed by)s?|budget|上限|最大|最长|限制|超过|超出|不能|大于",
    re.IGNORECASE,
)
_OUTPUT_WORD = re.compile(rf"{_OUTPUT_ALONE.pattern}|\b(?:completion|output|new|generated)\b|输出|生成", re.IGNORECASE)
_TOTAL_WORD = re.compile(r"total|\bsum\b|requested|together|=|总|合计", re.IGNORECASE)
_OVER = re.compile(r"(?: tokens)?\)? ?(?:/|>=?) ?\(?")  # between the tokens of a prompt and the limit
_DIGITS = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?![\w.]?\d)|(?<![\w.])\d{3,10}(?!\w)(?!\.0?[1-9]|\.\d\d)")
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

    ``text`` is the provider's message, ``codes`` are its code and type in lower case. ``prompt`` and ``limit`` are
    token counts from separate fields (llama.cpp: ``n_prompt_tokens`` and ``n_ctx``). ``asked`` is the number of output
    tokens that the request asked for: a prompt below the limit is too long only together with them.
    """
    coded = not _CODES.isdisjoint(codes)
    if coded and prompt is not None and limit is not None and prompt > limit:
        return _too_long(prompt, limit)
    per_minute = _TOKENS_PER_MINUTE.search(text) if status == 413 else None
    found = per_minute or next(filter(None, (wording.search(text) for wording in _WORDINGS)), None)
    if found:
        numbers = {name: int(digits.replace(",", "")) for name, digits in found.groupdict().items() if digits}
        return _from_numbers(**numbers, asked=asked) or _without_numbers(text)
    numbers = _numbers_in(text, asked)
    if not coded and not _is_overflow(text, status, numbers, asked):
        return None
    return _from_numbers(**numbers, asked=asked) or _without_numbers(text)


def _is_overflow(text: str, status: int | None, numbers: Mapping[str, int], asked: int | None) -> bool:
    """Whether a text says that the prompt, alone or with the output, is too long for the model."""
    if _SURE.search(text):
        return True
    if status in (401, 403, 429) or not _PROMPT.search(text) or _RATE.search(text) or _OTHER_COUNT.search(text):
        return False
    if _OUTPUT_ALONE.search(text) is not None and "limit" not in numbers:
        of_both = _INPUT_WORD if _OUTPUT_ALONE.match(text.lstrip(_QUOTES)) is None else _INPUT_BESIDE
        return "output" not in numbers and _TOO_LONG.search(text) is not None and of_both.search(text) is not None
    return _TOO_LONG.search(text) is not None or _from_numbers(**numbers, asked=asked) is not None


# Alibaba; Groq
_SURE = re.compile(
    r"range of input length should be|reduce the length of (?:the |your )?(?:messages|prompt|input)", re.IGNORECASE
)


def _numbers_in(text: str, asked: int | None) -> dict[str, int]:
    """The tokens of the prompt and the output and the model's limit, identified by the words before the numbers.

    Empty if they can't be identified; only the output if that is what exceeds the limit.
    """
    found = list(islice(_DIGITS.finditer(text), _MAX_NUMBERS + 1))
    words: dict[int, str] = {}  # what precedes each number
    over: list[tuple[int, int]] = []
    end = 0
    last = None
    for match in found:
        before = text[max(end, match.start() - 60) : match.start()]
        if _ERROR_NUMBER.search(before):
            end = match.end()
            continue
        value = int(match[0].replace(",", ""))
        if last is not None and _OVER.fullmatch(text[end : match.start()]):
            over.append((last, value))
        words[value] = words.get(value, "") + "\n" + before
        last, end = value, match.end()
    if not 2 <= len(words) <= 4 or len(found) > _MAX_NUMBERS:
        return {}
    outputs = [value for value in words if value == asked or _OUTPUT_WORD.search(words[value].rpartition(",")[2])]
    if len(words) == 2:
        numbers = _pair(words, over)
        before = words[numbers["prompt"]]
        if numbers["prompt"] not in outputs:
            return numbers
        of_both = _TOTAL_WORD.search(before) and _INPUT_WORD.search(before)
        return {"sum": numbers["prompt"], "limit": numbers["limit"]} if of_both else {"output": numbers["prompt"]}
    if len(outputs) != 1:
        return {}
    output = outputs[0]
    rest = {value: before for value, before in words.items() if value != output}
    for value in rest if len(rest) == 3 else ():
        if value + output in rest:  # the sum is given, too
            (limit,) = rest.keys() - {value, value + output}
            return {"prompt": value, "output": output, "limit": limit}
    if len(rest) == 3:
        return {}
    numbers = _pair(rest, over)
    before = rest[numbers["prompt"]]
    if _TOTAL_WORD.search(before) and not _INPUT_WORD.search(before) and numbers["prompt"] > output:
        return {"sum": numbers["prompt"], "output": output, "limit": numbers["limit"]}
    return {**numbers, "output": output}


def _pair(words: Mapping[int, str], over: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Which of two numbers is the prompt and which the limit."""
    if len(over) == 1 and set(over[0]) == words.keys():
        return {"prompt": over[0][0], "limit": over[0][1]}
    limits = [value for value, before in words.items() if _LIMIT_WORD.search(before)]
    limit = limits[0] if len(limits) == 1 else min(words)  # by size: what is too large exceeds the limit
    (prompt,) = words.keys() - {limit}
    return {"prompt": prompt, "limit": limit}


def _from_numbers(
    prompt: int = 0, limit: int = 0, output: int = 0, sum: int = 0, over: int = 0, asked: int | None = None
) -> str | None:
    """The message for the numbers found, or None if they don't show what is too long."""
    prompt = prompt or (limit + over if over else 0)
    if sum and output:  # the tools may be counted separately from the messages
        prompt = max(prompt, sum - output)
    output = output or asked or 0
    if sum and not prompt:
        prompt = sum - output if sum > output else sum
    if prompt > limit:
        return _too_long(prompt, limit)
    if prompt and prompt + output > limit:
        return (
            f"input length and `max_tokens` exceed context limit: {prompt} + {output} > {limit}, "
            "decrease input length or `max_tokens` and try again"
        )
    return None


def _too_long(prompt: int, limit: int) -> str:
    return f"prompt is too long: {prompt} tokens > {limit} maximum"


def _without_numbers(text: str) -> str:
    return f"prompt is too long ({text})" if text else "prompt is too long"
