"""PDF pages without text, such as scans, as pictures."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

from ..conversion.counting import PdfProcess, has_python
from ..toolkit.json import loads
from .pictures import Picture

logger = logging.getLogger("ccproxy.vision")

_KEPT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """A page with text, or a page without text and its picture."""

    text: str
    picture: Picture | None = None


class PageReader:
    """Reads PDFs in separate processes, and caches the last results.

    A PDF takes at most ``seconds`` of CPU time, ``patience`` seconds of wall time and ``memory`` bytes. Up to
    ``at_once`` processes run. The PDFs of a request that are not read within ``limit`` seconds stay unchanged.
    """

    seconds = 8
    patience = 10.0
    limit = 20.0
    memory = 512 * 1024 * 1024
    at_once = 2

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Page, ...]] = OrderedDict()
        self._size = 0
        # One per event loop: the layer may serve several in sequence, and a limiter belongs to one loop.
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = WeakKeyDictionary()
        self._told: set[str] = set()

    async def scans(self, pdfs: Iterable[str]) -> dict[str, tuple[Page, ...]]:
        """The pages of those PDFs (in base64) that have a page without text."""
        found = {}
        with anyio.move_on_after(self.limit):
            for data in pdfs:
                if pages := await self.pages(data):
                    found[data] = pages
        return found

    async def pages(self, data: str) -> tuple[Page, ...]:
        """The pages of a PDF in base64; none where each has text, or where it can't be read."""
        digest = sha256(data.encode("utf-8", "replace")).hexdigest()
        if (pages := self._kept.get(digest)) is not None:
            self._kept.move_to_end(digest)
            return pages
        problem = _missing()
        if problem is not None:
            return self._tell(problem)
        process = PdfProcess()
        run = partial(process.run, "pages", data.encode("ascii", "replace"), self.seconds, self.memory, self.patience)
        limiter = self._limiters.setdefault(asyncio.get_running_loop(), anyio.CapacityLimiter(self.at_once))
        try:
            ended = await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=limiter)
        except OSError as error:
            return self._tell(f"no process can be started to draw the pages of a PDF: {error.strerror or error}")
        finally:
            process.stop()
        pages = _read(ended.stdout) if ended is not None and ended.returncode == 0 else ()
        self._keep(digest, pages)
        return pages

    def _keep(self, digest: str, pages: tuple[Page, ...]) -> None:
        self._kept[digest] = pages
        self._size += _size(pages)
        while self._size > _KEPT_BYTES and len(self._kept) > 1:
            self._size -= _size(self._kept.popitem(last=False)[1])

    def _tell(self, warning: str) -> tuple[Page, ...]:
        """Log a warning once, and leave the document unchanged."""
        if warning not in self._told:
            self._told.add(warning)
            logger.warning(warning)
        return ()


def _missing() -> str | None:
    """Why pages can't be rendered."""
    if not has_python():
        return "pages of PDFs can't be drawn: there is no Python beside this program"
    if find_spec("pypdfium2") is None or find_spec("PIL") is None:
        return "pages of PDFs without text are not described: pip install 'cc-boost[vision]'"
    return None


def _read(output: bytes) -> tuple[Page, ...]:
    pages = []
    for page in loads(output):
        if "png" in page:
            source = {"type": "base64", "media_type": "image/png", "data": page["png"]}
            pages.append(Page("", Picture(sha256(page["png"].encode()).hexdigest(), source)))
        else:
            pages.append(Page(page["text"]))
    return tuple(pages)


def _size(pages: tuple[Page, ...]) -> int:
    return 200 + sum(
        len(page.text) + (len(page.picture.source["data"]) if page.picture is not None else 0) for page in pages
    )
