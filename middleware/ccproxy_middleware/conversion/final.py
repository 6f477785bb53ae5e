"""A refusal on its way to Claude Code, in the form that it shows at once."""

from starlette.types import Message, Scope, Send

from ..toolkit.errors import ApiError
from ..toolkit.json import loads
from .anthropic import FINAL_STATUS, is_claude_code, is_final


def told_at_once(scope: Scope, send: Send) -> Send:
    """The client's ``send``, where it is Claude Code's for 400s that no repetition can cure with another status."""
    if not is_claude_code(scope["headers"]):
        return send
    held: Message | None = None

    async def send_final(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start" and message["status"] == 400:
            held = message
            return
        if held is not None:
            start, held = held, None
            error = _final_error(message.get("body", b""))
            # With the error itself, so that an outer layer need not guess what the status means.
            await send(start if error is None else {**start, "status": error.status, "ccproxy.error": error})
        await send(message)

    return send_final


def _final_error(body: bytes) -> ApiError | None:
    """The error of this body, if it is final: where ``details`` tell the client what to do, it is not."""
    try:
        error = loads(body)["error"]
        if "details" in error or not is_final(error["message"]):
            return None
        return ApiError(FINAL_STATUS, error["type"], error["message"])
    except (ValueError, KeyError, TypeError):  # a foreign layer's
        return None
