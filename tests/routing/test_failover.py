"""A candidate that fails is replaced by the next."""

import pytest

from ccproxy_middleware import RoutingMiddleware
from support.asgi import Inner, call, http_scope

pytestmark = pytest.mark.anyio


async def test_next_candidate_answers_where_the_first_fails() -> None:
    bad, good = Inner(status=503), Inner(b'{"ok":1}')
    app = RoutingMiddleware(bad, targets={"Spare": good})
    scope = http_scope("POST", "/v1/messages", **{"ccproxy.candidates": ("gpt", "spare:qwen:7b")})
    answer = await call(app, scope, {"model": "gpt", "messages": []})
    assert (answer.status, answer.json()) == (200, {"ok": 1})
    assert (bad.json()["model"], good.json()["model"]) == ("gpt", "qwen:7b")
