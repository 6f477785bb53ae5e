"""Which key of a pool asks: a session stays on its own, and a key that fails is replaced."""

from collections import Counter
from typing import Any

import anyio
import pytest
from starlette.types import Scope, Send

from ccproxy_middleware import RoutingMiddleware
from ccproxy_middleware.toolkit.store import MemoryStore
from support.asgi import Answer, call, http_scope
from support.providers.targets import Behaviour, Target, answers, status

pytestmark = pytest.mark.anyio

BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


class Keyed(Target):
    """An upstream whose keys do different things; ``keys`` are those that have asked, in order."""

    def __init__(self, name: str, behaviours: dict[int, Behaviour]) -> None:
        super().__init__(name, self._by_key)
        self.by_key = behaviours
        self.keys: list[int] = []
        self.retries: list[object] = []

    async def _by_key(self, target: Target, scope: Scope, send: Send) -> None:
        key = scope["ccproxy.key"]
        self.keys.append(key)
        self.retries.append(scope.get("ccproxy.max_retries"))
        await self.by_key.get(key, answers)(target, scope, send)


async def ask(app: Any, *candidates: str, session: str | None = None, **headers: str) -> Answer:
    named = {"x-claude-code-session-id": session} if session else {}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    scope = http_scope("POST", "/v1/messages", named, **{"ccproxy.candidates": candidates})
    return await call(app, scope, BODY)


async def test_session_stays_on_one_key_and_new_ones_go_to_the_least_used() -> None:
    target = Keyed("a", {})
    app = RoutingMiddleware(target, keys={"default": ["x", "y", "z"]})
    for session in ("s1", "s2", "s3", "s1", "s2", "s3", "s1", "s4"):
        await ask(app, "m", session=session)
    assert target.keys == [0, 1, 2, 0, 1, 2, 0, 0]


async def test_sessions_are_spread_evenly() -> None:
    target = Keyed("a", {})
    app = RoutingMiddleware(target, keys={"default": ["x", "y", "z"]})
    for number in range(90):
        await ask(app, "m", session=f"s{number}")
    assert set(Counter(target.keys).values()) == {30}


async def test_requests_without_a_session_take_turns() -> None:
    target = Keyed("a", {})
    app = RoutingMiddleware(target, keys={"default": ["x", "y"]})
    for _ in range(10):
        await ask(app, "m")
    assert Counter(target.keys) == {0: 5, 1: 5}


@pytest.mark.parametrize("code", [401, 402, 403, 429])
async def test_next_key_asks_where_one_is_refused_or_limited(code: int) -> None:
    target = Keyed("a", {0: status(code)})
    app = RoutingMiddleware(target, keys={"default": ["x", "y"]})
    answer = await ask(app, "m", session="s1")
    assert (answer.status, target.keys) == (200, [0, 1])
    assert target.retries == [0, None]
    await ask(app, "m", session="s1")
    assert target.keys == [0, 1, 1]


async def test_limited_key_is_back_after_its_time_for_new_sessions() -> None:
    target = Keyed("a", {0: status(429, retry_after="1")})
    app = RoutingMiddleware(target, keys={"default": ["x", "y"]})
    await ask(app, "m", session="s1")
    target.by_key = {}
    await anyio.sleep(1.05)
    await ask(app, "m", session="s1")  # stays where its prompt is cached by now
    await ask(app, "m", session="s2")
    assert target.keys == [0, 1, 1, 0]


async def test_all_keys_refused_gives_the_refusal() -> None:
    target = Keyed("a", dict.fromkeys((0, 1), status(401, "authentication_error")))
    app = RoutingMiddleware(target, targets={"b": Target("b", status(404))}, keys={"default": ["x", "y"]})
    answer = await ask(app, "m", "b:m")
    assert (answer.status, answer.json()["error"]["type"]) == (401, "authentication_error")
    assert sorted(target.keys) == [0, 1]


@pytest.mark.parametrize("code", [500, 503])
async def test_failing_upstream_is_not_asked_with_every_key(code: int) -> None:
    """Its last key stands for the retry that the first one had to leave out."""
    target = Keyed("a", dict.fromkeys(range(4), status(code)))
    app = RoutingMiddleware(target, keys={"default": ["w", "x", "y", "z"]})
    await ask(app, "m", session="s1")
    assert target.keys == [0, 3]
    assert target.retries == [0, None]


async def test_100_sessions_with_two_keys_of_which_one_is_limited_see_no_429() -> None:
    count: Counter[int] = Counter()

    async def limited(target: Target, scope: Scope, send: Send) -> None:
        count[0] += 1
        await (answers if count[0] <= 5 else status(429, "rate_limit_error", retry_after="30"))(target, scope, send)

    target = Keyed("a", {0: limited})
    app = RoutingMiddleware(target, keys={"default": ["x", "y"]})
    statuses: list[int] = []
    async with anyio.create_task_group() as tasks:

        async def one(session: str) -> None:
            for _ in range(3):
                statuses.append((await ask(app, "m", session=session)).status)

        for number in range(100):
            tasks.start_soon(one, f"s{number}")
    assert Counter(statuses) == {200: 300}


async def test_affinity_is_shared_through_the_store() -> None:
    store = MemoryStore()
    targets = [Keyed("a", {}) for _ in range(2)]
    apps = [RoutingMiddleware(target, keys={"default": ["x", "y"]}, store=store) for target in targets]
    await ask(apps[0], "m", session="s0")
    await ask(apps[0], "m", session="s1")
    await ask(apps[1], "m", session="s1")
    assert targets[0].keys[1] == targets[1].keys[0]


async def test_clients_own_credential_is_refused_to_the_client() -> None:
    target, spare = Target("own", status(401, "authentication_error")), Target("spare")
    app = RoutingMiddleware(spare, targets={"own": target}, keys={"own": ["client"]})
    answer = await ask(app, "own:m", "m", authorization="Bearer one")
    assert (answer.status, answer.json()["error"]["type"]) == (401, "authentication_error")
    assert spare.asked == 0


async def test_limit_of_one_client_is_not_another_ones() -> None:
    async def by_client(target: Target, scope: Scope, send: Send) -> None:
        first = (b"authorization", b"Bearer one") in scope["headers"]
        await (status(429) if first else answers)(target, scope, send)

    own, spare = Target("own", by_client), Target("spare")
    store = MemoryStore()
    app = RoutingMiddleware(spare, targets={"own": own}, keys={"own": ["client"]}, store=store)
    texts = []
    for token in ("one", "two", "one"):
        answer = await ask(app, "own:m", "m", authorization=f"Bearer {token}")
        texts.append(answer.json()["content"][0]["text"])
    assert texts == ["spare", "own", "spare"]
    assert own.asked == 2
    assert "Bearer" not in str(list(store.items("cooldown:")))


async def test_pool_of_another_upstream_begins_with_its_own_keys() -> None:
    target = Keyed("b", {0: status(401)})
    app = RoutingMiddleware(Target("a", status(500)), targets={"b": target}, keys={"B": ["x", "y"]})
    assert (await ask(app, "m", "b:m", session="s1")).status == 200
    assert target.keys == [0, 1]
