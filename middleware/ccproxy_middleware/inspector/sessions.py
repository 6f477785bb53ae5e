"""A session as one file."""

from collections.abc import AsyncGenerator, Iterable
from time import time

from anyio.lowlevel import checkpoint

from ..toolkit.json import dumps
from .views import Document

FORMAT = "cc-boost session"
VERSION = 1


async def session_file(session_id: str, exchanges: Iterable[Document]) -> AsyncGenerator[bytes, None]:
    """The file, piece by piece: an object whose ``exchanges``, oldest first, are what the page shows of each."""
    head = {"format": FORMAT, "version": VERSION, "session_id": session_id, "exported": round(time())}
    yield dumps(head)[:-1] + b',"exchanges":['
    separator = b"\n"
    for exchange in exchanges:
        yield separator + dumps(exchange)
        separator = b",\n"
        await checkpoint()
    yield b"\n]}\n"
