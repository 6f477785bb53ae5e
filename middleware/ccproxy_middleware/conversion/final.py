"""A refusal on its way to Claude Code, in the form that it shows at once."""

from starlette.types import Message, Scope, Send

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
            await send({**start, "status": FINAL_STATUS} if _is_final(message.get("body", b"")) else start)
        await send(message)

    return send_final


def _is_final(body: bytes) -> bool:
    """By the whole body of an error. Where ``details`` tell the client what to do, it is not."""
    try:
        error = loads(body)["error"]
        return "details" not in error and is_final(error["message"])
    except (ValueError, KeyError, TypeError):  # a foreign layer's
        return False
