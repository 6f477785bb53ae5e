"""AuthMiddleware with keys that have names and may end."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from ccproxy_middleware import AuthMiddleware, ClientKey
from ccproxy_middleware.auth import ADMITTED_AS
from ccproxy_middleware.toolkit.record import Record, observe
from support.asgi import Answer, Inner, call, http_scope

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
ANN = ClientKey("ann", sha256(b"key-of-ann").digest())
KEYS = [
    ANN,
    ClientKey.of_text("bob", "key-of-bob"),
    ClientKey("gone", sha256(b"key-of-gone").digest(), revoked=True),
    ClientKey("late", sha256(b"key-of-late").digest(), expires=datetime(2026, 1, 31, tzinfo=UTC)),
    ClientKey("soon", sha256(b"key-of-soon").digest(), expires=NOW + timedelta(hours=1)),
]


async def ask(headers: dict[str, str], *, keys: Any = lambda: KEYS, **scope: Any) -> tuple[Answer, Inner, Record]:
    inner = Inner()
    app = AuthMiddleware(inner, api_keys=["one", "two"], named_keys=keys)
    answer = Answer()
    records: list[Record] = []

    async def observed(scope: Any, receive: Any, send: Any) -> None:
        await observe(app, scope, receive, send, records.append)

    await call(observed, http_scope("POST", "/v1/messages", headers, **scope), {}, answer=answer)
    return answer, inner, records[0]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"x-api-key": "one"}, "key 1"),
        ({"authorization": "Bearer two"}, "key 2"),
        ({"x-api-key": "key-of-ann"}, "ann"),
        ({"authorization": "Bearer key-of-bob"}, "bob"),
        ({"x-api-key": "key-of-soon"}, "soon"),
        ({"x-api-key": "sk-ant", "x-cc-boost-key": "key-of-ann"}, "ann"),
        ({"x-api-key": "key-of-gone", "authorization": "Bearer two"}, "key 2"),
    ],
)
async def test_name_of_the_key_is_known_to_inner_layers_and_observers(headers: dict[str, str], name: str) -> None:
    answer, inner, record = await ask(headers)
    assert answer.status == 200
    assert inner.scopes[0]["ccproxy.client_key"] == name
    assert record.client_key == name
    assert "key-of" not in str(inner.scopes[0]["headers"])


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        ("key-of-gone", "gone", "this key has been revoked"),
        ("key-of-late", "late", "this key expired on 2026-01-31 00:00 UTC"),
        ("key-of-nobody", None, "invalid API key"),
    ],
)
async def test_key_that_has_ended_is_refused_and_still_named(key: str, name: str | None, words: str) -> None:
    answer, inner, record = await ask({"x-api-key": key})
    assert answer.status == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert words in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert inner.scopes == []
    assert record.client_key == name


async def test_keys_are_those_of_the_moment() -> None:
    keys: list[ClientKey] = []
    inner = Inner()
    app = AuthMiddleware(inner, named_keys=lambda: keys)
    scope = http_scope("POST", "/v1/messages", {"x-api-key": "key-of-ann"})
    assert (await call(app, scope, {})).status == 401  # also without any: a key is needed
    keys.append(ANN)
    assert (await call(app, scope, {})).status == 200
    keys.clear()
    assert (await call(app, scope, {})).status == 401


async def test_credential_beside_a_named_key_is_the_clients_own() -> None:
    _, inner, _ = await ask({"authorization": "Bearer sk-ant-own", "x-cc-boost-key": "key-of-ann"})
    assert inner.scopes[0]["ccproxy.client_credential"] == [(b"authorization", b"Bearer sk-ant-own")]
    _, inner, _ = await ask({"authorization": "Bearer key-of-bob", "x-cc-boost-key": "key-of-ann"})
    assert inner.scopes[0]["ccproxy.client_credential"] == []


async def test_request_that_an_outer_layer_has_let_in_needs_no_key() -> None:
    answer, inner, record = await ask({"x-api-key": "sk-ant-own"}, **{ADMITTED_AS: "admin key 1"})
    assert answer.status == 200
    assert inner.scopes[0]["ccproxy.client_key"] == record.client_key == "admin key 1"
    assert inner.scopes[0]["ccproxy.client_credential"] == [(b"x-api-key", b"sk-ant-own")]


async def test_no_key_shows_in_repr() -> None:
    assert "key-of-bob" not in repr(KEYS)
    assert sha256(b"key-of-ann").hexdigest() not in repr(KEYS)
    assert repr(AuthMiddleware(Inner(), named_keys=lambda: KEYS)) == "AuthMiddleware(5 keys)"
