"""A TCP server that breaks HTTP on purpose: what a connection meets is a coroutine of the test's choice.

It runs in a thread with its own event loop, like :func:`support.servers.serve`.
"""

import asyncio
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeAlias

from ..serving.servers import abort, loopback_socket

OK = b"HTTP/1.1 200 OK\r\n"
SSE = OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
JSON = b'{"choices": []}'


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def sized(data: bytes, head: bytes = OK + b"content-type: application/json\r\n") -> bytes:
    """A whole response with its content-length."""
    return head + b"content-length: %d\r\n\r\n" % len(data) + data


class Connection:
    """One accepted connection, as a behaviour sees it."""

    def __init__(self, server: "FaultyServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._put_back = b""

    async def request(self) -> bytes:
        """Read and record one request. Raises asyncio.IncompleteReadError when none comes."""
        if self._put_back:
            request, self._put_back = self._put_back, b""
            return request
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        request = head + await self._reader.readexactly(length)
        self._server.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        """Write bytes, and wait while the peer does not read them."""
        self._writer.write(data)
        await self._writer.drain()
        self._server.sent += len(data)

    def put_back(self, request: bytes) -> None:
        """Let the next :meth:`request` return this one."""
        self._put_back = request

    def close(self) -> None:
        """Close the connection once everything is sent; no request follows."""
        self._writer.close()

    def reset(self) -> None:
        """Break the connection off with RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        abort(self._writer.transport)

    async def hang(self) -> None:
        """Wait until the peer goes away."""
        with suppress(ConnectionError):
            await self._reader.read()
        self._server.left += 1


Behaviour: TypeAlias = Callable[[Connection], Awaitable[None]]


class FaultyServer:
    """What the server has seen. ``left``: connections that the client closed while a behaviour waited."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connections = 0
        self.requests: list[bytes] = []
        self.sent = 0
        self.left = 0


@contextmanager
def faulty(
    *behaviours: Behaviour, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[FaultyServer]:
    """Run a server whose n-th connection meets the n-th behaviour; the last one stays for all others."""
    sock = loopback_socket(host)
    authority = f"[{host}]" if ":" in host else host
    server = FaultyServer(f"{'https' if tls else 'http'}://{authority}:{sock.getsockname()[1]}")
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behaviour = behaviours[min(server.connections, len(behaviours) - 1)]
        server.connections += 1
        writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behaviour(Connection(server, reader, writer))
        writer.close()

    async def main() -> None:
        listening = await asyncio.start_server(connected, sock=sock, ssl=tls)
        ready.set()
        await stop.wait()
        for _ in range(10):  # CPython 3.11 forgets to close what it has accepted just before the server closes
            await asyncio.sleep(0)
        listening.close()
        while running := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for writer in writers:
            abort(writer.transport)  # a close would wait for TLS's goodbye
        for _ in range(10):  # a transport lets go of its socket in the loop's rounds after its close
            await asyncio.sleep(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="faulty", daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a port that refuses connections, kept from everybody else for that time."""
    with loopback_socket() as sock:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def unreachable() -> Iterator[str]:
    """The URL of a port whose queue is full: a connect to it is neither taken nor refused."""
    with ExitStack() as stack:
        sock = stack.enter_context(loopback_socket())
        sock.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(sock.getsockname())
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def answers(*responses: bytes, then_close: bool = False) -> Behaviour:
    """Give each request of the connection the next response, whole or not, then wait or close."""

    async def behaviour(connection: Connection) -> None:
        for response in responses:
            await connection.request()
            await connection.send(response)
        if then_close:
            connection.close()
        else:
            await connection.hang()

    return behaviour


def answers_once(response: bytes) -> Behaviour:
    """Give one request this response, and leave the connection to whatever comes next."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.send(response)

    return behaviour


def chosen(choose: Callable[[Any], Behaviour]) -> Behaviour:
    """Let each request meet the behaviour that is chosen by its JSON."""

    async def behaviour(connection: Connection) -> None:
        while True:
            request = await connection.request()
            connection.put_back(request)
            await choose(json.loads(request.partition(b"\r\n\r\n")[2]))(connection)

    return behaviour


def answers_in_two(first: bytes, second: bytes) -> Behaviour:
    """Send a response in two parts that the client reads one after the other, then wait."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.send(first)
        await asyncio.sleep(0.02)
        await connection.send(second)
        await connection.hang()

    return behaviour


def answers_in_packets(*packets: bytes, gap: float = 0.2) -> Behaviour:
    """Give one request a response in packets, so far apart that a busy client too reads them one after the other."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        for packet in packets:
            await connection.send(packet)
            await asyncio.sleep(gap)

    return behaviour


def answers_late(response: bytes, delay: float) -> Behaviour:
    """Give one request this response after so many seconds."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await asyncio.sleep(delay)
        await connection.send(response)

    return behaviour


def answers_always(response: bytes) -> Behaviour:
    """Keep the connection alive and give every request the same response."""

    async def behaviour(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(response)

    return behaviour


def resets_after(response: bytes) -> Behaviour:
    """Read a request, send these bytes, then RST."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.send(response)
        await asyncio.sleep(0.02)  # a reset throws away what the client has not read yet
        connection.reset()

    return behaviour


def trickles(response: bytes, *, interval: float = 0.0) -> Behaviour:
    """One byte per packet."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        for n in range(len(response)):
            await connection.send(response[n : n + 1])
            await asyncio.sleep(interval)
        await connection.hang()

    return behaviour


def keeps_alive(start: bytes, piece: bytes, interval: float = 0.02) -> Behaviour:
    """Begin a response, then send the same piece again and again, until the peer closes."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.send(start)
        while True:
            await connection.send(piece)
            await asyncio.sleep(interval)

    return behaviour


def floods(piece: bytes = b"x" * 65536) -> Behaviour:
    """An endless event stream, as fast as the peer reads."""

    async def behaviour(connection: Connection) -> None:
        await connection.request()
        await connection.send(SSE)
        while True:  # until the peer closes
            await connection.send(chunk(b"data: " + piece + b"\n\n"))

    return behaviour


async def _never_reads(connection: Connection) -> None:
    await asyncio.Event().wait()


async def _greets(connection: Connection) -> None:
    await connection.send(b"220 ready\r\n")


async def _closes_second_request(connection: Connection) -> None:
    await connection.request()
    await connection.send(sized(JSON))
    await connection.request()


async def _resets_second_request(connection: Connection) -> None:
    await _closes_second_request(connection)
    connection.reset()


EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'

never_reads: Behaviour = _never_reads
speaks_first: Behaviour = _greets
never_answers: Behaviour = answers(b"")
closes_before_headers: Behaviour = answers(b"", then_close=True)
resets_before_headers: Behaviour = resets_after(b"")
closes_in_headers: Behaviour = answers(OK + b"content-type: text/ev", then_close=True)
slow_headers: Behaviour = trickles(SSE, interval=0.05)
not_http: Behaviour = answers(b"SSH-2.0-OpenSSH_9.6\r\n", then_close=True)
bad_chunk_size: Behaviour = answers_in_two(SSE, b"zz\r\nhello\r\n")
bad_chunk_size_after_data: Behaviour = answers_in_two(SSE + chunk(EVENT), b"zz\r\nhello\r\n")
bad_chunk_size_at_once: Behaviour = answers(SSE + chunk(EVENT) + b"zz\r\nhello\r\n")
closes_mid_body: Behaviour = answers(SSE + chunk(EVENT), then_close=True)
resets_mid_body: Behaviour = resets_after(SSE + chunk(EVENT))
closes_mid_event: Behaviour = answers(SSE + chunk(EVENT) + chunk(EVENT[:20]), then_close=True)
resets_mid_event: Behaviour = resets_after(SSE + chunk(EVENT) + chunk(EVENT[:20]))
stalls_mid_body: Behaviour = answers(SSE + chunk(EVENT))
stalls_mid_event: Behaviour = answers(SSE + chunk(EVENT) + chunk(EVENT[:20]))
content_length_too_long: Behaviour = answers(sized(JSON).replace(b"length: 15", b"length: 99"), then_close=True)
closes_second_request: Behaviour = _closes_second_request
resets_second_request: Behaviour = _resets_second_request
closes_when_idle: Behaviour = answers(sized(JSON), then_close=True)
http_1_0: Behaviour = answers(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + JSON, then_close=True)
gzipped: Behaviour = answers(
    sized(gzip.compress(JSON), OK + b"content-type: application/json\r\ncontent-encoding: gzip\r\n")
)


def redirects(location: str, status: int = 307) -> Behaviour:
    """A redirect."""
    return answers(f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())
