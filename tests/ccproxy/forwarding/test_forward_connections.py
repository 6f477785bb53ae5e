"""Disconnects, backpressure, reuse of connections, and who opens and closes the client."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy.forwarding.client import make_client
from ccproxy.forwarding.forward import Forward
from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.providers.faulty import JSON, answers_always, closes_mid_body, faulty, floods, never_answers, sized
from support.providers.scripted import Endless, Failure, ScriptedProvider, Silence
from support.serving.forwarding import COMPLETION, STREAMED, TRANSPORTS, TransportName, forwarding
from support.serving.servers import eventually, serve

pytestmark = pytest.mark.anyio


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    name: TransportName = request.param
    return name


def completion_scope(path: str = "/chat/completions", **more: Any) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        **more,
    }


def receive_of(body: Any) -> Receive:
    """The body, then nothing more: the caller stays."""
    messages = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive


async def call(app: Callable[[Scope, Receive, Send], Awaitable[None]], body: Any = COMPLETION) -> list[Message]:
    """The messages that an endpoint sends for a request of another layer's making."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(completion_scope(), receive_of(body), send)
    return sent


@pytest.mark.parametrize("stream", [True, False])
async def test_upstream_is_cancelled_when_the_client_leaves_before_the_headers(
    transport: TransportName, stream: bool
) -> None:
    provider = ScriptedProvider([Silence()])
    with serve(provider) as server, forwarding(server.url, transport) as proxy:
        async with httpx.AsyncClient(trust_env=False, timeout=0.5) as client:
            body = {**COMPLETION, "stream": stream}
            with pytest.raises(httpx.ReadTimeout):
                await client.post(proxy.url + "/v1/chat/completions", json=body)
        await eventually(lambda: provider.disconnects and proxy.finished)
        assert provider.active == 0
    assert (proxy.errors, proxy.aborted, server.errors) == ([], [], [])


async def test_upstream_is_cancelled_when_the_client_leaves_in_mid_stream(transport: TransportName) -> None:
    provider = ScriptedProvider([Endless()])
    with serve(provider) as server, forwarding(server.url, transport) as proxy:
        async with (
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("POST", proxy.url + "/v1/chat/completions", json=STREAMED) as response,
        ):
            await anext(response.aiter_raw())
            assert provider.active == 1
        await eventually(lambda: provider.disconnects and proxy.finished)
        assert provider.active == 0
    assert (proxy.errors, proxy.aborted, server.errors) == ([], [], [])


async def test_no_retry_follows_when_the_client_leaves_in_the_pause(transport: TransportName) -> None:
    provider = ScriptedProvider(lambda body: Failure(503, headers={"retry-after": "9"}))
    with serve(provider) as server, forwarding(server.url, transport) as proxy:
        async with httpx.AsyncClient(trust_env=False, timeout=0.6) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(proxy.url + "/v1/chat/completions", json=COMPLETION)
        await eventually(lambda: proxy.finished)
    assert len(provider.requests) == 1
    assert proxy.errors == []


async def test_nothing_is_sent_when_the_client_leaves_in_its_request(transport: TransportName) -> None:
    provider = ScriptedProvider()

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError("nobody is there")

    with serve(provider) as server:
        async with make_client(transport) as client:
            await Forward(server.url, client=client)(completion_scope(), gone, send)
    assert provider.requests == []


async def test_upstream_is_closed_when_an_outer_layer_raises(transport: TransportName) -> None:
    class Enough(Exception):
        pass

    enough = Enough()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise enough

    provider = ScriptedProvider([Endless()])
    with serve(provider) as server:
        async with make_client(transport) as client:
            forward = Forward(server.url, client=client)
            with pytest.raises(Enough) as raised:
                await forward(completion_scope(), receive_of(STREAMED), send)
            assert raised.value is enough
            await eventually(lambda: provider.disconnects)


async def test_upstream_is_closed_when_the_caller_cancels(transport: TransportName) -> None:
    provider = ScriptedProvider([Endless()])
    with serve(provider) as server:
        async with make_client(transport) as client:
            task = asyncio.create_task(call(Forward(server.url, client=client), STREAMED))
            await eventually(lambda: provider.active)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: provider.disconnects)


async def test_error_of_receive_comes_out_as_it_is(transport: TransportName) -> None:
    class Broken(Exception):
        pass

    async def receive() -> Message:
        raise Broken

    async def send(message: Message) -> None:
        raise AssertionError("nothing can be sent")

    body = BufferedBody(receive, data=COMPLETION)
    with faulty(never_answers) as provider:
        async with make_client(transport) as client:
            with pytest.raises(Broken):
                await Forward(provider.url, client=client)(completion_scope(), body, send)


async def test_provider_is_held_back_when_the_client_does_not_read(transport: TransportName) -> None:
    with faulty(floods()) as provider, forwarding(provider.url, transport) as proxy:
        async with (
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("POST", proxy.url + "/v1/chat/completions", json=STREAMED),
        ):
            seen = -1
            while provider.sent != seen:  # until a quarter of a second brings nothing new
                seen = provider.sent
                await asyncio.sleep(0.25)
                assert provider.sent < 64 * 1024 * 1024
            assert provider.sent > 0
        await eventually(lambda: proxy.finished)


async def test_connection_is_used_again(transport: TransportName) -> None:
    with faulty(answers_always(sized(JSON))) as provider, forwarding(provider.url, transport) as proxy:
        async with httpx.AsyncClient(trust_env=False) as client:
            for count in range(5):
                await client.post(proxy.url + "/v1/chat/completions", json=COMPLETION)
                await eventually(lambda: proxy.finished > count)  # noqa: B023 - asked before the next round
    assert (provider.connections, len(provider.requests)) == (1, 5)


async def test_connection_is_used_again_when_the_answer_was_an_error(transport: TransportName) -> None:
    answer = sized(b"{}", b"HTTP/1.1 503 Busy\r\nretry-after-ms: 1\r\n")
    with faulty(answers_always(answer)) as provider, forwarding(provider.url, transport) as proxy:
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.post(proxy.url + "/v1/chat/completions", json=COMPLETION)
    assert response.status_code == 503
    assert (provider.connections, len(provider.requests)) == (1, 3)


async def test_hundreds_of_streams_run_side_by_side(transport: TransportName) -> None:
    provider = ScriptedProvider(lambda body: Silence())
    with serve(provider) as server, forwarding(server.url, transport) as proxy:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(trust_env=False, limits=limits) as client:
            url = proxy.url + "/v1/chat/completions"
            tasks = [asyncio.create_task(client.post(url, json=COMPLETION)) for _ in range(150)]
            await eventually(lambda: provider.active == 150, limit=20)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await eventually(lambda: provider.active == 0, limit=20)


async def test_it_serves_as_an_endpoint_for_a_layer() -> None:
    provider = ScriptedProvider(api_key="sk-boost")
    with serve(provider) as server:
        forward = Forward(server.url + "/v1", api_key="sk-boost")
        async with forward.lifespan():
            messages = await call(forward)
    start, *bodies = messages
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert {message["type"] for message in bodies} == {"http.response.body"}
    assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]
    assert provider.requests[0].path == "/v1/chat/completions"


async def test_disconnect_is_heard_when_a_foreign_receive_repeats_itself(transport: TransportName) -> None:
    async def endless() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with faulty(answers_always(sized(JSON))) as provider:
        async with make_client(transport) as client:
            await Forward(provider.url, client=client)(completion_scope(), endless, send)
    assert sent[0]["status"] == 200


def test_client_is_opened_and_closed_with_each_event_loop() -> None:
    with faulty(answers_always(sized(JSON))) as provider:
        forward = Forward(provider.url)
        for _ in range(2):
            messages = asyncio.run(call(forward))
            assert messages[0]["status"] == 200
            asyncio.run(call(forward))
        assert provider.connections == 4


async def test_client_of_the_lifespan_is_closed_at_its_end() -> None:
    with faulty(answers_always(sized(JSON)), answers_always(sized(JSON))) as provider:
        forward = Forward(provider.url)
        for _ in range(2):
            async with forward.lifespan():
                await call(forward)
                await call(forward)
    assert provider.connections == 2


async def test_injected_client_is_left_open(transport: TransportName) -> None:
    with faulty(answers_always(sized(JSON))) as provider:
        async with make_client(transport) as client:
            forward = Forward(provider.url, client=client)
            async with forward.lifespan():
                await call(forward)
            assert not client.is_closed
            await call(forward)
    assert provider.connections == 1


async def test_broken_stream_comes_out_unwrapped(transport: TransportName) -> None:
    with faulty(closes_mid_body) as provider:
        async with make_client(transport) as client:
            with pytest.raises(StreamAborted):
                await call(Forward(provider.url, client=client), STREAMED)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes_are_refused(kind: str) -> None:
    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    with pytest.raises(RuntimeError, match=kind):
        await Forward("http://127.0.0.1:9")({"type": kind}, receive_of(None), send)
