"""A ``receive`` for several who wait for the client to leave."""

import asyncio

import anyio.lowlevel
from starlette.types import Message, Receive


class Leaving:
    """A ``receive`` at which several may wait for the client to leave; a server's own need not tell all of them."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._turn = asyncio.Lock()
        self._left: Message | None = None

    async def __call__(self) -> Message:
        async with self._turn:
            if self._left is not None:
                return self._left
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left = message
            return message

    async def wait(self) -> None:
        """Return when the client has left."""
        while (await self())["type"] != "http.disconnect":
            await anyio.lowlevel.checkpoint()  # a foreign receive may have an endless supply of others
