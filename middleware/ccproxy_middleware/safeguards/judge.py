"""Asking a model about tool calls, about all calls of an answer concurrently."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Receive, Scope

from ..toolkit.answers import ask_inside, question_scope
from ..toolkit.asgi import BufferedBody, route_path
from ..toolkit.errors import ApiError, request_id
from .question import SYSTEM, question, told_call
from .tool_calls import Call
from .verdicts import NOT_FLAGGED, Verdict, read_verdict, unavailable

OPENAI_PATHS = ("/chat/completions", "/responses")
"""How the paths end at which an answer may be asked for inside of a FormatConversionMiddleware."""

logger = logging.getLogger("ccproxy.safeguards")

_AT_ONCE = 32  # questions; answers rarely contain more calls
_MAX_TOKENS = 1024


class Judge:
    """Asks ``app`` for the first of ``models`` about the calls of one answer, in the protocol of its request.

    ``scope`` is that request's; ``receive`` reports when its client disconnects. ``timeout`` is for all calls together.
    """

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, *, models: Sequence[str], timeout: float) -> None:
        self._app = app
        self._receive = receive
        self._model = models[0]
        self._timeout = timeout
        self._path = route_path(scope)
        self._id = request_id(scope)
        self._scope = {**question_scope(scope, models), "ccproxy.safety_check": True}

    async def __call__(self, background: str | None, calls: Sequence[Call]) -> dict[str, Verdict]:
        """The verdicts on the calls, by their ids. ``background`` is None where it is too long to be sent."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        free = asyncio.Semaphore(_AT_ONCE)

        async def judged(n: int) -> Verdict:
            try:
                async with asyncio.timeout_at(deadline), free:
                    return await self._verdict(background, calls[: n + 1])
            except TimeoutError:
                return unavailable("timeout")
            except ApiError as error:
                logger.warning("asking for a verdict failed: %s (%s)", error.message, self._id)
                return unavailable("timeout" if error.status == 504 else "error")
            except Exception:
                logger.exception("asking for a verdict failed (%s)", self._id)
                return unavailable("error")

        verdicts = await asyncio.gather(*map(judged, range(len(calls))))
        found: dict[str, Verdict] = {}
        for call, verdict in zip(calls, verdicts, strict=True):
            if verdict["type"] == "unavailable":
                logger.warning("no verdict on a call of %s: %s (%s)", call.name, verdict["reason"], self._id)
            if found.get(call.id, NOT_FLAGGED) == NOT_FLAGGED:  # the worse verdict for a repeated id
                found[call.id] = verdict
        return found

    async def _verdict(self, background: str | None, calls: Sequence[Call]) -> Verdict:
        """The verdict on the last call; those before it are part of the same answer."""
        if (problem := calls[-1].problem) is not None:
            return unavailable(problem)
        told = [told_call(call.name, call.input) for call in calls if call.problem is None]
        asked = None if background is None else question(background, told)
        if asked is None:
            return unavailable("input_too_long")
        answer = await ask_inside(self._app, self._scope, BufferedBody(self._receive, data=self._body(asked)))
        return unavailable("error") if answer is None else read_verdict(answer)

    def _body(self, asked: str) -> dict[str, Any]:
        """The request. In OpenAI's formats it sets no token limit: providers differ in its name, and some models
        reason.
        """
        messages = [{"role": "user", "content": asked}]
        if self._path.endswith("/chat/completions"):
            return {"model": self._model, "messages": [{"role": "system", "content": SYSTEM}, *messages]}
        if self._path.endswith("/responses"):
            content = [{"type": "input_text", "text": asked}]
            items = [{"type": "message", "role": "user", "content": content}]
            return {"model": self._model, "store": False, "instructions": SYSTEM, "input": items}
        return {
            "model": self._model,
            "max_tokens": _MAX_TOKENS,
            "system": SYSTEM,
            "messages": messages,
            "thinking": {"type": "disabled"},
        }
