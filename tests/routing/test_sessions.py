"""Many sessions at once over a pool of keys, through the whole proxy on real sockets."""

import json
from collections import defaultdict
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from ccproxy_middleware.toolkit.asgi import get_header
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.proxied import proxy
from support.serving.servers import serve

SESSIONS, TURNS, AT_ONCE = 100, 4, 25
LIMITED, OPEN = "limited-key", "open-key"
ALLOWED = 40  # requests of the limited key in an hour


class Limits:
    """In front of a provider: the limited key gets a 429 for what is too much, with the time to wait."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._used = 0
        self.keys: dict[str, list[str]] = defaultdict(list)  # by the session, those that have answered it
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = (get_header(scope["headers"], b"authorization") or "").removeprefix("Bearer ")
        if key == LIMITED and self._used >= ALLOWED:
            self.refused += 1
            body = json.dumps({"error": {"message": "Rate limit reached", "type": "requests"}}).encode()
            headers = [(b"content-type", b"application/json"), (b"retry-after", b"3600")]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            return await send({"type": "http.response.body", "body": body})
        self._used += key == LIMITED
        message = await receive()
        session = json.loads(message["body"])["messages"][-1]["content"]
        self.keys[session].append(key)

        async def replay() -> Any:
            return sent.pop() if sent else await receive()

        sent = [message]
        await self._app(scope, replay, send)


@pytest.mark.anyio
async def test_no_client_sees_the_limit_of_one_key() -> None:
    limits = Limits(ScriptedProvider(lambda body: Reply("Hi")))
    statuses: list[int] = []
    waiting = anyio.CapacityLimiter(AT_ONCE)

    async def session(http: httpx.AsyncClient, name: str) -> None:
        for turn in range(TURNS):
            body = {
                "model": "claude-opus-5-5",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": name}],
                "stream": turn % 2 == 0,
            }
            async with waiting:
                answer = await http.post("/v1/messages", json=body, headers={"x-claude-code-session-id": name})
            statuses.append(answer.status_code)
            assert "error" not in answer.text

    with (
        serve(limits, lifespan="off") as server,
        proxy(server.url, openai_api_key=f"{LIMITED},{OPEN}", max_retries=0) as url,
    ):
        async with httpx.AsyncClient(base_url=url, timeout=30) as http, anyio.create_task_group() as group:
            for number in range(SESSIONS):
                group.start_soon(session, http, f"session-{number}")
    assert statuses == [200] * SESSIONS * TURNS
    assert 1 <= limits.refused <= AT_ONCE  # those that were under way together; then the key is left alone
    answered = list(limits.keys.values())
    assert len(answered) == SESSIONS
    assert all(len(keys) == TURNS for keys in answered)
    assert sum(keys.count(LIMITED) for keys in answered) == ALLOWED
    assert all(set(keys) == {OPEN} for keys in answered if keys[0] == OPEN)  # they stay where they are
