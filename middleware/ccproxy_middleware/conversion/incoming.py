"""What is checked about a request before it is converted."""

import re
from typing import Any

from starlette.types import Scope

from ..toolkit.asgi import LARGE, BufferedBody, TooDeep, TooManyNodes, get_header
from ..toolkit.errors import invalid_request, nested_too_deeply

_SESSION_ID = re.compile(r"session(?:_id)?[_\":\s]+([0-9a-fA-F-]{36})")
_SESSION_ID_MAX = 100

# A request is converted in a thread if that takes over 50 ms.
_SMALL = 128 * 1024  # bytes: smaller ones never do
_MANY_BLOCKS = 4000


def session_id(scope: Scope, data: Any) -> str | None:
    """Claude Code's session: from its header, or from ``metadata.user_id``, where older versions put it."""
    if known := get_header(scope["headers"], b"x-claude-code-session-id"):
        return known[:_SESSION_ID_MAX]
    metadata = data.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    found = _SESSION_ID.search(user_id) if isinstance(user_id, str) else None
    return found[1] if found else None


def takes_long(body: BufferedBody) -> bool:
    """Whether converting a request would block the event loop for a while, and with it all other streams."""
    if body.size < _SMALL:
        return False
    if body.size > LARGE:
        return True
    messages = body.data.get("messages") if isinstance(body.data, dict) else None
    if not isinstance(messages, list):
        return False
    blocks = len(messages)
    for message in messages:
        content = message.get("content") if type(message) is dict else None
        if type(content) is list:
            blocks += len(content)
    return blocks > _MANY_BLOCKS


async def check_json(body: BufferedBody) -> None:
    """Raise ApiError for a body that is not JSON, or has too many values."""
    try:
        if body.size > LARGE:
            await body.work(lambda: body.data)
        else:
            _ = body.data
    except TooManyNodes as error:
        raise invalid_request(str(error)) from None
    except ValueError as error:
        raise invalid_request(f"The request body is not valid JSON: {error}") from None


def check_depth(body: BufferedBody) -> None:
    """Raise ApiError for a body that can't be serialized."""
    try:
        _ = body.body
    except TooDeep:
        raise nested_too_deeply() from None
