"""Facts that all processes share. Each process has a copy, which messages between them keep current."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ccproxy_middleware.toolkit.store import MemoryStore

from .messages import FACT, INDEX, WRITE, Told, put_message

MAX_FACTS = 20_000
"""The maximum number of facts on the server; the one that expires first is removed first."""

_MAX_VALUE = 256 * 1024  # bytes; a larger value is not shared
_MAX_PENDING = 4096
_AT_ONCE = 200


@dataclass(slots=True)
class _Write:
    """``value`` None: deleted. ``end``: monotonic seconds."""

    number: int
    value: bytes | None
    end: float


class SharedStore:
    """A Store that soon sends its facts to the server, which passes them to all other processes.

    If two processes store the same key, all end with the value that reached the server last. Facts that can't be sent
    wait,
    at most the newest 4,096. Reading never asks the server. If a fact is deleted while the server is unavailable, and
    the
    server has lost its data, another process may restore the fact until it expires.
    """

    def __init__(self, channel: str, ensure_running: Callable[[], None]) -> None:
        self._channel = channel
        self._ensure_running = ensure_running
        self._origin = secrets.token_bytes(8)
        self._number = 0
        self._local = MemoryStore()
        self._pending: OrderedDict[str, _Write] = OrderedDict()
        self._sent: dict[str, _Write] = {}  # sent, but not yet confirmed
        self._work = asyncio.Event()

    def get(self, key: str) -> bytes | None:
        return self._local.get(key)

    def put(self, key: str, value: bytes, seconds: float) -> None:
        self._local.put(key, value, seconds)
        if len(value) <= _MAX_VALUE and len(key) <= 1024:
            self._write(key, value, seconds)

    def delete(self, key: str) -> None:
        self._local.delete(key)
        self._write(key, None, 0)

    def items(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        return self._local.items(prefix)

    def _write(self, key: str, value: bytes | None, seconds: float) -> None:
        self._number += 1
        self._pending[key] = _Write(self._number, value, time.monotonic() + seconds)
        self._pending.move_to_end(key)
        if len(self._pending) > _MAX_PENDING:
            self._pending.popitem(last=False)
        self._work.set()
        self._ensure_running()

    def hear(self, told: Told) -> None:
        """Apply another process's change, and note which of this process's own writes are done."""
        if told.origin == self._origin:
            sent = self._sent.get(told.key)
            if sent is not None and sent.number == told.number:
                del self._sent[told.key]
        elif told.key not in self._sent and told.key not in self._pending:  # our own write comes after it
            self._take_over(told.key, told.value, told.seconds)

    def disconnected(self) -> None:
        """Writes that were sent may not have arrived."""
        for key, write in self._sent.items():
            self._pending.setdefault(key, write)
        self._sent.clear()

    async def load(self, client: Any, *, lost: bool) -> None:
        """Copy all facts from the server. ``lost``: the server has lost its data, and gets the facts known here."""
        seconds, microseconds = await client.time()
        now = seconds * 1000 + microseconds // 1000
        listed = await client.zrangebyscore(INDEX, now, "+inf", withscores=True)
        known = set()
        for start in range(0, len(listed), _AT_ONCE):
            part = listed[start : start + _AT_ONCE]
            values = await client.mget([name for name, _ in part])
            for (name, end), value in zip(part, values, strict=True):
                key = bytes(name).decode(errors="replace").removeprefix(FACT)
                known.add(key)
                if value is not None and key not in self._pending:
                    self._take_over(key, value, (end - now) / 1000)
        absent = [entry for entry in self._local.entries() if entry[0] not in known and entry[0] not in self._pending]
        if not lost:
            for key, _, _ in absent:  # deleted in the meantime
                self._local.delete(key)
            return
        for start in range(0, len(absent), _AT_ONCE):
            async with client.pipeline(transaction=False) as pipe:
                for key, value, left in absent[start : start + _AT_ONCE]:
                    if len(value) <= _MAX_VALUE:
                        self._queue(pipe, "restore", Told(self._origin, 0, key, value, left))
                await pipe.execute()

    async def send(self, client: Any) -> None:
        """Send facts as soon as they are stored, until the server fails."""
        task = asyncio.current_task()
        while task is None or not task.cancelling():  # the client may swallow a cancellation
            await self._work.wait()
            await self.flush(client)

    async def flush(self, client: Any) -> None:
        """Send what is pending. Raises what the client raises, and any server answer other than success."""
        while self._pending:
            async with client.pipeline(transaction=False) as pipe:
                for _ in range(min(_AT_ONCE, len(self._pending))):
                    key, write = self._pending.popitem(last=False)
                    left = write.end - time.monotonic()
                    if write.value is not None and left < 0.001:
                        continue
                    self._sent[key] = write
                    how = "put" if write.value is not None else "delete"
                    self._queue(pipe, how, Told(self._origin, write.number, key, write.value, max(0.0, left)))
                await pipe.execute()
        self._work.clear()

    def _queue(self, pipe: Any, how: str, told: Told) -> None:
        milliseconds = int(told.seconds * 1000)
        message = put_message(told)
        name = FACT + told.key
        pipe.eval(WRITE, 2, name, INDEX, how, told.value or b"", milliseconds, self._channel, message, MAX_FACTS)

    def _take_over(self, key: str, value: bytes | None, seconds: float) -> None:
        if value is None:
            self._local.delete(key)
        else:
            self._local.put(key, value, seconds)
