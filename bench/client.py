"""A load generator: HTTP/1.1 over bare asyncio protocols, with the time at which each piece of an answer arrived."""

import asyncio
import contextlib
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import httptools

Item = TypeVar("Item")

CONNECT_LIMIT = 30.0


@dataclass(slots=True)
class Answer:
    """What came back. ``arrivals``: when each piece of ``body`` came, by ``time.perf_counter``; ``sizes``: how much
    of the body was there then. ``complete`` only after a proper end.
    """

    asked: float
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    arrivals: "array[float]" = field(default_factory=lambda: array("d"))
    sizes: "array[int]" = field(default_factory=lambda: array("Q"))
    complete: bool = False
    ended: float = 0.0

    @property
    def seconds(self) -> float:
        return self.ended - self.asked

    def seconds_until(self, text: bytes) -> float:
        """How long after the request this text was there; infinity if it never was."""
        offset = self.body.find(text)
        if offset >= 0:
            for arrival, size in zip(self.arrivals, self.sizes, strict=True):
                if size >= offset + len(text):
                    return arrival - self.asked
        return float("inf")

    def gaps(self) -> list[float]:
        """Seconds between one piece of the body and the next."""
        return [later - sooner for sooner, later in zip(self.arrivals, self.arrivals[1:], strict=False)]


class Connection(asyncio.Protocol):
    """A kept connection for one request after the other."""

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's are of no such class

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._finish()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None:
            self._answer.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        if answer is not None:
            answer.body += body
            answer.arrivals.append(time.perf_counter())
            answer.sizes.append(len(answer.body))

    def on_message_complete(self) -> None:
        if self._answer is not None:
            self._answer.complete = True
        self._finish()

    def _finish(self) -> None:
        if self._answer is not None:
            self._answer.ended = time.perf_counter()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def ask(self, request: bytes, *, leave_after: float | None = None) -> Answer:
        """Send a request's bytes and wait for the whole answer; ``leave_after`` so many seconds break it off."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer = answer = Answer(time.perf_counter())
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        if not self.lost:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done, leave_after)
        self._answer = None
        if not answer.complete or answer.headers.get(b"connection") == b"close":
            self.lost = True
            self.transport.abort()
        return answer


def request_bytes(url: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> bytes:
    """A whole request: a POST of JSON, or a GET where there is no body."""
    parts = urlsplit(url)
    sent = {"host": parts.netloc, **headers}
    if body is not None:
        sent |= {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "anthropic-version": "2023-06-01",
            "x-api-key": "bench",
        }
    lines = [f"{'GET' if body is None else 'POST'} {parts.path or '/'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in sent.items()]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection to the host of this URL, closed at the end."""
    parts = urlsplit(url)
    connect = asyncio.get_running_loop().create_connection(Connection, parts.hostname or "", parts.port or 80)
    _, connection = await asyncio.wait_for(connect, CONNECT_LIMIT)
    try:
        yield connection
    finally:
        connection.transport.abort()


async def fetch(url: str, body: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    async with connected(url) as connection:
        return await connection.ask(request_bytes(url, body))


async def closed_loop(url: str, requests: Sequence[bytes], *, count: int, concurrency: int) -> list[Answer]:
    """``count`` requests by so many clients, each of which takes the next one as soon as it has its answer."""

    async def one(connection: Connection, number: int) -> Answer:
        return await connection.ask(requests[number % len(requests)])

    return await by_clients(url, range(count), one, concurrency=concurrency)


async def by_clients(
    url: str,
    items: Iterable[Item],
    ask: Callable[[Connection, Item], Awaitable[Answer]],
    *,
    concurrency: int,
) -> list[Answer]:
    """``ask`` for each item, by so many clients; one whose connection is lost opens another."""
    waiting = iter(items)
    answers: list[Answer] = []

    async def client() -> None:
        item = next(waiting, None)
        while item is not None:
            async with connected(url) as connection:
                while item is not None and not connection.lost:
                    answers.append(await ask(connection, item))
                    item = next(waiting, None)

    await asyncio.gather(*(client() for _ in range(concurrency)))
    return answers
