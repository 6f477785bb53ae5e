"""The state that the workers of all hosts share through one server."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ccproxy_middleware.routing import Rates

from .connection import database, make_client, make_storage, shown
from .messages import EPOCH, PREFIX, Told, read_message
from .plans import SharedPlans
from .shared_limits import Server, SharedLimits
from .shared_store import SharedStore

logger = logging.getLogger("ccproxy.state")

_HEARTBEAT = 5.0  # seconds
_EPOCH_SECONDS = 7 * 24 * 3600
_FIRST_WAIT = 3.0  # seconds that the start may wait for the server
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0  # seconds between two connection attempts


class SharedState:
    """The state at ``url``: ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``.

    ``store`` has the facts; ``limits`` counts for a pace; ``plans`` keeps boost's plans. It connects in its
    ``lifespan``,
    or on first use if the lifespan isn't run. While the server is unavailable, all of them continue with what this
    process
    knows. One warning reports this, and they reconnect automatically.

    Raises ModuleNotFoundError without the extra ``redis``, and ValueError for an invalid URL.
    """

    def __init__(self, url: str) -> None:
        self._shown = shown(url)
        self._client = make_client(url)
        self._channel = f"{PREFIX}{database(self._client)}"
        self._up = False
        self._warned = False
        self._tried = asyncio.Event()
        self._failed = asyncio.Event()
        self._error: Exception | None = None
        self._epoch: bytes | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._limits: dict[str, SharedLimits] = {}
        self.store = SharedStore(self._channel, self._ensure_running)

    @property
    def up(self) -> bool:
        """Whether the server is available and its facts have been loaded."""
        return self._up

    def limits(self, name: str, rates: Rates) -> SharedLimits:
        """The counts for the pace of the upstream ``name``."""
        server = Server(
            self._client,
            lambda: make_storage(self._client, PREFIX + "limits"),
            self._channel,
            self._is_up,
            self._fail,
        )
        self._limits[name] = limits = SharedLimits(name, rates, server)
        return limits

    def plans(self, *, seconds: float = 60.0) -> SharedPlans:
        """A cache for boost's plans."""
        return SharedPlans(self.store, seconds=seconds)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Connect, if the server answers soon enough; at the end send the last changes."""
        self._ensure_running()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_WAIT):
                await self._tried.wait()
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._up:
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await self.store.flush(self._client)
        self._up = False
        with suppress(Exception):
            await self._client.aclose()
            await self._client.connection_pool.disconnect()

    def _is_up(self) -> bool:
        self._ensure_running()
        return self._up

    def _ensure_running(self) -> None:
        if self._task is None and not self._closed:
            with suppress(RuntimeError):  # no event loop is running yet
                self._task = asyncio.get_running_loop().create_task(self._run())

    def _fail(self, error: Exception) -> None:
        """Continue without the server, which has failed, until it is available again."""
        if self._up:
            self._up = False
            self._error = error
            self._failed.set()
            self._look_again()

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._connected()
            except Exception as error:
                if time.monotonic() - began > _LONGEST_PAUSE:
                    pause = _SHORTEST_PAUSE
                self._up = False
                self.store.disconnected()
                self._tell(error)
                self._tried.set()
                self._look_again()
            with suppress(Exception):
                await self._client.connection_pool.disconnect()
            await asyncio.sleep(pause * (0.8 + secrets.randbelow(400) / 1000))
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _tell(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not self._warned:
            self._warned = True
            logger.warning(
                "the server of STATE_URL, %s, can't be used (%s): this process goes on with what it knows, and tries "
                "again",
                self._shown,
                str(error) or type(error).__name__,
            )

    async def _connected(self) -> None:
        """Run all tasks that need the server. Raises the error that ends them."""
        self._failed.clear()
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(self._channel)
            await self._load()
            await self.store.flush(self._client)
            self._up = True
            self._tried.set()
            if self._warned:
                self._warned = False
                logger.info("the server of STATE_URL, %s, is there again", self._shown)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(pubsub))
                group.create_task(self.store.send(self._client))
                group.create_task(self._beat())
                group.create_task(self._until_failed())
        finally:
            with suppress(Exception):
                await pubsub.aclose()

    async def _load(self) -> None:
        word = secrets.token_hex(8).encode()
        await self._client.set(EPOCH, word, nx=True, ex=_EPOCH_SECONDS)
        epoch = await self._client.get(EPOCH)
        await self.store.load(self._client, lost=epoch != self._epoch)
        self._epoch = epoch
        await self._renew()

    async def _listen(self, pubsub: Any) -> None:
        task = asyncio.current_task()
        while task is None or not task.cancelling():  # the client may swallow a cancellation
            message = await pubsub.get_message(timeout=60.0)
            if message is None or message["type"] != "message":
                continue
            told = read_message(message["data"])
            if isinstance(told, Told):
                self.store.hear(told)
            elif told is not None and (limits := self._limits.get(told)):
                limits.free()

    async def _beat(self) -> None:
        task = asyncio.current_task()
        while task is None or not task.cancelling():
            await asyncio.sleep(_HEARTBEAT)
            await self._client.expire(EPOCH, _EPOCH_SECONDS)
            await self._renew()

    async def _renew(self) -> None:
        for limits in self._limits.values():
            await limits.renew(self._client)

    def _look_again(self) -> None:
        """Wake the waiting requests: under the other counts there may be room for them."""
        for limits in self._limits.values():
            limits.free()

    async def _until_failed(self) -> None:
        await self._failed.wait()
        raise self._error or ConnectionError("it doesn't answer")
