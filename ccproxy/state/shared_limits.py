"""An upstream's limits, counted for all processes together."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ccproxy_middleware.routing import LocalLimits, Place, RateCounter, Rates, Work

from .messages import ENTER, PREFIX, RENEW, free_message

if TYPE_CHECKING:
    from limits.aio.storage import Storage

_KEPT = 30_000  # milliseconds for which a running request counts without a renewal from its process
_LOOK = 1.0  # seconds: the process that counted there may have died
_PATIENCE = 4.0  # seconds within which the server must answer


@dataclass(frozen=True, slots=True)
class Server:
    """What the limits need from the connection: ``up`` says whether the server is available, ``failed`` reports a
    failure.
    """

    client: Any
    storage: Callable[[], "Storage"]
    channel: str
    up: Callable[[], bool]
    failed: Callable[[Exception], None]


class SharedLimits:
    """PaceLimits for all processes that share a server; while the server is unavailable, for this process only.

    The server keeps running requests for half a minute, and their process renews them. So those of a killed process
    soon
    stop counting. This process also counts its own requests, so that it knows them if the server becomes unavailable.
    """

    def __init__(self, name: str, rates: Rates, server: Server) -> None:
        self.name = name
        self._rates = rates
        self._server = server
        self._local = LocalLimits(name, rates)
        self._counter: RateCounter | None = None
        self._running = f"{PREFIX}running:{name}"
        self._held: set[str] = set()
        self._process = secrets.token_hex(6)
        self._number = 0
        self._work = Work()
        self._wake: Callable[[], None] = lambda: None

    async def take(self, tokens: int) -> Place | float:
        if self._server.up():
            try:
                async with asyncio.timeout(_PATIENCE):
                    return await self._take_there(tokens)
            except Exception as error:
                self._server.failed(error)
        return await self._local.take(tokens)

    def release(self, place: Place, tokens: int) -> None:
        self._local.release(place, tokens)
        shared = place.id in self._held
        self._held.discard(place.id)
        if shared and self._server.up():
            self._work.begin(self._release_there(place, tokens))

    def on_free(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._local.on_free(wake)

    def free(self) -> None:
        """A request of another process has ended."""
        self._wake()

    async def renew(self, client: Any) -> None:
        """Renew the requests that run here."""
        if self._held and self._rates.concurrency is not None:
            await client.eval(RENEW, 1, self._running, _KEPT, *self._held)

    async def _take_there(self, tokens: int) -> Place | float:
        self._number += 1
        id_ = f"{self._process}-{self._number}"
        kept = False
        try:
            if self._rates.concurrency is not None:
                enter = self._server.client.eval(ENTER, 1, self._running, id_, self._rates.concurrency, _KEPT)
                if not await enter:
                    return _LOOK
                self._held.add(id_)
            if counter := self._rate_counter():
                seconds = await counter.hit(tokens)
                if seconds:
                    return seconds
            kept = True
        finally:
            if not kept and id_ in self._held:
                self._held.discard(id_)
                self._work.begin(self._leave(id_))
        self._held.add(id_)
        self._work.begin(self._local.count(tokens))
        return Place(tokens, time.monotonic(), id_)

    async def _leave(self, id_: str) -> None:
        try:
            await self._server.client.zrem(self._running, id_)
        except Exception as error:
            self._server.failed(error)

    async def _release_there(self, place: Place, tokens: int) -> None:
        client = self._server.client
        try:
            if self._rates.concurrency is not None:
                async with client.pipeline(transaction=False) as pipe:
                    pipe.zrem(self._running, place.id)
                    pipe.publish(self._server.channel, free_message(self.name))
                    await pipe.execute()
            if counter := self._rate_counter():
                await counter.correct(place, tokens)
        except Exception as error:
            self._server.failed(error)

    def _rate_counter(self) -> RateCounter | None:
        if self._counter is None and (self._rates.rpm or self._rates.tpm):
            self._counter = RateCounter(self.name, self._rates, self._server.storage())
        return self._counter
