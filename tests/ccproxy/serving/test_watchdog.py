"""An event loop that is held up is told of, with the request that does it."""

import asyncio
import logging
import time

import pytest
from starlette.types import Receive, Scope, Send

from ccproxy.boundary import Boundary
from ccproxy.serving.watchdog import watched_loop
from support.asgi import Inner, call, http_scope

pytestmark = pytest.mark.anyio
LIMIT = 0.2


class Busy:
    """An app that lets nobody else run for a while."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        holds_the_loop_up()
        await Inner()(scope, receive, send)


def holds_the_loop_up() -> None:
    time.sleep(LIMIT * 5)


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage() == "the event loop is held up"]


async def test_request_that_holds_the_loop_up_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    with watched_loop(LIMIT):
        for id_ in ("first", "second"):
            await asyncio.create_task(call(Boundary(Busy()), http_scope(headers={"x-request-id": id_})))
            await asyncio.sleep(LIMIT)
    records = told(caplog)
    assert [record.__dict__["request_id"] for record in records] == ["first", "second"]
    assert all("holds_the_loop_up" in record.__dict__["code"] for record in records)
    assert all(record.levelno == logging.WARNING for record in records)


async def test_nothing_is_told_of_a_loop_that_waits(caplog: pytest.LogCaptureFixture) -> None:
    with watched_loop(LIMIT):
        await asyncio.sleep(LIMIT * 5)
    assert told(caplog) == []


async def test_nothing_is_told_when_the_watch_is_over(caplog: pytest.LogCaptureFixture) -> None:
    with watched_loop(LIMIT):
        pass
    await asyncio.create_task(call(Boundary(Busy()), http_scope()))
    assert told(caplog) == []
