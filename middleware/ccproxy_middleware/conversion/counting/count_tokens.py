"""The number of tokens of a request: counted here, or by the provider if the profile says that it can."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import anyio
import anyio.to_thread

from ...toolkit.errors import ApiError, StreamAborted
from ..providers import Profile
from .tokens import part_tokens

logger = logging.getLogger("ccproxy.conversion")

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""Post a JSON object to a path of the provider. Returns the answer's JSON, or raises ApiError."""

Count = Callable[[Mapping[str, Any], Any], int]

T = TypeVar("T")

_ATTACHMENTS = ("image_url", "file")
# The fields of a Responses body that OpenAI's count accepts (openai, types/responses/input_token_count_params.py)
_COUNTED = ("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text")


class TokenCounter:
    """Counts the tokens of requests to upstream, as the profile's switch ``count_tokens`` says.

    If the provider fails to count, the request is counted here, and a warning is logged once.
    """

    limit = 5.0  # timeout in seconds for the provider; a client that waits for a count displays nothing meanwhile

    def __init__(self) -> None:
        self._warned = False

    async def __call__(self, body: Mapping[str, Any], profile: Profile, ask: Ask, count: Count) -> int:
        """The tokens of a body for upstream; ``count`` counts it here, with the profile's tokenizer."""
        by_provider = profile.api == "responses" if profile.count_tokens == "upstream" else True
        if profile.count_tokens != "local" and by_provider:
            try:
                with anyio.fail_after(self.limit):
                    return await count_by_provider(body, profile.count_tokens, ask)
            except (ApiError, StreamAborted, TimeoutError) as error:
                self._warn(profile.count_tokens, error)
        # In a thread: the first count with o200k loads the tokenizer, and a long request takes a while.
        return await anyio.to_thread.run_sync(count, body, profile.tokenizer)

    def _warn(self, counter: str, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        reason = str(error) or type(error).__name__
        logger.warning("count_tokens is %s, but the provider did not count (%s): counting here", counter, reason)


async def count_by_provider(
    body: Mapping[str, Any], counter: Literal["vllm", "llama.cpp", "upstream"], ask: Ask
) -> int:
    """The provider's own count. For a chat completions body, images and files are counted here and added.

    For a Responses body, ``upstream`` is OpenAI's own ``POST /v1/responses/input_tokens``.

    vLLM has ``POST /tokenize`` for conversations. llama.cpp renders a conversation with ``POST /apply-template`` and
    counts the text with ``POST /tokenize``. Both paths are beside ``/v1``, not below it. Raises ApiError, also for an
    answer without the count. https://docs.vllm.ai (entrypoints/serve/tokenize), llama.cpp's tools/server/README.md
    """
    if counter == "upstream":
        question = {name: body[name] for name in _COUNTED if name in body}
        return _field(await ask("/v1/responses/input_tokens", question), "input_tokens", int)
    messages, attached = _without_attachments(body["messages"])
    question = {"model": body["model"], "messages": messages}
    question |= {name: body[name] for name in ("tools", "chat_template_kwargs") if name in body}
    if counter == "vllm":
        answer = await ask("/tokenize", {**question, "add_generation_prompt": True})
        return attached + _field(answer, "count", int)
    prompt = _field(await ask("/apply-template", question), "prompt", str)
    text = {"model": body["model"], "content": prompt, "add_special": True, "parse_special": True}
    return attached + len(_field(await ask("/tokenize", text), "tokens", list))


def _without_attachments(messages: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """The messages without images and files, for which a tokenizer has no tokens, and the number of tokens of those."""
    plain: list[Mapping[str, Any]] = []
    tokens = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            attachments = [part for part in content if part["type"] in _ATTACHMENTS]
            tokens += sum(part_tokens(part) for part in attachments)
            if attachments:
                message = {**message, "content": [part for part in content if part["type"] not in _ATTACHMENTS]}
        plain.append(message)
    return plain, tokens


def _field(answer: Any, name: str, type_: type[T]) -> T:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, type_):
        raise ApiError(502, "api_error", f"the provider's answer has no '{name}'")
    return value
