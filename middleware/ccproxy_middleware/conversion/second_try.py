"""Retry a refused request in another way, if the refusal says which.

The retry may use other switches, leave out the provider's own reasoning, or use the other API.
"""

import re
from typing import Any

from ..toolkit.json import dumps
from .context import Api, ConvertedRequest
from .providers import Correction, Profile, Words, find_correction, refusal_words
from .responses import find_responses_correction, reasoning_refused

_ASK_RESPONSES = Words(  # OpenAI
    r"only supported in v1/responses",
    r"not a chat model and thus not supported in the v1/chat/completions endpoint",
    r"/v1/chat/completions is not supported",
    r"\buse /v1/responses",
)
_ASK_CHAT = Words(r"not supported by the responses api")


def second_try(status: int, body: bytes, request: ConvertedRequest) -> Correction | None:
    """What to do about a refusal, or None if there is nothing. ``status`` and ``body`` are the provider's answer."""
    if 200 <= status < 300:
        return None
    sent, profile = request.body, request.context.profile
    if request.api == "chat":
        correction = find_correction(status, body, sent, profile)
    else:
        words = refusal_words(body)
        correction = reasoning_refused(words, sent, profile)
        if correction is not None and status < 500:
            return correction
        correction = find_responses_correction(status, body, sent, profile)
    other = _other_api(status, body, request)
    if other is None or not _may_switch(profile):
        return correction
    otherwise = None
    if correction is not None:
        switches = {**correction, "api": request.api}
        otherwise = Correction(switches, lasting=correction.lasting, refusal=correction.refusal)
    return Correction({"api": other}, lasting=True, refusal=refusal_words(body), otherwise=otherwise)


def second_try_after(error: Any, request: ConvertedRequest) -> Correction | None:
    """The same for the error of a failed response, or of an ``error`` event."""
    return second_try(400, dumps({"error": error}), request)


def fixed_api(status: int, body: bytes, request: ConvertedRequest) -> str:
    """The text that an error needs if the other API is required, but the user has set the API explicitly."""
    if 200 <= status < 300 or _may_switch(request.context.profile):
        return ""
    other = _other_api(status, body, request)
    return "" if other is None else f" (api is {request.api} here; with api {other}, or auto, it is asked otherwise)"


def _may_switch(profile: Profile) -> bool:
    return bool(profile.options.get("api", "auto") == "auto")


def _other_api(status: int, body: bytes, request: ConvertedRequest) -> Api | None:
    """The API that a refusal calls for."""
    words = refusal_words(body)
    if request.api == "chat":
        return "responses" if 400 <= status < 500 and _ASK_RESPONSES.search(words) else None
    if status == 501 or (status == 400 and _ASK_CHAT.search(words)):
        return "chat"
    if status not in (404, 405):
        return None
    named = re.search(rf"(?<![\w-]){re.escape(request.upstream_model)}(?![\w-])", words)
    return None if named or "model_not_found" in words else "chat"
