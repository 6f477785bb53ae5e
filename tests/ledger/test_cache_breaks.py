"""Where a turn differs from the one before, if less of it was cached."""

import json
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware, LedgerMiddleware, MeterMiddleware, PassthroughMiddleware
from ccproxy_middleware.ledger import Row
from ccproxy_middleware.toolkit.asgi import BufferedBody
from support.asgi import call, http_scope

pytestmark = pytest.mark.anyio

MARK = {"cache_control": {"type": "ephemeral"}}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


TOOLS = [{"name": "look", "input_schema": {"type": "object"}}, {"name": "go", "input_schema": {"type": "object"}}]
ASK: dict[str, Any] = {"role": "user", "content": "planted-question"}
SAY: dict[str, Any] = {"role": "assistant", "content": [text("an answer")]}
MORE: dict[str, Any] = {"role": "user", "content": [text("and now", **MARK)]}
FIRST: dict[str, Any] = {
    "model": "claude-x", "max_tokens": 9,
    "system": [text("x-anthropic-billing-header: cch=1"), text("Be good.", **MARK)],
    "tools": TOOLS, "messages": [{"role": "user", "content": [text("planted-question", **MARK)]}],
}  # fmt: skip
SECOND = {
    **FIRST,
    "system": [text("x-anthropic-billing-header: cch=2"), text("Be good.")],
    "messages": [ASK, SAY, MORE],
}


class Provider:
    """Tells that of 1,000 tokens so many were cached as the request's ``metadata`` has it."""

    def __init__(self) -> None:
        self.cached = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await BufferedBody.read(scope, receive, 1 << 20)
        if scope["path"] == "/v1/messages":
            usage: dict[str, Any] = {
                "input_tokens": 1000 - self.cached, "cache_read_input_tokens": self.cached, "output_tokens": 5,
            }  # fmt: skip
            answer: Any = {"type": "message", "content": [], "stop_reason": "end_turn", "usage": usage}
        else:
            usage = {
                "prompt_tokens": 1000,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": self.cached},
            }
            answer = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


class Conversation:
    def __init__(self, layer: Any) -> None:
        self.provider = Provider()
        self.rows: list[Row] = []
        self._app: ASGIApp = LedgerMiddleware(layer(MeterMiddleware(self.provider)), write=self.rows.append)

    async def turn(self, body: Any, cached: int, **headers: str) -> str | None:
        self.provider.cached = cached
        names = {f"x-claude-code-{name.replace('_', '-')}": value for name, value in headers.items()}
        scope = http_scope("POST", "/v1/messages", {"x-claude-code-session-id": "s", **names})
        answer = await call(self._app, scope, body)
        assert answer.status == 200, answer.body
        return self.rows[-1].cache_break


@pytest.fixture(params=[FormatConversionMiddleware, PassthroughMiddleware])
def conversation(request: pytest.FixtureRequest) -> Conversation:
    return Conversation(request.param)


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"system": "Be better."}, "system"),
        ({"system": [text("Be good.")], "tools": TOOLS[:1]}, "tools"),
        ({"tools": TOOLS[::-1]}, "tools"),
        ({"messages": [{"role": "user", "content": "another"}, SAY, MORE]}, "message 1"),
        ({"messages": [ASK, {"role": "assistant", "content": "else"}, MORE]}, "message 2"),
        ({"messages": [ASK, SAY, ASK]}, "message 3"),
        ({"messages": [ASK]}, "message 2"),  # a compaction, or a way back
        ({"messages": [ASK, SAY, MORE, SAY, ASK]}, None),  # what was cached has gone by itself
    ],
)
async def test_place_is_the_first_difference(conversation: Conversation, changed: Any, place: str | None) -> None:
    assert await conversation.turn(FIRST, 0) is None
    assert await conversation.turn(SECOND, 900) is None
    assert await conversation.turn({**SECOND, **changed}, 300) == place
    assert "planted" not in repr(vars(conversation))


async def test_nothing_is_told_while_as_much_is_cached(conversation: Conversation) -> None:
    assert await conversation.turn(FIRST, 500) is None
    assert await conversation.turn({**FIRST, "system": "other"}, 500) is None
    assert await conversation.turn(FIRST, 460) is None  # only what is new


async def test_each_agent_is_compared_with_itself(conversation: Conversation) -> None:
    other = {**FIRST, "system": "You explore."}
    await conversation.turn(FIRST, 900, request_class="main")
    assert await conversation.turn(other, 0, request_class="subagent", agent_id="a-1") is None
    assert await conversation.turn(SECOND, 800, request_class="main") is None
    assert await conversation.turn(FIRST, 900, session_id="another") is None
    assert await conversation.turn({**other, "tools": []}, 0, request_class="subagent", agent_id="a-1") is None
    assert await conversation.turn(other, 700, request_class="subagent", agent_id="a-1") is None
    assert await conversation.turn({**other, "tools": []}, 0, request_class="subagent", agent_id="a-1") == "tools"


async def test_conversations_that_are_kept_are_bounded(conversation: Conversation) -> None:
    for number in range(2100):
        await conversation.turn(FIRST, 0, session_id=f"s-{number}")
    layer: Any = conversation._app
    assert len(layer._breaks._known) == 2000
