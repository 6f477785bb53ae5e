"""The number of tokens of a converted request, as accurately as possible without asking the provider.

The chat body that would be sent is counted. Clients use these numbers to decide when to compact, so an error should be
too high rather than too low. None of them is a count of Claude's own tokens.
"""

import logging
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal

from ...toolkit.json import dumps
from .documents import pdf_pages
from .images import image_tokens

logger = logging.getLogger("ccproxy.conversion")

PER_REQUEST = 3
PER_MESSAGE = 4
PER_TOOL = 8
WITH_TOOLS = 12
_PER_PDF_PAGE = 2000

_CHUNK = 50_000  # characters passed to the tokenizer at once; it refuses more than 200,000 tokens

# The first bytes in UTF-8 of kana, ideographs and Hangul (U+3000 to U+DFFF) and of their full-width forms.
_CJK_LEADS = bytes([*range(0xE3, 0xEE), 0xEF])


def estimate_tokens(text: str) -> int:
    """One token for each 3.6 bytes of UTF-8, rounded up, and one for each CJK character."""
    if text.isascii():
        return (len(text) * 5 + 17) // 18
    data = text.encode("utf-8", "surrogatepass")
    cjk = len(data) - len(data.translate(None, _CJK_LEADS))
    return cjk + ((len(data) - 3 * cjk) * 5 + 17) // 18


def estimate_request(body: Mapping[str, Any]) -> int:
    """Estimated tokens of a chat completions body: cheap enough for every request."""
    return _count(body, estimate_tokens)


def count_request(body: Mapping[str, Any], tokenizer: Literal["o200k", "estimate"]) -> int:
    """Tokens of a chat completions body, by OpenAI's ``o200k_base`` if the profile selects it.

    The first use loads the tokenizer (about a second, 130 MB): call it in a worker thread. Without ``bpe-openai`` the
    result is the estimate.
    """
    return _count(body, tokenizer_count(tokenizer))


def tokenizer_count(tokenizer: Literal["o200k", "estimate"]) -> Callable[[str], int]:
    """The function that counts the tokens of a text."""
    return _o200k() if tokenizer == "o200k" else estimate_tokens


def part_tokens(part: Mapping[str, Any]) -> int:
    """Estimated tokens of one part of a message's content: a text, an image or a file."""
    return _part(part, estimate_tokens)


@cache
def _o200k() -> Callable[[str], int]:
    try:
        with warnings.catch_warnings(action="ignore"):  # from its import, which reads its tables in an outdated way
            encoding = import_module("bpe_openai").get_encoding("o200k_base")
    except ImportError as error:
        logger.warning("tokens are estimated: the tokenizer of bpe-openai is not there (%s)", error)
        return estimate_tokens

    def count(text: str) -> int:
        chunks = (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))
        return sum(len(encoding.encode_ordinary(chunk)) for chunk in chunks)

    return count


def _count(body: Mapping[str, Any], count: Callable[[str], int]) -> int:
    total = PER_REQUEST
    for message in body.get("messages") or ():
        total += PER_MESSAGE + _message(message, count)
    tools = body.get("tools") or ()
    if tools:
        total += WITH_TOOLS
    for tool in tools:
        total += PER_TOOL + count(_compact(tool.get("function", tool)))
    schema = (body.get("response_format") or {}).get("json_schema")
    if schema:
        total += count(_compact(schema))
    return total


def _message(message: Mapping[str, Any], count: Callable[[str], int]) -> int:
    content = message.get("content")
    total = 0
    if isinstance(content, str):
        total += count(content)
    elif isinstance(content, list):
        total += sum(_part(part, count) for part in content)
    for name in ("name", "refusal", "reasoning_content", "reasoning"):
        text = message.get(name)
        if isinstance(text, str):
            total += count(text)
    if message.get("reasoning_details"):
        total += count(_compact(message["reasoning_details"]))
    for call in message.get("tool_calls") or ():
        function = call.get("function", {})
        total += count(function.get("name", "")) + count(function.get("arguments", ""))
    return total


def _part(part: Any, count: Callable[[str], int]) -> int:
    """One part of a message's content."""
    if isinstance(part, str):
        return count(part)
    kind = part.get("type")
    if kind == "text":
        return count(part.get("text", ""))
    if kind == "image_url":
        image = part.get("image_url", "")
        return image_tokens(image if isinstance(image, str) else image.get("url", ""))
    if kind == "file":
        file = part.get("file", {})
        return count(file.get("filename", "")) + _PER_PDF_PAGE * pdf_pages(file.get("file_data", ""))
    return count(_compact(part))


def _compact(value: Any) -> str:
    return dumps(value).decode()
