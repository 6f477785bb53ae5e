"""Two hosts with two workers each, behind nginx, share what they know; one of them dies, and so does the server."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path

import httpx
import pytest

from support.serving.hosts import ADDRESSES, Hosts, Provider, hosts
from support.serving.servers import serve
from support.streams.grammar import check_stream

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

LIMIT = 60
VARIABLES = {
    "OPENAI_RPM": str(LIMIT),
    "QUEUE_TIMEOUT": "6",
    "BIG_MODEL": "paced",
    "UPSTREAM_FREE_API_KEY": "none",
    "UPSTREAM_OTHER_API_KEY": "none",
}


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def proxies(tmp_path: Path, provider: Provider) -> Iterator[Hosts]:
    with serve(provider) as server:
        urls = {f"UPSTREAM_{name}_BASE_URL": f"{server.url}/v1" for name in ("FREE", "OTHER")}
        models = {"MIDDLE_MODEL": "free:limited,other:ready", "SMALL_MODEL": "free:ready"}
        with hosts(tmp_path, server.url, **VARIABLES, **urls, **models) as running:
            yield running


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=200))


async def test_limit_is_kept_over_all_workers_of_all_hosts(proxies: Hosts, provider: Provider) -> None:
    async with client() as asking:
        answers = await asyncio.gather(*(proxies.ask(asking, "claude-opus-4-8") for _ in range(100)))
    assert Counter(answer.status_code for answer in answers) == {200: LIMIT, 529: 100 - LIMIT}, proxies.told()
    assert provider.count("paced") == LIMIT
    refused = next(answer for answer in answers if answer.status_code == 529)
    assert refused.json()["error"]["type"] == "overloaded_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert set(proxies.served()) == set(ADDRESSES)


async def test_cool_down_of_one_worker_is_known_to_the_others_within_a_second(
    proxies: Hosts, provider: Provider
) -> None:
    async with client() as asking:
        first = await proxies.ask(asking, "claude-sonnet-5")
        assert first.json()["content"][0]["text"] == "from ready"
        assert provider.count("limited") == 1, proxies.told()
        await asyncio.sleep(1)
        answers = await asyncio.gather(*(proxies.ask(asking, "claude-sonnet-5") for _ in range(60)))
    assert {answer.json()["content"][0]["text"] for answer in answers} == {"from ready"}
    assert set(proxies.served()) == set(ADDRESSES)
    assert provider.count("limited") == 1, proxies.told()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_host_that_is_killed_takes_no_request_with_it(proxies: Hosts, provider: Provider, stream: bool) -> None:
    """None, that is, whose answer has not begun."""
    provider.held = True
    async with client() as asking:

        def ask() -> Coroutine[None, None, httpx.Response]:
            return proxies.ask(asking, "claude-haiku-4-5", stream=stream)

        under_way = [asyncio.create_task(ask()) for _ in range(30)]
        while len(provider.asked) < 30:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.to_thread(proxies.kill_host, 1)
        provider.held = False
        later = [await ask() for _ in range(3)]
        later += await asyncio.gather(*(ask() for _ in range(20)))
        answers = [*await asyncio.gather(*under_way), *later]
    assert [answer.status_code for answer in answers] == [200] * 53, proxies.told()
    if stream:
        ends = [check_stream(answer.content) for answer in answers]
        assert {(events[-1]["type"], "from ready" in str(events)) for events in ends} == {("message_stop", True)}
    else:
        assert {answer.json()["content"][0]["text"] for answer in answers} == {"from ready"}
    assert provider.count("ready") > 53, "nobody was asked again: the host was killed too late"


async def test_server_of_the_state_that_is_killed_takes_no_request_with_it(proxies: Hosts, provider: Provider) -> None:
    provider.delay = 0.2
    async with client() as asking:
        answers = []
        for turn in range(12):
            if turn == 4:
                proxies.state.kill()
            if turn == 8:
                proxies.state.start()
            models = ["claude-haiku-4-5", "claude-opus-4-8", "claude-sonnet-5"]
            answers += await asyncio.gather(*(proxies.ask(asking, models[n % 3]) for n in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 144, proxies.told()
    assert provider.count("paced") == 48
    assert provider.count("limited") <= 4, "a worker has forgotten the cool-down that it knew"
