"""A server that dies and comes back: a relay in front of it, which refuses connections while it is dead."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from .servers import abort, loopback_socket


class Mortal:
    """``url`` is the relay's. It may be told to die and to come back in any thread."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        with loopback_socket() as sock:
            self._port: int = sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.is_dead = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def die(self) -> None:
        """Break all connections off and listen no more."""
        self._run(self._die())

    def come_back(self) -> None:
        """Listen again, at the same address."""
        self._run(self._listen())

    def close(self) -> None:
        self._run(self._die())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self.is_dead:
            self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
            self.is_dead = False

    async def _die(self) -> None:
        self.is_dead = True
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            abort(writer.transport)
        if self._relays:
            await asyncio.wait(self._relays)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, there_writer}
        try:
            await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))
        finally:
            self._writers -= {writer, there_writer}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def mortal(target: str) -> Iterator[Mortal]:
    """A relay in front of the server at this URL, alive at first."""
    relay = Mortal(target)
    try:
        relay.come_back()
        yield relay
    finally:
        relay.close()
