"""What passes to the provider and back: headers, bodies, addresses, and never a secret."""

import gzip
from typing import Any

import httpx
import pytest

from ccproxy.forwarding.forward import Forward
from ccproxy.forwarding.upstream import Upstream
from ccproxy_middleware.toolkit.errors import ApiError
from support.providers import faulty as faults
from support.providers.faulty import JSON, OK, answers_always, chunk, faulty, redirects, sized
from support.providers.scripted import Failure, Reply, ScriptedProvider, error_body
from support.serving.forwarding import COMPLETION, STREAMED, TRANSPORTS, TransportName, forwarding
from support.serving.servers import serve

pytestmark = pytest.mark.anyio

KEY = "sk-the-providers-key"


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    name: TransportName = request.param
    return name


async def request(method: str, url: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, url, **options)


async def test_only_listed_headers_are_sent(transport: TransportName) -> None:
    provider = ScriptedProvider()
    theirs = {
        "authorization": "Bearer client",
        "x-api-key": "client",
        "cookie": "a=1",
        "x-stainless-lang": "python",
        "x-forwarded-for": "10.0.0.1",
        "forwarded": "for=10.0.0.1",
        "user-agent": "claude-cli",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "one,two",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "idempotency-key": "1",
    }
    with serve(provider) as server, forwarding(server.url + "/v1", transport, api_key=KEY) as proxy:
        await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION, headers=theirs)
    sent = provider.requests[0].headers
    agent = sent.pop("user-agent")
    assert agent.startswith("cc-boost/")
    del sent["host"]
    assert sent == {
        "content-type": "application/json",
        "content-length": str(len(provider.requests[0].raw)),
        "accept": "application/json",
        "accept-encoding": "identity",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "one,two",
        "authorization": f"Bearer {KEY}",
    }


async def test_no_credential_is_sent_when_there_is_no_key(transport: TransportName) -> None:
    provider = ScriptedProvider()
    with serve(provider) as server, forwarding(server.url + "/v1", transport) as proxy:
        headers = {"authorization": "Bearer client"}
        await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION, headers=headers)
    assert not {"authorization", "api-key"} & set(provider.requests[0].headers)


async def test_custom_headers_override_in_any_case(transport: TransportName) -> None:
    provider = ScriptedProvider()
    custom = [(b"AUTHORIZATION", b"Basic b64"), (b"User-Agent", b"mine"), (b"X-Team", b"blue")]
    with (
        serve(provider) as server,
        forwarding(server.url + "/v1", transport, api_key=KEY, custom_headers=custom) as proxy,
    ):
        await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)
    sent = provider.requests[0].headers
    assert (sent["authorization"], sent["user-agent"], sent["x-team"]) == ("Basic b64", "mine", "blue")
    assert KEY not in str(sent)


async def test_answer_headers_are_passed_without_those_of_the_connection(transport: TransportName) -> None:
    answer = sized(
        JSON,
        OK
        + b"content-type: application/json\r\nserver: theirs\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
        + b"connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nalt-svc: h3\r\n"
        + b"strict-transport-security: max-age=1\r\n"
        + f"x-echo: Bearer {KEY}\r\nx-custom-echo: other-secret\r\n".encode()
        + b"x-request-id: abc\r\nx-ratelimit-remaining-requests: 7\r\nx-many: 1\r\nx-many: 2\r\n"
        + b"x-boost-outcome: boosted\r\nX-Boost-Evil: \x9b1;31m\r\nX-Upstream-Model: theirs\r\n",
    )
    custom = [(b"api-key", b"other-secret")]
    with (
        faulty(answers_always(answer)) as provider,
        forwarding(provider.url, transport, api_key=KEY, custom_headers=custom) as proxy,
    ):
        response = await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)
    headers = [pair for pair in response.headers.multi_items() if pair[0] not in ("date", "server")]
    assert sorted(headers) == [
        ("content-length", str(len(JSON))),
        ("content-type", "application/json"),
        ("x-many", "1"),
        ("x-many", "2"),
        ("x-ratelimit-remaining-requests", "7"),
        ("x-request-id", "abc"),
    ]
    assert response.headers["server"] == "uvicorn"


async def test_key_is_taken_out_of_an_error_body(transport: TransportName) -> None:
    failure = Failure(401, error_body(f"Incorrect API key provided: {KEY}"))
    with (
        serve(ScriptedProvider([failure])) as provider,
        forwarding(provider.url + "/v1", transport, api_key=KEY) as proxy,
    ):
        response = await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)
    assert response.status_code == 401
    assert response.json()["error"]["message"] == "Incorrect API key provided: ***"


async def test_key_goes_nowhere_else_when_the_provider_redirects(transport: TransportName) -> None:
    elsewhere = ScriptedProvider()
    with (
        serve(elsewhere) as other,
        faulty(redirects(f"{other.url}/v1?key={KEY}")) as provider,
        forwarding(provider.url, transport, api_key=KEY) as proxy,
    ):
        response = await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)
    assert response.status_code == 502
    assert f"redirects to {other.url}/v1," in response.json()["error"]["message"]
    assert KEY not in response.text
    assert elsewhere.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_body_is_decoded_when_the_provider_compresses_all_the_same(
    transport: TransportName, stream: bool
) -> None:
    answer = sized(gzip.compress(JSON, mtime=0), OK + b"content-type: application/json\r\ncontent-encoding: gzip\r\n")
    if stream:
        head = OK + b"content-type: text/event-stream\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
        packed = gzip.compress(faults.EVENT)
        answer = head + chunk(packed[:9]) + chunk(packed[9:]) + b"0\r\n\r\n"
    with faulty(answers_always(answer)) as provider, forwarding(provider.url, transport) as proxy:
        async with (
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("POST", proxy.url + "/v1/chat/completions", json=STREAMED) as response,
        ):
            body = b"".join([piece async for piece in response.aiter_raw()])
    assert body == (faults.EVENT if stream else JSON)
    assert not {"content-encoding", "content-length"} & set(response.headers)


async def test_body_is_passed_as_it_is_when_its_encoding_is_unknown(transport: TransportName) -> None:
    answer = sized(b"packed", OK + b"content-encoding: exotic\r\n")
    with faulty(answers_always(answer)) as provider, forwarding(provider.url, transport) as proxy:
        response = await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)
    assert (response.content, response.headers["content-encoding"]) == (b"packed", "exotic")


PACKED = gzip.compress(JSON, mtime=0)


@pytest.mark.parametrize("body", [b"not gzip", PACKED[:-9], PACKED + b"x", PACKED + PACKED])
async def test_bad_compression_breaks_the_answer_off(transport: TransportName, body: bytes) -> None:
    answer = sized(body, OK + b"content-encoding: gzip\r\n")
    with (
        faulty(answers_always(answer)) as provider,
        forwarding(provider.url, transport) as proxy,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)
    assert len(proxy.aborted) == 1


async def test_answer_of_http_1_0_comes_through(transport: TransportName) -> None:
    with faulty(faults.http_1_0) as provider, forwarding(provider.url, transport) as proxy:
        response = await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)
    assert response.content == JSON


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_models_can_be_listed(transport: TransportName, method: str) -> None:
    provider = ScriptedProvider(models=["a", "b"])
    with serve(provider) as server, forwarding(server.url + "/v1", transport, api_key=KEY) as proxy:
        response = await request(method, proxy.url + "/v1/models?limit=2")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) > 0
    if method == "GET":
        assert [model["id"] for model in response.json()["data"]] == ["a", "b"]
    seen = provider.requests[0]
    assert (seen.method, seen.path, seen.query) == (method, "/v1/models", "limit=2")


async def test_stream_bytes_are_those_of_the_provider(transport: TransportName) -> None:
    reply = Reply("Hello\u2028there, äöü \U0001f600", reasoning="hm")
    body = {**STREAMED, "stream_options": {"include_usage": True}}
    with serve(ScriptedProvider([reply, reply])) as provider, forwarding(provider.url, transport) as proxy:
        direct = await request("POST", provider.url + "/v1/chat/completions", json=body)
        through = await request("POST", proxy.url + "/v1/chat/completions", json=body)
    assert through.content == direct.content
    assert through.headers["content-type"] == direct.headers["content-type"]


URLS = [
    ("https://h/v1", None, "/v1/chat/completions", "https://h/v1/chat/completions"),
    ("https://h/v1/", None, "/chat/completions", "https://h/v1/chat/completions"),
    ("https://h", None, "/v1/messages", "https://h/messages"),
    ("https://h:8443/a/b/v1", None, "/v1/models", "https://h:8443/a/b/v1/models"),
    ("https://h/v1", None, "/v1beta/x", "https://h/v1/v1beta/x"),
    ("https://h/v1", None, "/v1", "https://h/v1"),
    ("https://h/v1?tenant=a", None, "/v1/models", "https://h/v1/models?tenant=a"),
    ("https://h/v1", None, "/v1/models/a b", "https://h/v1/models/a%20b"),
    ("https://r.azure/openai/v1", "preview", "/v1/chat/completions", "https://r.azure/openai/v1/chat/completions?api-version=preview"),
    ("https://r.azure/openai/v1?api-version=a", "b", "/v1/models", "https://r.azure/openai/v1/models?api-version=a"),
    ("https://r.azure/openai/deployments/d", "1", "/v1/chat/completions", "https://r.azure/openai/deployments/d/chat/completions?api-version=1"),
    ("https://r.azure", "1", "/v1/chat/completions", "https://r.azure/openai/deployments/gpt%204%2Fx/chat/completions?api-version=1"),
    ("https://r.azure/openai/", "1", "/v1/chat/completions", "https://r.azure/openai/deployments/gpt%204%2Fx/chat/completions?api-version=1"),
]  # fmt: skip


@pytest.mark.parametrize(("base_url", "api_version", "path", "expected"), URLS)
def test_url_of_a_request(base_url: str, api_version: str | None, path: str, expected: str) -> None:
    assert Upstream(base_url, KEY, api_version).url(path, b"", "gpt 4/x") == expected


@pytest.mark.parametrize("model", [None, 7, "", ".", ".."])
def test_azure_url_has_no_deployment_when_there_is_no_usable_model(model: object) -> None:
    url = Upstream("https://r.azure", KEY, "1").url("/v1/models", b"", model)
    assert url == "https://r.azure/openai/models?api-version=1"


@pytest.mark.parametrize("path", ["/v1/..", "/v1/../x", "/./x"])
def test_path_is_refused_when_it_has_dot_segments(path: str) -> None:
    with pytest.raises(ApiError):
        Upstream("https://h/v1", None, None).url(path, b"")


async def test_azure_resource_gets_key_version_and_deployment(transport: TransportName) -> None:
    provider = ScriptedProvider(api_key=KEY)
    with (
        serve(provider) as server,
        forwarding(server.url, transport, api_key=KEY, api_version="2024-10-21") as proxy,
    ):
        assert (await request("POST", proxy.url + "/v1/chat/completions", json=COMPLETION)).status_code == 200
        await request("POST", proxy.url + "/v1/chat/completions", content=b"no JSON")
        await request("GET", proxy.url + "/v1/models")
    assert [seen.path for seen in provider.requests] == [
        "/openai/deployments/gpt-4o/chat/completions",
        "/openai/chat/completions",
        "/openai/models",
    ]
    for seen in provider.requests:
        assert seen.query == "api-version=2024-10-21"
        assert seen.headers["api-key"] == KEY
        assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("api.openai.com/v1", None),
        ("ftp://h/v1", None),
        ("http://", None),
        ("http://user:word@h/v1", None),
        ("http://h:port/v1", None),
        ("http://h/v1", "key\r\nx: 1"),
        ("http://h/v1", "schlüssel"),
    ],
)
def test_bad_base_url_or_key_is_a_value_error(base_url: str, key: str | None) -> None:
    with pytest.raises(ValueError, match=r"base URL|API key") as raised:
        Forward(base_url, api_key=key)
    assert key is None or key not in str(raised.value)


def test_repr_shows_the_address_and_no_secret() -> None:
    forward = Forward("https://h/v1?token=t", api_key=KEY)
    assert repr(forward) == "Forward('https://h/v1')"
