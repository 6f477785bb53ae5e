"""The two transports meet the same faults and tell of them by the same exceptions."""

from collections.abc import Iterator

import httpx
import pytest

from ccproxy.forwarding import transport as transport_module
from ccproxy.forwarding.client import make_client
from support.providers import faulty as faults
from support.providers.faulty import JSON, OK, Behaviour, answers_always, faulty, refusing, sized, unreachable
from support.serving.forwarding import TRANSPORTS, TransportName

pytestmark = pytest.mark.anyio


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    name: TransportName = request.param
    return name


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without proxies, whose reading is not remembered."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    transport_module._proxy_for.cache_clear()
    yield monkeypatch
    transport_module._proxy_for.cache_clear()


FAULTS: list[tuple[str, Behaviour, tuple[type[Exception], ...]]] = [
    ("never_answers", faults.never_answers, (httpx.ReadTimeout,)),
    ("closes_before_headers", faults.closes_before_headers, (httpx.RemoteProtocolError,)),
    ("resets_before_headers", faults.resets_before_headers, (httpx.ReadError, httpx.RemoteProtocolError)),
    ("closes_in_headers", faults.closes_in_headers, (httpx.RemoteProtocolError,)),
    ("not_http", faults.not_http, (httpx.RemoteProtocolError,)),
    ("bad_chunk_size", faults.bad_chunk_size, (httpx.RemoteProtocolError,)),
    ("bad_chunk_size_after_data", faults.bad_chunk_size_after_data, (httpx.RemoteProtocolError,)),
    ("bad_chunk_size_at_once", faults.bad_chunk_size_at_once, (httpx.RemoteProtocolError,)),
    ("closes_mid_body", faults.closes_mid_body, (httpx.RemoteProtocolError,)),
    ("resets_mid_body", faults.resets_mid_body, (httpx.ReadError, httpx.RemoteProtocolError)),
    ("stalls_mid_body", faults.stalls_mid_body, (httpx.ReadTimeout,)),
    ("content_length_too_long", faults.content_length_too_long, (httpx.RemoteProtocolError,)),
]


@pytest.mark.parametrize(("behaviour", "expected"), [pytest.param(b, e, id=n) for n, b, e in FAULTS])
async def test_fault_is_an_httpx_exception(
    transport: TransportName, behaviour: Behaviour, expected: tuple[type[Exception], ...]
) -> None:
    with faulty(behaviour) as server:
        async with make_client(transport, timeout=0.3) as client:
            with pytest.raises(expected):
                await client.post(server.url, content=b"{}")


async def test_connect_error_when_the_port_refuses(transport: TransportName) -> None:
    with refusing() as url:
        async with make_client(transport) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(url)


async def test_connect_timeout_when_nobody_takes_the_connection(transport: TransportName) -> None:
    with unreachable() as url:
        async with make_client(transport, timeout=0.2) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(url)


async def test_connect_error_when_the_name_does_not_exist(transport: TransportName) -> None:
    async with make_client(transport) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://provider.invalid/v1")


async def test_connect_error_when_the_server_speaks_no_tls(transport: TransportName) -> None:
    with faulty(faults.speaks_first) as server:
        async with make_client(transport, timeout=2) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(server.url.replace("http:", "https:"))


async def test_large_body_arrives_whole(transport: TransportName) -> None:
    body = b"x" * (3 * 1024 * 1024)
    with faulty(answers_always(sized(JSON))) as server:
        async with make_client(transport) as client:
            response = await client.post(server.url, content=body)
    assert response.content == JSON
    assert server.requests[0].endswith(body)
    assert b"transfer-encoding" not in server.requests[0][:1000].lower()


async def test_response_is_whole_when_it_comes_byte_by_byte(transport: TransportName) -> None:
    with faulty(faults.trickles(sized(JSON))) as server:
        async with make_client(transport) as client:
            response = await client.post(server.url, content=b"{}")
    assert response.content == JSON
    assert response.headers["content-type"] == "application/json"


async def test_url_goes_out_as_it_is(transport: TransportName) -> None:
    with faulty(answers_always(sized(JSON))) as server:
        async with make_client(transport) as client:
            await client.get(server.url + "/a%2Fb%20c/d?x=%26&y=z%2B")
    assert server.requests[0].startswith(b"GET /a%2Fb%20c/d?x=%26&y=z%2B HTTP/1.1\r\n")


async def test_nothing_is_added_to_the_headers(transport: TransportName) -> None:
    with faulty(answers_always(sized(JSON))) as server:
        async with make_client(transport) as client:
            request = httpx.Request("POST", server.url, headers={"user-agent": "me"}, content=b"{}")
            await client.send(request)
    names = {line.split(b":")[0].lower() for line in server.requests[0].split(b"\r\n")[1:-2]}
    assert names == {b"host", b"user-agent", b"content-length"}


async def test_cookies_are_not_kept(transport: TransportName) -> None:
    response = sized(JSON, OK + b"set-cookie: session=1; path=/\r\n")
    with faulty(answers_always(response)) as server:
        async with make_client(transport) as client:
            await client.get(server.url)
            await client.get(server.url)
            assert len(client.cookies) == 0
    assert b"cookie" not in server.requests[1].lower()


async def test_long_header_is_taken(transport: TransportName) -> None:
    response = sized(JSON, OK + b"x-policy: " + b"p" * 20_000 + b"\r\n")
    with faulty(answers_always(response)) as server:
        async with make_client(transport) as client:
            assert len((await client.get(server.url)).headers["x-policy"]) == 20_000


async def test_trace_tells_a_new_connection_from_a_kept_one(transport: TransportName) -> None:
    async def ask(client: httpx.AsyncClient, url: str) -> list[str]:
        events: list[str] = []

        async def trace(event: str, info: object) -> None:
            events.append(event)

        await client.send(httpx.Request("POST", url, content=b"{}", extensions={"trace": trace}))
        return events

    with faulty(answers_always(sized(JSON))) as server:
        async with make_client(transport) as client:
            first, second = [await ask(client, server.url) for _ in range(2)]
    assert {"connection.connect_tcp.started", "connection.connect_tcp.complete"} <= set(first)
    assert not {"connection.connect_tcp.started", "connection.connect_tcp.complete"} & set(second)
    assert "http11.send_request_body.complete" in first
    assert server.connections == 1


async def test_proxy_of_the_environment_is_used_when_the_host_is_not_local(
    transport: TransportName, environment: pytest.MonkeyPatch
) -> None:
    with faulty(answers_always(sized(JSON))) as proxy:
        environment.setenv("http_proxy", proxy.url.replace("http://", "http://user:word@"))
        async with make_client(transport) as client:
            await client.get("http://provider.invalid/v1/models")
    assert proxy.requests[0].startswith(b"GET http://provider.invalid/v1/models HTTP/1.1\r\n")
    assert b"proxy-authorization: basic dXNlcjp3b3Jk".lower() in proxy.requests[0].lower()


async def test_proxy_gets_a_connect_and_its_credential_when_the_url_is_https(
    transport: TransportName, environment: pytest.MonkeyPatch
) -> None:
    with faulty(answers_always(sized(b"", b"HTTP/1.1 403 No\r\n"))) as proxy:
        environment.setenv("https_proxy", proxy.url.replace("http://", "http://user:word@"))
        async with make_client(transport) as client:
            with pytest.raises(httpx.ProxyError):
                await client.get("https://provider.invalid/v1/models", headers={"authorization": "Bearer key"})
    assert proxy.requests[0].startswith(b"CONNECT provider.invalid:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: basic dXNlcjp3b3Jk".lower() in proxy.requests[0].lower()
    assert b"Bearer key" not in proxy.requests[0]


async def test_proxy_is_left_out_when_the_host_is_loopback(
    transport: TransportName, environment: pytest.MonkeyPatch
) -> None:
    with refusing() as proxy, faulty(answers_always(sized(JSON))) as server:
        environment.setenv("http_proxy", proxy)
        async with make_client(transport) as client:
            assert (await client.get(server.url)).content == JSON


async def test_proxy_is_left_out_when_no_proxy_names_the_host(
    transport: TransportName, environment: pytest.MonkeyPatch
) -> None:
    with faulty(answers_always(sized(JSON))) as proxy:
        environment.setenv("http_proxy", proxy.url)
        environment.setenv("no_proxy", "provider.invalid")
        async with make_client(transport) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("http://provider.invalid/v1/models")
    assert proxy.connections == 0


async def test_socks_proxy_is_refused_by_aiohttp(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", "socks5://127.0.0.1:1")
    async with make_client("aiohttp") as client:
        with pytest.raises(httpx.ProxyError, match="socks5"):
            await client.get("http://provider.invalid/v1/models")
