"""What the client sees when the provider fails, fault by fault, over both transports."""

import asyncio
import json
import logging
import re
from typing import Any

import httpx
import pytest

from ccproxy.forwarding.retries import retry_delay
from support.providers import faulty as faults
from support.providers.faulty import (
    EVENT,
    JSON,
    SSE,
    Behaviour,
    answers_always,
    chunk,
    faulty,
    refusing,
    sized,
    unreachable,
)
from support.providers.scripted import Failure, Raw, Reply, ScriptedProvider, Silence, error_body
from support.serving.forwarding import COMPLETION, STREAMED, TRANSPORTS, Forwarding, TransportName, forwarding
from support.serving.servers import serve

pytestmark = pytest.mark.anyio

AT_ONCE = {"retry-after-ms": "1"}


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    name: TransportName = request.param
    return name


async def post(proxy: Forwarding, path: str = "/v1/chat/completions") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(proxy.url + path, json=COMPLETION)


async def read_broken(proxy: Forwarding, path: str = "/v1/chat/completions") -> tuple[httpx.Response, bytes]:
    """An answer and the part of its body that came before the connection broke."""
    body = b""
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("POST", proxy.url + path, json=STREAMED) as response,
    ):
        pieces = response.aiter_raw()
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 (what came before it counts)
            async for piece in pieces:
                body += piece
    return response, body


BEFORE_THE_START: list[tuple[str, Behaviour, int, str, str]] = [
    ("never_answers", faults.never_answers, 504, "timeout_error", "timed out before it answered"),
    ("never_reads", faults.never_reads, 504, "timeout_error", "timed out before it answered"),
    ("slow_headers", faults.slow_headers, 504, "timeout_error", "timed out before it answered"),
    ("closes_before_headers", faults.closes_before_headers, 502, "api_error", "broke off"),
    ("resets_before_headers", faults.resets_before_headers, 502, "api_error", "broke off"),
    ("closes_in_headers", faults.closes_in_headers, 502, "api_error", "broke off"),
    ("not_http", faults.not_http, 502, "api_error", "broke off or was not HTTP"),
    ("redirects", faults.redirects("http://elsewhere.invalid/v1?key=1"), 502, "api_error", "redirects to"),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize(
    ("behaviour", "status", "kind", "message"),
    [pytest.param(*fault[1:], id=fault[0]) for fault in BEFORE_THE_START],
)
async def test_error_has_a_status_when_nothing_was_sent_yet(
    transport: TransportName, path: str, behaviour: Behaviour, status: int, kind: str, message: str
) -> None:
    with faulty(behaviour) as provider, forwarding(provider.url, transport, timeout=0.5) as proxy:
        response = await post(proxy, path)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, kind)
    assert message in error["message"]
    assert response.json().get("type") == (None if "chat" in path else "error")
    assert provider.connections == 1
    assert proxy.errors == []


INTERNALS = re.compile(
    r"ssl:default|_ssl\.c|SSLContext|CERTIFICATE_|Errno|Error\b|<|\[Connect|aiohttp|b'|bytearray|400, message"
    r"|incomplete chunked read|complete message body|All connection attempts"
)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("behaviour", [fault[1] for fault in BEFORE_THE_START], ids=[f[0] for f in BEFORE_THE_START])
async def test_message_has_no_internals_of_a_library(transport: TransportName, path: str, behaviour: Behaviour) -> None:
    with faulty(behaviour) as provider, forwarding(provider.url, transport, timeout=0.5) as proxy:
        response = await post(proxy, path)
    assert not INTERNALS.search(response.json()["error"]["message"])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9", "could not connect to the provider 127.0.0.1:9: "),
        ("http://no-such-host.invalid", "could not connect to the provider no-such-host.invalid: "),
        ("https://{plain}", "wrong version number"),
    ],
)
async def test_message_says_why_there_is_no_connection(transport: TransportName, url: str, message: str) -> None:
    with serve(ScriptedProvider(), lifespan="off") as plain:
        url = url.format(plain=plain.url.removeprefix("http://"))
        with forwarding(url, transport, timeout=5, max_retries=0) as proxy:
            told = (await post(proxy)).json()["error"]["message"]
    assert message in told
    assert not told.endswith(": ")
    assert not INTERNALS.search(told)


AFTER_THE_START: list[tuple[str, Behaviour, int, bytes]] = [
    ("closes_mid_body", faults.closes_mid_body, 502, EVENT),
    ("resets_mid_body", faults.resets_mid_body, 502, EVENT),
    ("closes_mid_event", faults.closes_mid_event, 502, EVENT + EVENT[:20]),
    ("resets_mid_event", faults.resets_mid_event, 502, EVENT + EVENT[:20]),
    ("bad_chunk_size", faults.bad_chunk_size, 502, b""),
    ("bad_chunk_size_after_data", faults.bad_chunk_size_after_data, 502, EVENT),
    ("stalls_mid_body", faults.stalls_mid_body, 504, EVENT),
    ("stalls_mid_event", faults.stalls_mid_event, 504, EVENT + EVENT[:20]),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize(
    ("behaviour", "code", "before"), [pytest.param(*fault[1:], id=fault[0]) for fault in AFTER_THE_START]
)
async def test_stream_ends_with_an_error_event_when_it_breaks(
    transport: TransportName,
    path: str,
    behaviour: Behaviour,
    code: int,
    before: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "ccproxy.forward")
    with faulty(behaviour) as provider, forwarding(provider.url, transport, timeout=0.5) as proxy:
        response, body = await read_broken(proxy, path)
    assert response.status_code == 200
    kind = "timeout_error" if code == 504 else "api_error"
    sent, _, event = body.rpartition(b"\n\n" + (b"data: " if "chat" in path else b"event: error\ndata: "))
    assert sent == before
    error: dict[str, Any] = json.loads(event)["error"]
    assert error["type"] == kind
    if "chat" in path:
        assert error["code"] == code
    warnings = [record.getMessage() for record in caplog.records if record.name == "ccproxy.forward"]
    assert len(warnings) == 1
    assert warnings[0].endswith(error["message"])
    assert "\n" not in warnings[0]
    assert not INTERNALS.search(error["message"])
    assert len(proxy.aborted) == 1
    assert provider.connections == 1


async def test_answer_is_cut_when_it_is_no_stream(transport: TransportName) -> None:
    with (
        faulty(faults.content_length_too_long) as provider,
        forwarding(provider.url, transport, timeout=0.5) as proxy,
    ):
        _, body = await read_broken(proxy)
    assert body == JSON
    assert len(proxy.aborted) == 1


async def test_stream_outlives_the_timeout_when_it_moves(transport: TransportName) -> None:
    parts: list[bytes | float] = [EVENT, 0.1] * 7
    with (
        serve(ScriptedProvider([Raw(parts)])) as provider,
        forwarding(provider.url, transport, timeout=0.5) as proxy,
    ):
        response = await post(proxy)
    assert response.content == EVENT * 7
    assert proxy.aborted == []


async def test_connect_failure_names_the_host_and_not_the_key(transport: TransportName) -> None:
    with refusing() as url, forwarding(url, transport, api_key="sk-secret", max_retries=0) as proxy:
        response = await post(proxy)
    message = response.json()["error"]["message"]
    assert response.status_code == 502
    assert message.startswith(f"could not connect to the provider {url.removeprefix('http://')}: ")
    assert "sk-secret" not in response.text


async def test_connect_that_takes_too_long_is_a_502(transport: TransportName) -> None:
    with unreachable() as url, forwarding(url, transport, timeout=0.2, max_retries=0) as proxy:
        response = await post(proxy)
    assert response.status_code == 502
    assert response.json()["error"]["message"].startswith("could not connect to the provider 127.0.0.1:")


async def test_connect_is_tried_again_when_it_fails(transport: TransportName, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ccproxy.forward")
    with refusing() as url, forwarding(url, transport, max_retries=1) as proxy:
        response = await post(proxy)
    assert response.status_code == 502
    assert sum("the next one follows" in record.getMessage() for record in caplog.records) == 1


DELAYS: list[tuple[dict[str, str], float, float]] = [
    ({}, 1.5, 2.5),
    ({"retry-after": "2.5"}, 2.5, 2.5),
    ({"retry-after": "7", "retry-after-ms": "250"}, 0.25, 0.25),
    ({"retry-after": "-3"}, 0, 0),
    ({"retry-after": "soon"}, 1.5, 2.5),
    ({"retry-after-ms": "soon", "retry-after": "1"}, 1, 1),
    ({"retry-after-ms": "nan", "retry-after": "1"}, 1, 1),
    ({"retry-after": "nan"}, 1.5, 2.5),
    ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0, 0),
    ({"retry-after": "Sat, 01 Jan 0001 00:00:00 +0100"}, 0, 0),
    ({"retry-after": "Wed, 21 Oct 2015 07:28:00 +99999999999999"}, 1.5, 2.5),
    ({"retry-after": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"}, 1.5, 2.5),
    ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, 1.5, 2.5),
]


@pytest.mark.parametrize(("headers", "low", "high"), DELAYS)
def test_delay_before_the_third_try(headers: dict[str, str], low: float, high: float) -> None:
    delay = retry_delay(503, headers, b"", 2)
    assert delay is not None
    assert low <= delay <= high


@pytest.mark.parametrize(
    "value",
    [
        *("11", "inf", "1e400", "Fri, 01 Jan 2100 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"),
        *("Fri, 31 Dec 9999 23:59:59 -0100", "Fri, 31 Dec 9999 23:59:59 -0000"),
    ],
)
def test_no_retry_when_the_wait_is_long(value: str) -> None:
    assert retry_delay(429, {"retry-after": value}, b"", 0) is None


RETRIES: list[tuple[str, Failure, int]] = [
    *((str(status), Failure(status, headers=AT_ONCE), 3) for status in (408, 429, 500, 502, 503, 504, 529)),
    *((str(status), Failure(status, headers=AT_ONCE), 1) for status in (400, 401, 403, 404, 409, 413, 422, 501)),
    ("in seconds", Failure(429, headers={"retry-after": "0"}), 3),
    ("a past date", Failure(429, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), 3),
    ("too long to wait", Failure(429, headers={"retry-after": "11"}), 1),
    ("never", Failure(500, headers={"x-should-retry": "false", **AT_ONCE}), 1),
    ("no quota", Failure(429, error_body("You exceeded it", code="insufficient_quota"), AT_ONCE), 1),
    ("no money by a code", Failure(429, error_body("no", code="1113"), AT_ONCE), 1),
    ("no money by words", Failure(500, error_body("Insufficient balance, please recharge"), AT_ONCE), 1),
    ("a plan's limit", Failure(429, error_body("Weekly usage limit reached", code="1310"), AT_ONCE), 1),
    ("a long prompt", Failure(500, error_body("prompt is too long: 12 tokens > 10 maximum"), AT_ONCE), 1),
    ("told in the body", Failure(429, {"error": {"message": "no", "retry_after_ms": 1}}), 3),
    ("told in words", Failure(429, error_body("Please try again in 1ms"), {}), 3),
    ("long, told in words", Failure(429, error_body("Please try again in 6m0s"), {}), 1),
]


@pytest.mark.parametrize(("failure", "tries"), [pytest.param(f, n, id=name) for name, f, n in RETRIES])
async def test_status_is_retried_and_then_handed_on(failure: Failure, tries: int) -> None:
    provider = ScriptedProvider(lambda body: failure)
    with serve(provider) as server, forwarding(server.url + "/v1", "aiohttp") as proxy:
        response = await post(proxy)
    assert len(provider.requests) == tries
    assert response.status_code == failure.status
    assert response.json() == failure.body
    for name, value in failure.headers.items():
        assert response.headers[name] == value


async def test_answer_comes_through_when_a_retry_succeeds(transport: TransportName) -> None:
    provider = ScriptedProvider([Failure(503, headers=AT_ONCE), Failure(429, headers=AT_ONCE), Reply("There.")])
    with serve(provider) as server, forwarding(server.url + "/v1", transport) as proxy:
        response = await post(proxy)
    assert response.json()["choices"][0]["message"]["content"] == "There."
    assert [request.body for request in provider.requests] == [COMPLETION] * 3


async def test_nothing_is_retried_when_max_retries_is_none(transport: TransportName) -> None:
    provider = ScriptedProvider([Failure(503, headers=AT_ONCE)])
    with serve(provider) as server, forwarding(server.url, transport, max_retries=0) as proxy:
        assert (await post(proxy)).status_code == 503
    assert len(provider.requests) == 1


async def test_post_is_not_repeated_when_its_answer_times_out(transport: TransportName) -> None:
    provider = ScriptedProvider([Silence()])
    with serve(provider) as server, forwarding(server.url, transport, timeout=0.2) as proxy:
        assert (await post(proxy)).status_code == 504
    assert len(provider.requests) == 1
    assert len(provider.disconnects) == 1


@pytest.mark.parametrize("end", [faults.closes_second_request, faults.resets_second_request])
async def test_request_is_sent_once_when_its_kept_connection_ends_after_it_was_read(
    transport: TransportName, end: faults.Behaviour
) -> None:
    with (
        faulty(end, answers_always(sized(JSON))) as provider,
        forwarding(provider.url, transport, max_retries=5) as proxy,
    ):
        answers = [await post(proxy) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 502, 200]
    assert len(provider.requests) == 3


async def test_request_works_when_the_provider_closed_the_idle_connection(transport: TransportName) -> None:
    with (
        faulty(faults.closes_when_idle) as provider,
        forwarding(provider.url, transport, max_retries=0) as proxy,
    ):
        for _ in range(3):
            assert (await post(proxy)).status_code == 200
            await asyncio.sleep(0.1)  # the close follows the answer


async def test_body_is_refused_when_it_is_too_large(transport: TransportName) -> None:
    provider = ScriptedProvider()
    with serve(provider) as server, forwarding(server.url, transport) as proxy:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = proxy.url + "/v1/messages"
            response = await client.post(url, content=b" " * (32 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "request_too_large"
    assert provider.requests == []


async def test_path_is_refused_when_it_would_leave_the_base(transport: TransportName) -> None:
    provider = ScriptedProvider()
    with serve(provider) as server, forwarding(server.url + "/v1/mine", transport) as proxy:
        response = await post(proxy, "/v1/%2e%2e/theirs")
    assert response.status_code == 404
    assert provider.requests == []


async def test_long_error_body_comes_through_whole(transport: TransportName) -> None:
    long = chunk(b"e" * 60_000)
    answer = SSE.replace(b"200 OK", b"400 Bad Request") + long + long + b"0\r\n\r\n"
    with faulty(answers_always(answer)) as provider, forwarding(provider.url, transport) as proxy:
        response = await post(proxy)
    assert response.status_code == 400
    assert response.content == b"e" * 120_000
