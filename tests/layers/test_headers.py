"""CustomHeadersMiddleware."""

import pytest

from ccproxy_middleware import CustomHeadersMiddleware
from support.asgi import Inner, call, http_scope

pytestmark = pytest.mark.anyio


async def test_headers_replace_the_clients_and_are_left_for_the_endpoint() -> None:
    inner = Inner()
    app = CustomHeadersMiddleware(inner, headers={"User-Agent": "me/1", "X-Team": "a"})
    await call(app, http_scope("POST", "/x", {"user-agent": "cli", "x-app": "y"}))
    assert inner.header == {"x-app": "y", "user-agent": "me/1", "x-team": "a"}
    assert inner.scopes[0]["ccproxy.custom_headers"] == [(b"user-agent", b"me/1"), (b"x-team", b"a")]
    assert inner.scopes[0]["ccproxy.client_headers"] == [(b"user-agent", b"cli"), (b"x-app", b"y")]


async def test_inner_of_two_wins_and_the_clients_own_headers_stay_known() -> None:
    inner = Inner()
    app = CustomHeadersMiddleware(
        CustomHeadersMiddleware(inner, headers={"x-a": "2"}), headers={"x-a": "1", "x-b": "1"}
    )
    await call(app, http_scope("POST", "/x", {"x-a": "0"}))
    assert inner.scopes[0]["ccproxy.custom_headers"] == [(b"x-b", b"1"), (b"x-a", b"2")]
    assert inner.scopes[0]["ccproxy.client_headers"] == [(b"x-a", b"0")]


async def test_nothing_is_changed_without_headers() -> None:
    inner = Inner()
    scope = http_scope("POST", "/x", {"x-a": "0"})
    await call(CustomHeadersMiddleware(inner, headers={}), scope)
    assert inner.scopes == [scope]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "v"), ("a b", "v"), ("a:b", "v"), ("ä", "v"), ("x\r\ny", "v"), ("Content-Length", "1"),
        ("TRANSFER-ENCODING", "chunked"), ("connection", "close"), ("x-a", "v\r\nx: y"), ("x-a", "v\0"), ("x-a", "日"),
    ],
)  # fmt: skip
async def test_header_that_cannot_be_sent_is_refused_at_start(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"header|connection|value"):
        CustomHeadersMiddleware(Inner(), headers={name: value})


async def test_values_show_neither_in_repr_nor_in_the_refusal() -> None:
    assert "planted" not in repr(CustomHeadersMiddleware(Inner(), headers={"x-key": "planted"}))
    with pytest.raises(ValueError, match="line break") as refused:
        CustomHeadersMiddleware(Inner(), headers={"x-key": "planted\n"})
    assert "planted" not in str(refused.value)
