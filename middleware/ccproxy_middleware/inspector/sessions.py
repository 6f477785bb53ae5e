"""A session as one file."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import time

from anyio.lowlevel import checkpoint

from ..toolkit.json import dumps

FORMAT = "cc-boost session"
VERSION = 1


async def session_file(session_id: str, exchanges: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The file, piece by piece: an object whose ``exchanges``, oldest first, are the documents that the page shows."""
    head = {"format": FORMAT, "version": VERSION, "session_id": session_id, "exported": round(time())}
    yield dumps(head)[:-1] + b',"exchanges":['
    separator = b"\n"
    async with aclosing(exchanges) as source:
        async for exchange in source:
            yield separator + exchange
            separator = b",\n"
            await checkpoint()
    yield b"\n]}\n"
