"""Send Claude Code a refusal in the form that it displays at once."""

from starlette.types import Message, Scope, Send

from ...toolkit.errors import ApiError
from ...toolkit.json import loads
from .words import FINAL_STATUS, is_claude_code, is_final


def told_at_once(scope: Scope, send: Send) -> Send:
    """The client's ``send``; for Claude Code it changes the status of refusals that no retry can cure.

    A 403 of the provider is one of them: otherwise the client would report an authentication failure and ask for a
    login.
    """
    if not is_claude_code(scope["headers"]):
        return send
    held: Message | None = None

    async def send_final(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start" and message["status"] in (400, 403):
            held = message
            return
        if held is not None:
            start, held = held, None
            error = _final_error(start, message.get("body", b""))
            # The error itself is included, so that an outer layer need not guess the meaning of the status.
            await send(start if error is None else {**start, "status": error.status, "ccproxy.error": error})
        await send(message)

    return send_final


def _final_error(start: Message, body: bytes) -> ApiError | None:
    """The error in this body if it is final; an error whose ``details`` tell the client what to do is not."""
    try:
        error = loads(body)["error"]
        if "details" in error or (start["status"] == 400 and not is_final(error["message"])):
            return None
        return ApiError(FINAL_STATUS, error["type"], error["message"], reason=start.get("ccproxy.reason"))
    except (ValueError, KeyError, TypeError):  # from another layer
        return None
