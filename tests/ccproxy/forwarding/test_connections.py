"""Kept connections: which of them are used again, and which of their requests are sent again."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import httpx
import pytest
import uvloop

from ccproxy.forwarding import transport
from ccproxy.forwarding.connections import KeptConnections
from ccproxy.forwarding.forward import Forward
from support.paths import DATA
from support.serving.servers import loopback_socket

CERTIFICATES = DATA / "tls"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

linux_only = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="no other system says what was acknowledged")


class Provider:
    """A provider in threads, which counts the requests that it has read, and whose sockets a test can use."""

    def __init__(self, tls: bool) -> None:
        self.reads = 0
        self.answers: list[bytes] = []  # other ones than ANSWER, for the first requests
        self.sockets: list[socket.socket] = []
        self._listening = loopback_socket()
        self._listening.listen()
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATES / "loopback.pem")
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
                self.sockets.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while sock.recv(65536):
                self.reads += 1
                sock.sendall(self.answers.pop(0) if self.answers else ANSWER)

    def hang_up(self) -> None:
        """Close the first connection as a server does that finds it idle for too long."""
        sock = self.sockets[0]
        with socket.socket(fileno=os.dup(sock.fileno())) as same:
            if isinstance(sock, ssl.SSLSocket):
                sock.settimeout(0)
                with suppress(ssl.SSLError):
                    sock.unwrap()
            same.shutdown(socket.SHUT_RDWR)
            sock.close()

    def close(self) -> None:
        for sock in (self._listening, *self.sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@contextmanager
def provider(*, tls: bool = False) -> Iterator[Provider]:
    running = Provider(tls)
    try:
        yield running
    finally:
        running.close()


def statuses(loop: str, url: str, between: Callable[[int], None] = lambda asked: None) -> list[int]:
    """The statuses of three answers; ``between`` is called before each request with their number so far."""

    async def ask() -> list[int]:
        forward = Forward(url, max_retries=0)
        answered = []
        transport_ = httpx.ASGITransport(forward)
        async with forward.lifespan(), httpx.AsyncClient(transport=transport_, base_url="http://proxy") as client:
            for number in range(3):
                between(number)
                answered.append((await client.post("/v1/chat/completions", json={})).status_code)
        return answered

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(ask())


@linux_only
@pytest.mark.parametrize(("loop", "tls"), [("asyncio", False), ("uvloop", False), ("uvloop", True)])
def test_request_is_repeated_when_its_connection_was_closed_before_it_was_sent(
    loop: str, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider hangs up when the request has got the connection, and before it is written."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))
    with provider(tls=tls) as server:
        taken = 0

        class Unlucky(KeptConnections):
            async def connect(self, *args: Any, **options: Any) -> aiohttp.connector.Connection:
                nonlocal taken
                connection = await super().connect(*args, **options)
                taken += 1
                if taken == 2:
                    server.hang_up()
                return connection

        monkeypatch.setattr(transport, "KeptConnections", Unlucky)
        assert statuses(loop, server.url) == [200] * 3
        assert server.reads == 3
        assert len(server.sockets) == 2


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("excess", [b"x", b"\r\n", ANSWER, ANSWER[:20]])
def test_connection_is_left_when_something_came_over_it_between_two_requests(loop: str, excess: bytes) -> None:
    """It would be taken for the answer to the next request."""
    with provider() as server:

        def between(asked: int) -> None:
            if asked == 1:
                server.sockets[0].sendall(excess)

        assert statuses(loop, server.url, between) == [200] * 3
        assert server.reads == 3
        assert len(server.sockets) == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_request_is_sent_once_when_the_rest_of_another_answer_comes_after_it(loop: str) -> None:
    """Nothing shows that the provider has not read it."""
    with provider() as server:
        server.answers = [ANSWER, b"x" + ANSWER]
        assert statuses(loop, server.url) == [200, 502, 200]
        assert server.reads == 3
        assert len(server.sockets) == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_connection_is_left_when_it_was_closed_while_the_loop_was_busy(loop: str) -> None:
    with provider() as server:

        def between(asked: int) -> None:
            if asked == 1:
                server.hang_up()

        assert statuses(loop, server.url, between) == [200] * 3
        assert server.reads == 3
        assert len(server.sockets) == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_connection_is_kept_when_nothing_came_over_it(loop: str) -> None:
    with provider() as server:
        assert statuses(loop, server.url) == [200] * 3
        assert len(server.sockets) == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_informational_answers_without_end_are_none(loop: str) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    with provider() as server:
        server.answers = [hint * 20 + ANSWER, hint * 1000 + ANSWER]
        assert statuses(loop, server.url) == [200, 502, 200]
        assert server.reads == 3
        assert len(server.sockets) == 2
