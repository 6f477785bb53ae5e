"""Context overflow, told in the words that make Claude Code compact the conversation or lower ``max_tokens``.

Claude Code recovers from ``prompt is too long: N tokens > M maximum`` and
from ``input length and `max_tokens` exceed context limit: N + O > M``; at any other wording
the session stops. Every provider has its own.
"""

import re
from collections.abc import Collection

_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})

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
            r"input length and `max_tokens` exceed context limit: <prompt> \+ <output> > <limit>",
            # vLLM
            r"maximum context length is <limit> tokens...requested <output> output tokens"
            r"...contains at least <prompt>",
            r"too large: <output>...maximum context length is <limit> tokens"
            r" and your request has <prompt> input",
            # OpenAI, and vLLM's older versions
            r"maximum context length is <limit> tokens...(?:resulted in|contains at least) <prompt>",
            # OpenAI, DeepSeek and OpenRouter, where the output's share is known
            r"maximum context length is <limit>...requested (?:about )?<sum> tokens...\(<prompt> "
            r"(?:in the messages|of text input)...<output> (?:in the (?:completion|output))",
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
            # Cerebras
            r"current length is <prompt> while limit is <limit>",
        ),
    )
)

# Groq answers 413 to a request that alone is over the minute's budget: waiting never helps.
_TOKENS_PER_MINUTE = _pattern(r"tokens per minute(?:...limit <limit>, requested <prompt>)?")

# Wordings without both numbers, of providers that give no code either.
_WORDLESS = re.compile(
    r"prompt is too long|input is too long|range of input length should be"
    r"|exceed.{0,60}context (?:length|window|size)|context (?:length|window|size).{0,30}exceeded",
    re.IGNORECASE | re.DOTALL,
)


def overflow_message(
    text: str,
    *,
    codes: Collection[str] = (),
    status: int | None = None,
    prompt: int | None = None,
    limit: int | None = None,
) -> str | None:
    """Claude's wording for a provider's context overflow, or None if the error is another one.

    ``text`` is the provider's message, ``codes`` its lower-case code and type, ``prompt`` and ``limit`` are
    token counts that came as fields (llama.cpp: ``n_prompt_tokens`` and ``n_ctx``).
    """
    coded = not _CODES.isdisjoint(codes)
    if coded and prompt is not None and limit is not None and prompt > limit:
        return _too_long(prompt, limit)
    per_minute = _TOKENS_PER_MINUTE.search(text) if status == 413 else None
    found = per_minute or next(filter(None, (wording.search(text) for wording in _WORDINGS)), None)
    if found:
        numbers = {name: int(digits.replace(",", "")) for name, digits in found.groupdict().items() if digits}
        return _from_numbers(**numbers) or _without_numbers(text)
    return _without_numbers(text) if coded or _WORDLESS.search(text) else None


def _from_numbers(prompt: int = 0, limit: int = 0, output: int = 0, sum: int = 0) -> str | None:
    """The message for the numbers found, or None if they don't show what is too long."""
    if prompt + output <= limit < sum:  # the tools are counted apart from the messages
        prompt = sum - output
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
