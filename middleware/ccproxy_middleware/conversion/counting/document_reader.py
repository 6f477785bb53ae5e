"""Read documents in separate processes, which can be stopped: a hostile PDF of a few bytes may take minutes."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

from ...toolkit.errors import ApiError
from ...toolkit.worker_threads import in_thread
from .documents import Documents, Reading, Readings, Unreadable
from .pdf_process import PdfProcess, has_python
from .pdf_program import NO_TEXT, OUT_OF_MEMORY

logger = logging.getLogger("ccproxy.conversion")

T = TypeVar("T")

_READ_AGAIN = "What was read is remembered: please try again."


class DocumentReader:
    """Converts requests with documents, and caches what it has read.

    A document may take ``seconds`` of CPU time, ``patience`` seconds of wall time and ``memory`` bytes; beyond that it
    counts as unreadable. Up to ``at_once`` processes read at the same time, one per request. A request whose documents
    are not read within ``limit`` seconds is refused; when it is repeated, it finds the work done.
    """

    seconds = 10
    patience = 30.0
    memory = 256 * 1024 * 1024
    at_once = 2
    limit = 45.0

    def __init__(self) -> None:
        self._readings = Readings()
        # One per event loop, since the layer may run under several in turn, and a limiter belongs to one.
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = WeakKeyDictionary()
        self._told: set[str] = set()

    async def convert(self, convert: Callable[[], T]) -> T:
        """The result of ``convert``, which requests documents. It is called in a thread, and again if a document was
        unread.

        Raises ApiError (529) if the documents can't be read now.
        """
        documents = Documents(self._readings)
        converted = await in_thread(partial(documents.during, convert))
        if documents.unread:
            await self._read_all(documents)
            converted = await in_thread(partial(documents.during, convert))
        return converted

    async def _read_all(self, documents: Documents) -> None:
        try:
            with anyio.fail_after(self.limit):
                for digest, data in list(documents.unread.items()):
                    documents.tell(digest, await self._read(digest, data))
        except TimeoutError:
            raise _busy(f"the request's documents were not read within {self.limit:g} s. {_READ_AGAIN}") from None
        except OSError as error:
            logger.warning("no process can be started to read a document: %s", error.strerror or error)
            raise _busy("no process can be started to read the request's documents; please try again") from None

    async def _read(self, digest: bytes, data: str) -> Reading:
        process = PdfProcess()
        read = partial(self._read_in_thread, process, digest, data)
        try:
            return await anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=self._limiter())
        finally:
            process.stop()

    def _limiter(self) -> anyio.CapacityLimiter:
        return self._limiters.setdefault(asyncio.get_running_loop(), anyio.CapacityLimiter(self.at_once))

    def _read_in_thread(self, process: "PdfProcess", digest: bytes, data: str) -> Reading:
        reading = self._readings.get(digest)  # another request may have sent it too
        if reading is None:
            reading = self._ask(process, data)
            if not process.stopped:
                self._readings.put(digest, reading)
        return reading

    def _ask(self, process: "PdfProcess", data: str) -> Reading:
        if find_spec("pypdf") is None:
            return Unreadable.NO_TEXT
        if not has_python():
            return self._tell("PDFs can't be read: there is no Python beside this program to read them")
        ended = process.run("text", data.encode("ascii"), self.seconds, self.memory, self.patience)
        if ended is None or ended.returncode < 0 or ended.returncode == OUT_OF_MEMORY:  # negative: killed by a signal
            return Unreadable.TOO_COSTLY
        if ended.returncode == 0:
            return ended.stdout.decode()
        if ended.returncode != NO_TEXT:
            return self._tell(f"PDFs can't be read: the program that reads them ends with code {ended.returncode}")
        return Unreadable.NO_TEXT

    def _tell(self, warning: str) -> Unreadable:
        """Log a warning once; the document is sent without its text."""
        if warning not in self._told:
            self._told.add(warning)
            logger.warning(warning)
        return Unreadable.NO_TEXT


def _busy(message: str) -> ApiError:
    return ApiError(529, "overloaded_error", message, headers=[("retry-after", "5")])
