"""Who may see the page and its data, and who may act through it."""

import json
from collections.abc import Mapping, Sequence

import pytest

from ccproxy_middleware import InspectorMiddleware
from support.asgi import Answer, Inner, call, http_scope

pytestmark = pytest.mark.anyio

KEY = "client-key"
LOCAL = "127.0.0.1"
JSON = "application/json"


async def get(path: str, headers: Mapping[str, str], *, keys: Sequence[str] = (), client: str | None = LOCAL) -> Answer:
    app = InspectorMiddleware(Inner(), api_keys=keys)
    named = {"host": "localhost:8082", **headers}
    address = None if client is None else (client, 5000)
    return await call(app, http_scope("GET", path, named, client=address))


@pytest.mark.parametrize(
    ("client", "headers", "allowed"),
    [
        (LOCAL, {}, True),
        ("::1", {"host": "[::1]:8082"}, True),
        ("::ffff:127.0.0.1", {"host": "127.0.0.1"}, True),
        (LOCAL, {"host": "proxy.localhost:1"}, True),
        ("192.0.2.7", {}, False),
        (LOCAL, {"host": "rebound.example:8082"}, False),
        (LOCAL, {"host": "localhost.example"}, False),
        (LOCAL, {"host": "[::1"}, False),
        (LOCAL, {"host": ""}, False),
        (LOCAL, {"x-forwarded-for": "192.0.2.7"}, False),
        (LOCAL, {"forwarded": "for=192.0.2.7"}, False),
        ("", {}, False),
        (None, {}, False),
    ],
)
@pytest.mark.parametrize("path", ["/ui/", "/ui/app.js", "/ui/api/exchanges"])
async def test_without_a_key_only_this_machine_sees_it(
    path: str, client: str | None, headers: Mapping[str, str], allowed: bool
) -> None:
    answer = await get(path, headers, client=client)
    assert answer.status == (200 if allowed else 403)
    assert allowed or b"set ANTHROPIC_API_KEY" in answer.body
    assert allowed or answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ui/", {}, 200),
        ("/ui/app.js", {}, 200),
        ("/ui/api/exchanges", {}, 401),
        ("/ui/api/exchanges/1-1", {}, 401),
        ("/ui/api/exchanges/1-1/case", {}, 401),
        ("/ui/api/events", {}, 401),
        ("/ui/api/anything", {}, 401),
        ("/ui/api/exchanges", {"x-api-key": "wrong"}, 401),
        ("/ui/api/exchanges", {"x-api-key": KEY}, 200),
        ("/ui/api/exchanges", {"authorization": f"Bearer {KEY}"}, 200),
        ("/ui/api/anything", {"x-api-key": KEY}, 404),
    ],
)
async def test_with_a_key_the_data_needs_it_from_everywhere(path: str, headers: Mapping[str, str], status: int) -> None:
    answer = await get(path, {"host": "proxy.example", **headers}, keys=[KEY], client="192.0.2.7")
    assert answer.status == status
    if status == 401:
        assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"content-type": JSON}, 200),
        ("POST", {"content-type": f"{JSON}; charset=utf-8", "origin": "http://localhost:8082"}, 200),
        ("POST", {"content-type": JSON, "sec-fetch-site": "same-origin"}, 200),
        ("POST", {}, 415),
        ("POST", {"content-type": "text/plain"}, 415),
        ("POST", {"content-type": JSON, "origin": "http://evil.example"}, 403),
        ("POST", {"content-type": JSON, "origin": "null"}, 403),
        ("POST", {"content-type": JSON, "sec-fetch-site": "cross-site"}, 403),
        ("POST", {"content-type": JSON, "host": "rebound.example"}, 403),
        ("GET", {"content-type": JSON}, 405),
    ],
)
async def test_replay_is_for_the_page_itself(method: str, headers: Mapping[str, str], status: int) -> None:
    inner = Inner()
    app = InspectorMiddleware(inner)
    await call(app, http_scope("POST", "/v1/messages"), {"model": "m"})
    local = (LOCAL, 5000)
    listed = await call(app, http_scope("GET", "/ui/api/exchanges", {"host": "localhost"}, client=local))
    id_ = json.loads(listed.body)["exchanges"][0]["id"]
    scope = http_scope(method, f"/ui/api/exchanges/{id_}/replay", {"host": "localhost:8082", **headers}, client=local)
    answer = await call(app, scope, b"{}")
    assert answer.status == status
    assert len(inner.bodies) == 1 + (status == 200)


@pytest.mark.parametrize("keys", [["k", " "], "key"])
async def test_keys_that_cannot_match_are_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="api_keys"):
        InspectorMiddleware(Inner(), api_keys=keys)
