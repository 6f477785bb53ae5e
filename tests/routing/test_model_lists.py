"""``GET /v1/models``: the models of all upstreams in one list."""

import json
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import AuthMiddleware, FormatConversionMiddleware, ModelMappingMiddleware, RoutingMiddleware
from support.asgi import Answer, Inner, call, http_scope

pytestmark = pytest.mark.anyio

CLAUDE_CODE = {"user-agent": "claude-code/2.1.332"}


def listed(*models: Any) -> Inner:
    entries = [{"id": model} if isinstance(model, str) else model for model in models]
    return Inner(json.dumps({"object": "list", "data": entries}).encode())


def converted(app: ASGIApp, **options: Any) -> ASGIApp:
    return FormatConversionMiddleware(app, options={"list_models": "upstream", **options})


def proxy(default: ASGIApp, **targets: ASGIApp) -> ASGIApp:
    return ModelMappingMiddleware(RoutingMiddleware(default, targets=targets), big="gpt-5.5", small="gpt-4o-mini")


async def get(app: ASGIApp, path: str = "/v1/models", query: str = "", headers: Any = CLAUDE_CODE) -> Answer:
    return await call(app, http_scope("GET", path, headers, query=query))


def ids(answer: Answer) -> list[str]:
    return [entry["id"] for entry in answer.json()["data"]]


async def test_every_upstreams_models_are_listed_with_claude_in_their_ids() -> None:
    app = proxy(
        converted(listed("gpt-5.5", "gpt-4o-mini", "o3")),
        local=converted(listed("qwen3-coder", "llama3.1:70b")),
        gemini=converted(listed({"id": "gemini-2.5-pro", "context_length": 1_048_576})),
    )
    own = ids(await get(proxy(converted(listed("gpt-5.5", "gpt-4o-mini", "o3"))), query="limit=100"))
    answer = await get(app, query="limit=100")
    assert ids(answer) == [
        *own,
        "claude/local:qwen3-coder",
        "claude/local:llama3.1:70b",
        "claude/gemini:gemini-2.5-pro[1m]",
    ]
    assert all("claude" in id_ for id_ in ids(answer))
    entry = answer.json()["data"][-1]
    assert (entry["max_input_tokens"], entry["display_name"]) == (1_048_576, "gemini:gemini-2.5-pro")


async def test_other_clients_get_ids_without_the_window() -> None:
    app = proxy(converted(listed()), gemini=converted(listed({"id": "pro", "context_length": 2_000_000})))
    assert "claude/gemini:pro" in ids(await get(app, headers={}, query="limit=100"))


async def test_list_is_paged_as_a_whole() -> None:
    app = proxy(converted(listed("a", "b")), local=converted(listed("c", "d")))
    whole = ids(await get(app, query="limit=100"))
    found: list[str] = []
    query = "limit=2"
    while True:
        page = (await get(app, query=query)).json()
        found += [entry["id"] for entry in page["data"]]
        assert len(page["data"]) <= 2
        if not page["has_more"]:
            break
        query = f"limit=2&after_id={page['last_id'].replace('/', '%2F')}"
    assert found == whole
    assert (await get(app, query="limit=0")).json()["error"]["type"] == "invalid_request_error"


async def test_upstream_that_lists_no_models_adds_none() -> None:
    app = proxy(converted(listed()), local=converted(listed("hidden"), list_models="aliases"))
    assert not [id_ for id_ in ids(await get(app)) if "hidden" in id_]


async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("broken", [Inner(status=500), Inner(b"<html>"), hangs], ids=["fails", "no list", "silent"])
async def test_upstream_that_fails_is_left_out(broken: ASGIApp) -> None:
    app = proxy(converted(listed("o3")), bad=converted(broken), worse=broken, good=converted(listed("ok")))
    assert ids(await get(app))[-1] == "claude/good:ok"


async def test_others_are_listed_where_the_default_upstream_fails() -> None:
    app = RoutingMiddleware(Inner(status=404), targets={"good": converted(listed("ok"))})
    assert ids(await get(app)) == ["claude/good:ok"]


async def test_error_of_the_only_list_goes_through() -> None:
    app = RoutingMiddleware(Inner(b'{"error":{}}', 404), targets={"bad": Inner(status=500)})
    assert (await get(app)).status == 404


async def test_anthropics_own_list_is_merged_too() -> None:
    page = {"data": [{"type": "model", "id": "claude-opus-5-5", "display_name": "Claude Opus 5.5"}], "has_more": False}
    app = proxy(converted(listed()), claude=Inner(json.dumps(page).encode()))
    assert "claude/claude:claude-opus-5-5" in ids(await get(app))


async def test_one_models_entry_comes_from_its_upstream() -> None:
    local = converted(listed({"id": "qwen", "context_length": 65_536}))
    app = proxy(converted(listed("gpt-5.5")), local=local)
    for id_ in ("claude/local:qwen", "local:qwen", "claude/LOCAL:qwen[1m]"):
        entry = (await get(app, f"/v1/models/{id_}")).json()
        assert (entry["id"], entry["max_input_tokens"]) == (id_, 65_536)
    assert (await get(app, "/v1/models/claude/local:none")).status == 404
    assert (await get(app, "/v1/models/claude-opus")).json()["display_name"] == "gpt-5.5"


async def test_stranger_gets_no_list() -> None:
    inner = listed("secret")
    app = RoutingMiddleware(AuthMiddleware(inner, api_keys=["k"]), targets={"b": AuthMiddleware(inner, api_keys=["k"])})
    for path in ("/v1/models", "/v1/models/b:secret"):
        assert (await get(app, path)).status == 401
    assert inner.scopes == []
