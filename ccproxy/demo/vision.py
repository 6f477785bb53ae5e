"""``cc-boost demo --vision``: an image for a model that accepts none, described by a vision model."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from .provider import Answer, decide_by_rules

EYES = "demo-eyes"
"""The provider's vision model."""

QUESTION = "What does this dialog ask?"
_SCREENSHOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SEEN = "A dialog with the text `Save changes?` and the buttons Yes and No."


def decide_on_image(body: Mapping[str, Any]) -> Answer:
    """The provider's answer. Raises ValueError, which becomes a 400, for an image if the model accepts none."""
    content = body["messages"][-1]["content"]
    parts = content if isinstance(content, list) else []
    if any(part["type"] == "image_url" for part in parts):
        if body["model"] != EYES:
            raise ValueError("this model does not support image input")
        return Answer(_SEEN)
    if _SEEN in str(content):
        return Answer("It asks whether to save the changes: Yes or No.")
    return decide_by_rules(body)


def converse_with_image(base_url: str, api_key: str, write: Callable[[str], None]) -> list[str]:
    """Ask one question about an image, and print the answer. Returns what did not arrive as it should."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _SCREENSHOT}}
    request = {
        "model": "claude-sonnet-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}],
    }
    headers = {"x-api-key": api_key, "anthropic-version": "2023-06-01"}
    write(f"\nyou      [a screenshot] {QUESTION}\n")
    try:
        answer = httpx.post(f"{base_url}/v1/messages", json=request, headers=headers, timeout=20, trust_env=False)
    except httpx.HTTPError as exc:
        return [f"an answer: {exc or type(exc).__name__}"]
    if answer.status_code != 200:
        return [f"an answer (there was HTTP {answer.status_code})"]
    text = "".join(block.get("text", "") for block in answer.json()["content"])
    write(f"eyes     {_SEEN}\nmodel    {text}\n")
    return [] if "save the changes" in text else ["an answer that knows what stands on the image"]
