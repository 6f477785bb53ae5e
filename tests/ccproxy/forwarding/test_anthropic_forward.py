"""AnthropicForward on a real socket in front of a server that speaks Anthropic's API."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam, ThinkingConfigEnabledParam
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from ccproxy.forwarding import AnthropicForward
from ccproxy_middleware import AuthMiddleware, CustomHeadersMiddleware, ModelMappingMiddleware
from support.providers.anthropic_rules import Body
from support.providers.anthropic_server import AnthropicServer, Content, Refusal
from support.providers.faulty import answers_always, faulty
from support.serving.servers import serve

pytestmark = pytest.mark.anyio

KEY = "sk-ant-the-operators-key"
OAUTH = "sk-ant-oat01-the-clients-own-token"
OURS = "the-proxys-own-key"
USER: MessageParam = {"role": "user", "content": "Hi"}
BODY = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [USER]}
THINKING: ThinkingConfigEnabledParam = {"type": "enabled", "budget_tokens": 1024}


def hello(body: Body) -> Content:
    return [{"type": "thinking", "thinking": "well"}, {"type": "text", "text": "Hello \u2028 there"}]


@contextmanager
def served(upstream: AnthropicServer, *layers: Middleware, suffix: str = "/v1", **options: Any) -> Iterator[str]:
    """Serve both, and yield the URL of the one in front."""
    options = {"api_keys": (KEY,), "max_retries": 0, **options}
    with serve(upstream, lifespan="off") as server, front(server.url + suffix, *layers, **options) as url:
        yield url


@contextmanager
def front(base_url: str, *layers: Middleware, **options: Any) -> Iterator[str]:
    forward: ASGIApp = AnthropicForward(base_url, **options)
    with serve(Starlette(routes=[Mount("/", app=forward)], middleware=layers), lifespan="off") as server:
        yield server.url


def mapped() -> Middleware:
    return Middleware(ModelMappingMiddleware, big="claude-opus-4-8-20251101", small="claude-haiku-4-5-20251001")


def own_keys() -> Middleware:
    return Middleware(AuthMiddleware, api_keys=[OURS])


async def post(url: str, body: Any = BODY, path: str = "/v1/messages", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url + path, content=content, headers={"content-type": "application/json", **sent})


@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "", "/", "/v1/messages"])
async def test_base_url_is_understood_with_v1_and_without(suffix: str) -> None:
    server = AnthropicServer(hello, strict=True, credentials=[KEY])
    with served(server, suffix=suffix) as url:
        assert (await post(url)).status_code == 200
    assert len(server.bodies) == 1


@pytest.mark.parametrize("prefix", ["/api/anthropic", "/api/anthropic/v1"])
def test_base_url_may_have_a_path(prefix: str) -> None:
    assert repr(AnthropicForward(f"https://h{prefix}")) == "AnthropicForward('https://h/api/anthropic/v1')"


async def test_headers_that_anthropic_knows_pass_and_no_other() -> None:
    server = AnthropicServer(hello, strict=True, credentials=[KEY])
    sent = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "a,b",
        "anthropic-dangerous-direct-browser-access": "true",
        "x-claude-code-session-id": "s",
        "x-claude-code-new-in-future": "x",
        "user-agent": "claude-cli/2.1",
        "x-app": "cli",
        "x-stainless-lang": "js",
        "accept": "application/json",
    }
    kept_back = {
        "x-api-key": "the-clients", "authorization": "Bearer the-clients", "x-cc-boost-key": "ours", "cookie": "a=1",
        "x-forwarded-for": "10.0.0.1", "accept-encoding": "gzip", "traceparent": "00-1-1-00",
    }  # fmt: skip
    with served(server) as url:
        await post(url, **sent, **kept_back)
    got = server.headers[0]
    del got["host"], got["content-length"], got["content-type"]
    assert got == {**sent, "x-api-key": KEY, "accept-encoding": "identity"}


async def test_program_without_a_name_is_sent_under_ours_and_without_a_version_under_the_usual() -> None:
    server = AnthropicServer(hello, strict=True)
    with served(server) as url:
        async with httpx.AsyncClient(trust_env=False) as client:
            request = client.build_request("POST", url + "/v1/messages", json=BODY)
            del request.headers["user-agent"]
            await client.send(request)
    assert server.headers[0]["user-agent"].startswith("cc-boost/")
    assert server.headers[0]["anthropic-version"] == "2023-06-01"


async def test_answers_own_headers_pass_without_those_of_the_connection() -> None:
    server = AnthropicServer(hello, strict=True)
    with served(server) as url:
        answer = await post(url)
    assert answer.headers["request-id"] == "req_0"
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "49"
    assert answer.headers["anthropic-organization-id"] == "org-1"
    assert "set-cookie" not in answer.headers
    assert answer.headers["server"] == "uvicorn"


async def test_bytes_are_as_they_were_but_for_the_models_name() -> None:
    server = AnthropicServer(hello, strict=True)
    raw = json.dumps({**BODY, "metadata": {"n": 1.0}, "x": "é \u2028"}, indent=1).encode() + b" "
    raw = raw.replace(b"1.0", b'1.0, "e": 1E5, "big": 123456789012345678901234567890, "n": "\\ud83d"')
    with served(server, mapped()) as url:
        answer = await post(url, raw.replace(b"claude-sonnet-4-5", b"claude-haiku-4-5"))
    assert server.raws == [raw.replace(b"claude-sonnet-4-5", b"claude-haiku-4-5-20251001")]
    assert answer.json()["model"] == "claude-haiku-4-5"
    assert answer.headers["x-upstream-model"] == "claude-haiku-4-5-20251001"


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_answers_bytes_are_as_they_were_but_for_the_models_name(encoding: str) -> None:
    plain = b'{"type": "message",\n "model" : "claude-opus-4-8-20251101", "n": 1.0, "e": 1E5, "n": {"model": "in"}}\n'
    body = plain if encoding == "identity" else gzip.compress(plain)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: {encoding}\r\n"
    answer = head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
    with faulty(answers_always(answer)) as provider, front(provider.url, mapped(), api_keys=(KEY,)) as url:
        got = await post(url, {**BODY, "model": "claude-opus-4-8"})
    assert got.content == plain.replace(b"claude-opus-4-8-20251101", b"claude-opus-4-8")
    assert int(got.headers["content-length"]) == len(got.content)


async def test_streams_bytes_are_as_they_were_but_for_the_models_name() -> None:
    server = AnthropicServer(hello, strict=True)
    body = {**BODY, "model": "claude-opus-4-8-20251101", "stream": True}
    with serve(server, lifespan="off") as direct, front(direct.url, mapped(), api_keys=(KEY,)) as url:
        expected = (await post(direct.url, body)).content
        got = (await post(url, {**body, "model": "claude-opus-4-8"})).content
    id_ = expected[expected.index(b"msg_") :][:28]
    mine = got[got.index(b"msg_") :][:28]
    assert got.replace(mine, id_) == expected.replace(b'"claude-opus-4-8-20251101"', b'"claude-opus-4-8"')


async def test_key_of_the_pool_is_the_one_that_the_scope_names() -> None:
    server = AnthropicServer(hello, strict=True)
    keys = ("sk-ant-first", "sk-ant-second")

    def choosing(app: ASGIApp) -> ASGIApp:
        async def chosen(scope: Any, receive: Any, send: Any) -> None:
            number = dict(scope["headers"]).get(b"anthropic-number")
            key = {} if number is None else {"ccproxy.key": int(number)}
            await app({**scope, **key}, receive, send)

        return chosen

    with served(server, Middleware(choosing), api_keys=keys) as url:
        for number in ({}, {"anthropic_number": "1"}, {"anthropic_number": "0"}):
            await post(url, **number)
    assert [headers["x-api-key"] for headers in server.headers] == [keys[0], keys[1], keys[0]]


async def test_operators_headers_override_the_key() -> None:
    server = AnthropicServer(hello, strict=True)
    headers = Middleware(CustomHeadersMiddleware, headers={"Authorization": "Bearer gateway", "x-team": "a"})
    with served(server, headers) as url:
        await post(url)
    assert server.headers[0]["authorization"] == "Bearer gateway"
    assert server.headers[0]["x-team"] == "a"
    assert "x-api-key" not in server.headers[0]


@pytest.mark.parametrize("status", [401, 429, 529])
async def test_refusals_pass_with_their_headers_and_never_the_key(status: int) -> None:
    told = {"retry-after": "7", "x-should-retry": "true", "anthropic-ratelimit-requests-limit": "5"}
    server = AnthropicServer(lambda body: Refusal(f"no: {KEY}", status, "some_error", told))
    with served(server) as url:
        answer = await post(url)
    assert answer.status_code == status
    assert answer.json() == {"type": "error", "error": {"type": "some_error", "message": "no: ***"}}
    assert {name: answer.headers[name] for name in told} == told


async def test_official_client_counts_lists_and_talks() -> None:
    server = AnthropicServer(hello, strict=True, credentials=[KEY])
    with served(server, own_keys(), mapped()) as url:
        async with anthropic.AsyncAnthropic(api_key=OURS, base_url=url, max_retries=0) as client:
            counted = await client.messages.count_tokens(model="claude-opus-4-8", messages=[USER])
            assert counted.input_tokens == 12
            assert [model.id async for model in client.models.list(limit=5)] == ["claude-sonnet-4-5"]
            said = await client.messages.create(
                model="claude-opus-4-8", max_tokens=2000, messages=[USER], thinking=THINKING
            )
            assert said.model == "claude-opus-4-8"
            assert said._request_id == "req_1"
            async with client.messages.stream(
                model="claude-opus-4-8",
                max_tokens=2000,
                messages=[USER, {"role": "assistant", "content": said.content}, USER],
                thinking=THINKING,
            ) as stream:
                text = "".join([piece async for piece in stream.text_stream])
                final = await stream.get_final_message()
    assert text == "Hello \u2028 there"
    assert final.model == "claude-opus-4-8"
    assert server.refused == []
    assert {body["model"] for body in server.bodies} == {"claude-opus-4-8-20251101"}


async def test_stream_that_is_cut_ends_in_an_error_event() -> None:
    server = AnthropicServer(hello, strict=True, cut=3)
    with served(server) as url:
        async with anthropic.AsyncAnthropic(api_key=OURS, base_url=url, max_retries=0) as client:
            with pytest.raises(anthropic.APIStatusError, match="broke off"):
                async with client.messages.stream(model="claude-opus-4-8", max_tokens=9, messages=[USER]) as stream:
                    await stream.get_final_message()


async def test_server_that_is_not_there_is_a_502_in_anthropics_form() -> None:
    with front("http://127.0.0.1:9", api_keys=(KEY,), max_retries=0) as url:
        answer = await post(url)
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    "own",
    [
        {"x_api_key": "sk-ant-api-the-clients"},
        {"authorization": f"Bearer {OAUTH}", "anthropic_beta": "oauth-2025-04-20"},
    ],
)
async def test_clients_own_credential_goes_as_it_came(own: dict[str, str]) -> None:
    server = AnthropicServer(hello, strict=True, credentials=["sk-ant-api-the-clients", OAUTH])
    with served(server, own_keys(), api_keys=(), client_credential=True) as url:
        answer = await post(url, x_cc_boost_key=OURS, **own)
        assert answer.status_code == 200
    got = server.headers[0]
    assert {name: got[name.replace("_", "-")] for name in own} == own
    assert OURS not in str(server.headers)
    assert len({"x-api-key", "authorization"} & set(got)) == 1


@pytest.mark.parametrize(
    "sent",
    [
        {"x_api_key": OURS},
        {"authorization": f"Bearer {OURS}"},
        {"x_cc_boost_key": OURS},
        {"x_cc_boost_key": OURS, "x_api_key": OURS},
        {"x_cc_boost_key": OURS, "authorization": f"Bearer {OURS}"},
        {"x_cc_boost_key": "wrong", "x_api_key": OURS, "authorization": f"Bearer {OAUTH}"},
    ],
)
async def test_our_key_never_goes_in_place_of_the_clients_credential(sent: dict[str, str]) -> None:
    server = AnthropicServer(hello, strict=True)
    with served(server, own_keys(), api_keys=(), client_credential=True) as url:
        answer = await post(url, **sent)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert "`x-cc-boost-key`" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert server.headers == []


async def test_credential_is_taken_from_the_client_where_nobody_asks_for_a_key() -> None:
    server = AnthropicServer(hello, strict=True, credentials=[OAUTH])
    headers = Middleware(CustomHeadersMiddleware, headers={"x-api-key": "another-upstreams"})

    def to_another(app: ASGIApp) -> ASGIApp:
        async def chosen(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "ccproxy.custom_headers": []}, receive, send)

        return chosen

    layers = (headers, Middleware(to_another))
    with served(server, *layers, api_keys=(), client_credential=True) as url:
        answer = await post(url, authorization=f"Bearer {OAUTH}", anthropic_beta="oauth-2025-04-20")
    assert answer.status_code == 200
    assert "another-upstreams" not in str(server.headers)


async def test_clients_credential_is_taken_out_of_what_comes_back() -> None:
    server = AnthropicServer(lambda body: Refusal(f"bad token {OAUTH}", 401, "authentication_error"))
    with served(server, own_keys(), api_keys=(), client_credential=True) as url:
        answer = await post(url, x_cc_boost_key=OURS, authorization=f"Bearer {OAUTH}")
    assert answer.json()["error"]["message"] == "bad token ***"


@pytest.mark.parametrize(
    "options",
    [{"api_keys": KEY}, {"api_keys": (KEY,), "client_credential": True}, {"api_keys": ("a\nb",)}, {"base_url": "h/v1"}],
)
def test_options_that_can_not_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"key|URL"):
        AnthropicForward(**{"base_url": "https://h/v1", **options})
