"""Clients that leave, clients that wait together, and plans that stream to all of them."""

import json
from typing import Any

import anyio
import httpx
import pytest

from support.providers.scripted import Answer, Raw, Reply, ScriptedProvider, Silence
from support.serving.boosted import Boosted, Place, boosted, question, with_result
from support.serving.servers import eventually
from support.streams.grammar import parse_frames

pytestmark = pytest.mark.anyio

FOREVER = 60.0  # seconds; nobody waits that long


def piece(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


async def start_and_leave(running: Boosted, body: dict[str, Any], arrived: Any, wait: float = 0.0) -> None:
    """Send a request and leave as soon as ``arrived()`` holds, or some seconds later."""
    async with httpx.AsyncClient(timeout=FOREVER, trust_env=False) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post(running.url + "/v1/messages", json=body))
        await eventually(arrived)
        await anyio.sleep(wait)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "plan", [Silence(), Raw([piece("GUIDANCE: wa"), FOREVER]), Raw([piece("SUMMARY: wa"), FOREVER])]
)
async def test_leaving_ends_the_planning(place: Place, stream: bool, plan: Answer) -> None:
    planner, executor = ScriptedProvider([plan]), ScriptedProvider([])
    with boosted(planner, executor, place) as running:
        await start_and_leave(running, question(stream=stream), lambda: planner.active)
        await eventually(lambda: planner.disconnects and not planner.active)
    assert executor.requests == []
    assert len(planner.requests) == 1


@pytest.mark.parametrize("execution", [Silence(), Raw([piece("I will"), FOREVER])])
@pytest.mark.parametrize("body", [question(), with_result()], ids=["first", "later"])
async def test_leaving_ends_the_execution(place: Place, stream: bool, execution: Answer, body: dict[str, Any]) -> None:
    planner, executor = ScriptedProvider([Reply("GUIDANCE: Do it.")]), ScriptedProvider([execution])
    with boosted(planner, executor, place) as running:
        await start_and_leave(running, {**body, "stream": stream}, lambda: executor.active)
        await eventually(lambda: executor.disconnects and not executor.active)
    assert (len(planner.requests), len(executor.requests)) == (1, 1)


async def test_same_requests_at_once_share_a_plan(place: Place, stream: bool) -> None:
    planner = ScriptedProvider([Reply("SUMMARY: Shared.", delay=0.05)])
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient, url: str) -> None:
        answers.append(await client.post(url + "/v1/messages", json=question(stream=stream)))

    with boosted(planner, ScriptedProvider([]), place) as running:
        async with httpx.AsyncClient(trust_env=False) as client, anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask, client, running.url)
    assert len(planner.requests) == 1
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(b"Shared." in answer.content for answer in answers) or stream


async def test_one_clients_leaving_does_not_end_the_others_plan(place: Place, stream: bool) -> None:
    planner = ScriptedProvider([Raw([piece("SUMMARY: Sha"), 1.0, piece("red.", "stop"), b"data: [DONE]\n\n"])])
    answers: list[httpx.Response] = []
    with boosted(planner, ScriptedProvider([]), place) as running:
        async with httpx.AsyncClient(trust_env=False) as client, anyio.create_task_group() as tasks:

            async def stay() -> None:
                await eventually(lambda: planner.active)
                answers.append(await client.post(running.url + "/v1/messages", json=question(stream=stream)))

            tasks.start_soon(stay)
            await start_and_leave(running, question(stream=stream), lambda: planner.active, wait=0.3)
    assert planner.disconnects == []
    assert len(planner.requests) == 1
    assert b"red." in answers[0].content


async def test_last_ones_leaving_ends_the_shared_call() -> None:
    planner = ScriptedProvider([Silence(), Reply("SUMMARY: Anew.")])
    with boosted(planner, ScriptedProvider([])) as running:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(start_and_leave, running, question(), lambda: planner.active, 0.2)
        await eventually(lambda: planner.disconnects and not planner.active)
        assert len(planner.requests) == 1
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(running.url + "/v1/messages", json=question())
    assert answer.json()["content"][0]["text"] == "Anew."


async def test_summary_streams_to_all_who_wait_before_it_is_complete(place: Place) -> None:
    """The planner stops in mid-sentence, and both clients have read what it has said until then."""
    planner = ScriptedProvider([Raw([piece("SUMMARY: It"), piece(" is"), 0.5, piece(" so.", "stop")])])
    seen: list[str] = []
    with boosted(planner, ScriptedProvider([]), place) as running:

        async def read() -> None:
            async with (
                httpx.AsyncClient(timeout=FOREVER, trust_env=False) as client,
                client.stream("POST", running.url + "/v1/messages", json=question(stream=True)) as response,
            ):
                body = b""
                async for chunk in response.aiter_raw():
                    body += chunk
                    if b" is" in body and b" so." not in body:
                        seen.append("early")
                        break

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(read)
    assert seen == ["early", "early"]
    assert len(planner.requests) == 1


async def test_planner_that_breaks_off_in_the_summary_breaks_the_stream_off(place: Place) -> None:
    planner = ScriptedProvider([Raw([piece("SUMMARY: It is")])])
    body = b""

    async def read() -> None:
        nonlocal body
        url = running.url + "/v1/messages"
        async with client.stream("POST", url, json=question(stream=True)) as response:
            async for chunk in response.aiter_raw():
                body += chunk

    with boosted(planner, ScriptedProvider([]), place) as running:
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await read()
    assert parse_frames(body)[-1]["type"] == "error"


async def test_planner_that_breaks_off_in_the_summary_is_asked_again_where_nothing_was_sent(place: Place) -> None:
    planner = ScriptedProvider([Raw([piece("SUMMARY: It is")]), Reply("SUMMARY: Whole.")])
    with boosted(planner, ScriptedProvider([]), place) as running:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(running.url + "/v1/messages", json=question())
    assert answer.json()["content"] == [{"type": "text", "text": "Whole."}]
