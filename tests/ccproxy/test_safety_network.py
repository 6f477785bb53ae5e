"""What clients and settings can't make the proxy do: fetch an address, or send a header of their making."""

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ccproxy import Settings
from ccproxy.settings.configuration import ConfigurationError
from support.providers.scripted import ScriptedProvider
from support.serving.proxied import proxied

HELLO = {"role": "user", "content": "Hello"}
BODY = {"model": "claude-opus-4-1", "max_tokens": 9, "messages": [HELLO]}


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A server that nobody should ever call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look."}, *blocks]}]}


def requests_that_name(url: str) -> dict[str, dict[str, Any]]:
    image = {"type": "image", "source": {"type": "url", "url": url}}
    document = {"type": "document", "source": {"type": "url", "url": url}, "title": url}
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {"url": url}}
    tool = {"name": "f", "input_schema": {"$ref": url, "type": "object", "properties": {"a": {"$ref": url}}}}
    return {
        "image": user(image),
        "document": user(document),
        "image in a document": user({"type": "document", "source": {"type": "content", "content": [image]}}),
        "tool result": {
            "tools": [tool],
            "messages": [
                HELLO,
                {"role": "assistant", "content": [call]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [image, document]}],
                },
            ],
        },
        "search result": user(
            {"type": "search_result", "source": url, "title": "t", "content": [{"type": "text", "text": url}]}
        ),
        "system": {"system": [{"type": "text", "text": url}]},
        "schema of a tool": {"tools": [tool]},
        "mcp server": {"mcp_servers": [{"type": "url", "url": url, "name": "m", "authorization_token": "t"}]},
        "container": {"container": {"id": url, "skills": [{"type": "custom", "skill_id": url, "version": "1"}]}},
        "web fetch": {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch", "allowed_domains": [url]}]},
        "file": user({"type": "image", "source": {"type": "file", "file_id": url}}),
        "metadata": {"metadata": {"user_id": url}, "service_tier": "auto"},
        "base_url": {"base_url": url, "api_base": url, "proxy": url},
    }


def test_no_address_in_a_request_is_ever_called(trap: socket.socket) -> None:
    url = f"http://127.0.0.1:{trap.getsockname()[1]}/x.png"
    provider = ScriptedProvider()
    theirs = {
        "x-api-key": "key",
        "host": urlsplit(url).netloc,
        "referer": url,
        "origin": url,
        "x-forwarded-host": url,
        "forwarded": url,
    }
    with (
        proxied(provider, provider="openai", anthropic_api_key="key") as proxy,
        httpx.Client(base_url=proxy, timeout=30) as client,
    ):
        for name, request in requests_that_name(url).items():
            for path in ("/v1/messages", "/v1/messages/count_tokens"):
                answer = client.post(path, json={**BODY, **request}, headers=theirs)
                assert answer.status_code in (200, 400), (name, answer.text)
        assert client.get("/test-connection", headers=theirs).status_code == 200
        assert client.get(f"/v1/models/{url}", headers=theirs).status_code in (200, 404)
    with pytest.raises(BlockingIOError):
        trap.accept()
    assert len(provider.completions) > 5


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_headers_of_the_way_do_not_go_upstream(path: str) -> None:
    """Those of the connection, of other proxies on the way, and of the browser."""
    theirs = {
        name: "planted"
        for name in (
            *("connection", "keep-alive", "te", "trailer", "upgrade", "proxy-authorization", "proxy-connection"),
            *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "cookie"),
            *("origin", "referer", "sec-fetch-mode", "authorization", "x-api-key", "x-request-id"),
            *("x-claude-code-session-id", "x-stainless-os", "user-agent", "accept-language"),
        )
    }
    provider = ScriptedProvider()
    with proxied(provider, anthropic_api_key="planted") as url:
        answer = httpx.post(url + path, json=BODY, headers=theirs)
    assert answer.status_code == 200, answer.text
    sent = provider.requests[0].headers
    assert {name for name, value in sent.items() if "planted" in value} == set()


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_no_page_of_another_origin_may_read_or_ask(origin: str) -> None:
    preflight = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-a"}
    provider = ScriptedProvider()
    with proxied(provider, inspector=True) as url, httpx.Client(base_url=url) as client:
        answers = [
            client.options("/v1/messages", headers=preflight),
            client.post("/v1/messages", json=BODY, headers={"origin": origin}),
            *(client.get(path, headers={"origin": origin}) for path in ("/", "/health", "/v1/models", "/metrics")),
            client.get("/ui/api/exchanges", headers={"origin": origin}),
        ]
    assert [answer.status_code for answer in answers] == [403, 403, 200, 200, 403, 403, 403]
    assert provider.requests == []
    assert [name for answer in answers for name in answer.headers if name.startswith("access-control")] == []


def test_proxy_without_a_key_is_called_by_its_own_names_and_the_allowed_ones() -> None:
    paths = ("/v1/models", "/metrics", "/test-connection", "/v1/messages/count_tokens")
    provider = ScriptedProvider()
    with proxied(provider, allowed_hosts="proxy.example") as url, httpx.Client(base_url=url) as client:
        for host, status in (("localhost:1", 200), ("proxy.example", 200), ("rebound.example", 403)):
            told = [client.get(path, headers={"host": host}).status_code for path in paths[:3]]
            told.append(client.post(paths[3], json=BODY, headers={"host": host}).status_code)
            assert told == [status] * 4, host
            assert client.get("/health", headers={"host": host}).status_code == 200
        asked = len(provider.requests)
        image = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image", "sec-fetch-mode": "no-cors"}
        assert [client.get(path, headers=image).status_code for path in paths[:3]] == [403] * 3
        assert len(provider.requests) == asked


BREAKS = ["\r\n", "\n", "\r", "\0"]


@pytest.mark.parametrize("char", BREAKS, ids=repr)
@pytest.mark.parametrize(
    "field",
    [
        *("openai_api_key", "anthropic_api_key", "boost_api_key", "openai_base_url", "boost_base_url", "host"),
        *("azure_api_version", "value of a custom header", "name of a custom header"),
    ],
)
def test_setting_with_a_line_break_is_refused(field: str, char: str) -> None:
    bad = f"http://h/a{char}x-injected: 1"
    values: dict[str, Any] = {field: bad}
    if field.endswith("custom header"):
        values = {"custom_headers": {"X-A": bad} if field.startswith("value") else {f"X-A{char}X-INJECTED": "1"}}
    boost = {"enable_boost_support": "BIG_MODEL", "boost_base_url": "http://h/v1", "boost_api_key": "k"}
    with pytest.raises(ConfigurationError):
        Settings.explicit(**{"openai_api_key": "k", **boost, **values})


@pytest.mark.parametrize("azure", [None, "2024-10-21"])
def test_line_breaks_in_a_body_stay_in_the_body(azure: str | None) -> None:
    """The model's name, which is also a part of Azure's URL, and the ids of user and session."""
    evil = "m\r\nx-injected: 1\r\n\r\nGET /injected HTTP/1.1\r\n\0"
    request = {**BODY, "model": evil, "metadata": {"user_id": evil}, "container": evil, "betas": [evil]}
    provider = ScriptedProvider(api_key="provider-key")
    with proxied(provider, azure_api_version=azure, provider="openai", big_model=evil) as url:
        answers = [httpx.post(f"{url}/v1/messages", json={**request, "model": name}) for name in (evil, "claude-opus")]
        answers.append(httpx.get(f"{url}/v1/models/{evil.encode().hex()}%0d%0ax-injected:%201"))
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    for headers in [*(answer.headers for answer in answers), *(request.headers for request in provider.requests)]:
        assert "injected" not in str(headers)
    assert "/injected" not in [request.path for request in provider.requests]


@pytest.mark.parametrize("name", ["x-request-id", "x-claude-code-session-id", "anthropic-beta", "accept", "x-api-key"])
@pytest.mark.parametrize("value", ["a\rx-injected: 1", "a\nx-injected: 1", "a\r\n x-injected: 1", "a\0b", "a\x7f\xe9"])
def test_no_header_of_the_clients_becomes_two(name: str, value: str) -> None:
    provider = ScriptedProvider()
    with proxied(provider) as url:
        address = urlsplit(url)
        head = (
            f"POST /v1/messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json\r\n{name}: "
        )
        body = b'{"model": "claude-opus", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}'
        with socket.create_connection((address.hostname, address.port), 30) as client:
            client.sendall((head + value + f"\r\ncontent-length: {len(body)}\r\n\r\n").encode("latin-1") + body)
            answer = b""
            while data := client.recv(65536):
                answer += data
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), answer
    assert b"injected" not in answer.partition(b"\r\n\r\n")[0]
    assert all("x-injected" not in request.headers for request in provider.requests)
