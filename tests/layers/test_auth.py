"""AuthMiddleware alone and next to CustomHeaders."""

from typing import Any

import pytest

from ccproxy_middleware import AuthMiddleware, CustomHeadersMiddleware
from support.asgi import Answer, Inner, call, http_scope

pytestmark = pytest.mark.anyio


async def ask(headers: Any, *, path: str = "/v1/messages", method: str = "POST", **more: Any) -> tuple[Answer, Inner]:
    inner = Inner()
    app = AuthMiddleware(inner, api_keys=["one", "two"])
    return await call(app, http_scope(method, path, headers, **more), {}), inner


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "one"},
        {"x-api-key": "two"},
        {"authorization": "Bearer one"},
        {"authorization": "bearer two"},
        {"x-api-key": "wrong", "authorization": "Bearer one"},
        {"x-api-key": "one", "authorization": "Bearer wrong"},
    ],
)
async def test_client_enters_with_a_key_and_the_key_stays_outside(headers: dict[str, str]) -> None:
    answer, inner = await ask({**headers, "x-app": "cli"})
    assert answer.status == 200
    assert inner.header == {"x-app": "cli"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": "On3"}, {"x-api-key": ""}, {"authorization": "one"}, {"authorization": "Basic one"},
     {"x-api-key": "one two"}, {"x-api-key": "\xe9"}],
)  # fmt: skip
async def test_client_is_refused_without_a_key(headers: dict[str, str]) -> None:
    answer, inner = await ask(headers)
    assert answer.status == 401
    body = answer.json()
    assert body["error"]["type"] == "authentication_error"
    assert body["request_id"] == answer.headers["request-id"]
    assert answer.headers["x-should-retry"] == "false"
    assert inner.scopes == []


async def test_refusal_is_in_openais_form_on_openais_path() -> None:
    answer, _ = await ask({}, path="/v1/chat/completions")
    assert answer.json()["error"]["code"] == 401


@pytest.mark.parametrize("root_path", ["", "/claude"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 200), ("HEAD", "/", 200), ("GET", "/health", 200), ("POST", "/", 401), ("GET", "/health/x", 401),
     ("GET", "/v1/models", 401), ("GET", "/test-connection", 401)],
)  # fmt: skip
async def test_only_root_and_health_are_open(root_path: str, method: str, path: str, status: int) -> None:
    answer, _ = await ask({}, method=method, path=path, root_path=root_path)
    assert answer.status == status


async def test_everybody_may_call_without_keys_and_nothing_is_changed() -> None:
    inner = Inner()
    scope = http_scope("POST", "/v1/messages", {"x-api-key": "any"})
    assert (await call(AuthMiddleware(inner), scope, {})).status == 200
    assert inner.scopes[0].items() >= scope.items()


async def test_client_is_judged_by_its_own_credential_behind_custom_headers() -> None:
    inner = Inner()
    headers = {"Authorization": "Bearer one", "X-Team": "a"}
    app = CustomHeadersMiddleware(AuthMiddleware(inner, api_keys=["one"]), headers=headers)
    assert (await call(app, http_scope("POST", "/v1/messages"), {})).status == 401
    assert (await call(app, http_scope("POST", "/v1/messages", {"x-api-key": "one"}), {})).status == 200
    assert inner.header == {"authorization": "Bearer one", "x-team": "a"}


@pytest.mark.parametrize("keys", ["secret", [""], ["a", " "]])
async def test_keys_that_could_never_match_are_refused_at_start(keys: Any) -> None:
    with pytest.raises(ValueError, match="api_keys"):
        AuthMiddleware(Inner(), api_keys=keys)


async def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare_digest(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr("ccproxy_middleware.auth.keys.hmac.compare_digest", compare_digest)
    for key in ("one", "wrong", "o", "x" * 1000):
        await ask({"x-api-key": key, "authorization": f"Bearer {key}"})
    # each of the two credentials with each of the two keys, also where the first has matched already
    assert compared == [(32, 32)] * 4 * 4


async def test_keys_do_not_show_in_repr() -> None:
    assert "planted" not in repr(AuthMiddleware(Inner(), api_keys=["planted"]))


async def test_other_scopes_pass() -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def nothing(*args: Any) -> Any:
        raise AssertionError

    await AuthMiddleware(inner, api_keys=["one"])({"type": "lifespan"}, nothing, nothing)
    assert seen == [{"type": "lifespan"}]
