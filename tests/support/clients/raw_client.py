"""A client that owns its socket: it stops, stalls and leaves wherever a test wants it to."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..serving.servers import abort

LIMIT = 20.0  # seconds that an answer may take on a busy machine


class RawAnswer(NamedTuple):
    """An answer off the socket. Names of headers are in lower case; ``body`` has no chunk sizes in it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def head(path: str = "/v1/messages", *lines: str, method: str = "POST") -> bytes:
    """A request's head with these header lines."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "host: localhost", *lines, "", "")).encode("latin-1")


def whole(body: bytes, path: str = "/v1/messages", *lines: str) -> bytes:
    """A request with its content-length."""
    return head(path, "content-type: application/json", f"content-length: {len(body)}", *lines) + body


class RawClient:
    """One connection."""

    def __init__(self, sock: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sock = sock
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel has nearly all of it."""
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), LIMIT)

    async def answer(self) -> RawAnswer:
        """Read one answer to its end. Raises asyncio.IncompleteReadError if it has none."""
        return await asyncio.wait_for(self._answer(), LIMIT)

    async def _answer(self) -> RawAnswer:
        status, headers = await self.answer_head()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readline()
            await self.reader.readline()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return RawAnswer(status, headers, body)

    async def answer_head(self) -> tuple[int, dict[str, str]]:
        """Read a status line and headers only."""
        first, *lines = (
            (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), LIMIT)).decode("latin-1").split("\r\n")
        )
        pairs = (line.partition(":") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        with suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), LIMIT)
        return b""

    def close(self) -> None:
        """Leave with a FIN."""
        self.writer.close()

    def reset(self) -> None:
        """Leave with a RST, as a process does that is killed with unread data."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        abort(self.writer.transport)


@asynccontextmanager
async def connected(url: str, *, receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """A connection to the server at this URL; ``receive_buffer`` are bytes that the kernel keeps for us unread."""
    address = urlsplit(url)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield RawClient(sock, reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
