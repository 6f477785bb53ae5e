"""Without keys: programs may call; web pages of elsewhere may not, nor what a tunnel brings to a loopback address."""

from typing import Any

import pytest

from ccproxy_middleware import AuthMiddleware, MetricsMiddleware
from support.asgi import Inner, call, http_scope

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1:8082"
LOOPBACK = ("127.0.0.1", 8082)


async def status(
    headers: Any = (), *, method: str = "POST", path: str = "/v1/messages", server: Any = LOOPBACK, hosts: Any = ()
) -> int:
    named = [*dict(headers).items()] if isinstance(headers, dict) else [*headers]
    if not any(name.lower() == "host" for name, _ in named):
        named.append(("host", HOST))
    inner = Inner()
    app = AuthMiddleware(inner, allowed_hosts=hosts)
    answer = await call(app, http_scope(method, path, named, server=server, client=("127.0.0.1", 5000)), {})
    assert len(inner.scopes) == (answer.status == 200)
    if answer.status == 403:
        assert answer.json()["error"]["type"] == "permission_error"
        assert answer.headers["x-should-retry"] == "false"
    return answer.status


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": "claude-cli/2.0.0 (external, cli)", "x-app": "cli", "anthropic-beta": "a"},
        {"user-agent": "Anthropic/JS 0.60.0", "sec-fetch-mode": "cors"},  # fetch of Node
        {"user-agent": "curl/8.0", "accept": "*/*"},
        {"origin": "vscode-file://vscode-app", "sec-fetch-site": "cross-site"},
        {"origin": "vscode-webview://0a1b", "sec-fetch-site": "cross-site"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"},  # the inspector's own page
        {"sec-fetch-site": "none"},  # typed into the address bar
    ],
)
async def test_programs_may_call_without_a_key(headers: dict[str, str]) -> None:
    assert await status(headers) == 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "proxy.localhost:8082", "127.0.0.1", "127.8.9.1:80", "[::1]:8082",
     "[::ffff:127.0.0.1]", "host.docker.internal:8082"],
)  # fmt: skip
async def test_loopback_is_called_by_its_names(host: str) -> None:
    assert await status({"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8082", "127.0.0.1.evil.test", "localhost.evil.test", "notlocalhost", "127.1", "0x7f.1",
     "2130706433", "0.0.0.0", "[::]", "127.0.0.1@evil.test", "evil.test@127.0.0.1", "evil.test#@127.0.0.1",
     "evil.test/127.0.0.1", "127.0.0.1:80:evil", "", "[::1", "::1", "[::ffff:192.0.2.1]", "127.0.0.1%25evil",
     "localhost:", "localhost:x", "192.0.2.1"],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/messages"), ("GET", "/v1/models"), ("GET", "/any")])
async def test_another_name_on_loopback_is_refused(host: str, method: str, path: str) -> None:
    assert await status({"host": host}, method=method, path=path) == 403


@pytest.mark.parametrize("headers", [[("host", HOST), ("host", HOST)], [("host", HOST), ("Host", "evil.test")]])
async def test_two_hosts_are_refused(headers: list[tuple[str, str]]) -> None:
    assert await status(headers) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "anything"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("server", [LOOPBACK, ("192.0.2.1", 8082), None])
async def test_request_of_another_site_is_refused(site: str, method: str, server: Any) -> None:
    assert await status({"sec-fetch-site": site}, method=method, path="/test-connection", server=server) == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.test", "https://evil.test:8082", "null", "", "file://", "http://127.0.0.1", "http://127.0.0.1:1",
     "http://localhost:8082", f"http://{HOST}.evil.test", f"http://evil.test@{HOST}", f"evil://{HOST}",
     "http://[::1", "chrome-extension://abc", "x-vscode-file://vscode-app"],
)  # fmt: skip
@pytest.mark.parametrize("server", [LOOPBACK, ("192.0.2.1", 8082)])
async def test_page_of_another_origin_is_refused(origin: str, server: Any) -> None:
    assert await status({"origin": origin}, server=server) == 403
    assert await status({"origin": origin, "sec-fetch-site": "same-origin"}, server=server) == 403


async def test_second_origin_does_not_hide_the_first() -> None:
    assert await status([("origin", "http://evil.test"), ("origin", "vscode-file://vscode-app")]) == 403
    assert await status([("origin", f"http://{HOST}"), ("origin", "http://evil.test")]) == 403


FORWARDED = (
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-server", "x-forwarded",
    "x-real-ip", "forwarded", "via", "cf-connecting-ip", "cf-ray", "true-client-ip", "x-client-ip",
    "x-cluster-client-ip", "fly-client-ip", "cdn-loop", "Via",
)  # fmt: skip


@pytest.mark.parametrize("name", FORWARDED)
async def test_forwarded_request_on_loopback_needs_an_allowed_host(name: str) -> None:
    forwarded = {name: "192.0.2.7"}
    assert await status(forwarded) == 403
    assert await status(forwarded, hosts=["proxy.example"]) == 403
    assert await status({**forwarded, "host": "proxy.example"}, hosts=["proxy.example"]) == 200
    assert await status(forwarded, hosts=["127.0.0.1"]) == 200


@pytest.mark.parametrize(
    ("allowed", "host"),
    [("proxy.example", "proxy.example:8082"), ("Proxy.Example", "PROXY.example"), ("[2001:db8::1]", "[2001:db8::1]:80"),
     ("2001:db8::1", "[2001:db8::1]"), ("*", "any.example")],
)  # fmt: skip
async def test_allowed_host_may_be_named(allowed: str, host: str) -> None:
    assert await status({"host": host}) == 403
    assert await status({"host": host}, hosts=[allowed]) == 200
    assert await status({"host": host, "origin": "http://evil.test"}, hosts=[allowed]) == 403


@pytest.mark.parametrize("server", [("192.0.2.1", 8082), ("proxy", 80), ("/run/proxy.sock", None)])
async def test_other_addresses_are_called_by_any_name(server: Any) -> None:
    """Whoever listens beyond loopback without a key lets everybody call; the start warns of it."""
    assert await status({"host": "proxy.lan", "x-forwarded-for": "192.0.2.7"}, server=server) == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("GET", "/"), ("HEAD", "/")])
async def test_health_is_open_to_everybody(method: str, path: str) -> None:
    headers = {"host": "10.0.0.7:8082", "origin": "http://evil.test", "via": "1.1 probe"}
    assert await status(headers, method=method, path=path) == 200


@pytest.mark.parametrize("headers", [{"host": "evil.test"}, {"sec-fetch-site": "cross-site"}, {"via": "1.1 a"}])
async def test_metrics_are_not_for_web_pages_either(headers: dict[str, str]) -> None:
    scope = http_scope("GET", "/metrics", {"host": HOST, **headers}, server=LOOPBACK)
    assert (await call(MetricsMiddleware(Inner()), scope)).status == 403
    scope = http_scope("GET", "/metrics", {"host": HOST}, server=LOOPBACK)
    assert (await call(MetricsMiddleware(Inner()), scope)).status == 200


async def test_key_makes_all_of_it_unneeded() -> None:
    headers = {"host": "evil.test", "via": "1.1 a", "origin": "http://evil.test", "x-api-key": "one"}
    scope = http_scope("POST", "/v1/messages", headers, server=LOOPBACK)
    assert (await call(AuthMiddleware(Inner(), api_keys=["one"]), scope, {})).status == 200


async def test_allowed_hosts_are_no_single_string() -> None:
    with pytest.raises(ValueError, match="allowed_hosts"):
        AuthMiddleware(Inner(), allowed_hosts="proxy.example")
