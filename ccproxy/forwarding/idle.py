"""Limits on how long a body may be silent, and on how long it may bring no content."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from types import TracebackType

_LINE_ENDS = re.compile(rb"[\r\n]+")
_IDLE_LINE = re.compile(
    rb'(?::|event:|id:|retry:).*+|data: ?(?:\{\}|\{"type": ?"ping"\})?|[ \t]*+', re.DOTALL
)  # what servers of event streams send to keep a connection alive
_CONTENT = (b"data: {", b"event: response.")
_LONGEST_IDLE_LINE = 100


class IdleLimit:
    """Raises TimeoutError if the read of a chunk takes longer than ``seconds``; the time between two reads is not
    limited.

    ``idle_seconds`` is the limit for all reads together between two chunks for which ``is_content`` is true: comments
    or blanks may keep a body alive. One timer serves all reads of a body: ``asyncio.timeout`` around each costs more
    than the read. ``expired`` is the limit that was exceeded: it distinguishes a TimeoutError of this class from
    others.
    """

    def __init__(self, seconds: float, idle_seconds: float, is_content: Callable[[bytes], bool]) -> None:
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._is_content = is_content
        self._idle = 0.0  # seconds of earlier reads since the last content
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.Timeout(None)
        self._reading_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.expired: float | None = None

    async def __aenter__(self) -> "IdleLimit":
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(min(self._seconds, self._idle_seconds), self._check)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._timer is not None  # noqa: S101
        self._timer.cancel()
        await self._timeout.__aexit__(kind, exc, traceback)

    async def read(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The next chunk, None at the end."""
        since = self._reading_since = self._loop.time()
        chunk = await anext(chunks, None)
        self._reading_since = None
        if chunk is None or self._is_content(chunk):
            self._idle = 0.0
        else:
            self._idle += self._loop.time() - since
            if self._idle >= self._idle_seconds:
                self.expired = self._idle_seconds
                raise TimeoutError
        return chunk

    def _check(self) -> None:
        now = self._loop.time()
        reading = 0.0 if self._reading_since is None else now - self._reading_since
        left = min(self._seconds, self._idle_seconds - self._idle) - reading
        if left <= 0 and self._reading_since is not None:
            self.expired = self._seconds if reading >= self._seconds else self._idle_seconds
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_later(left if left > 0 else self._seconds, self._check)


class EventContent:
    """Distinguishes the chunks of an event stream that bring an event from those with only comments and blank lines."""

    def __init__(self) -> None:
        self._begun = b""  # of a line that may still turn out to have no content

    def __call__(self, chunk: bytes) -> bool:
        if len(chunk) > _LONGEST_IDLE_LINE and chunk.startswith(_CONTENT):  # as nearly every one does
            self._begun = b""
            return True
        data = self._begun + chunk
        whole = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        last = data[whole:]
        found = False
        at = 0
        for end in _LINE_ENDS.finditer(data, 0, whole):  # most often the first line says something
            if not _IDLE_LINE.fullmatch(data, at, end.start()):
                found = True
                break
            at = end.end()
        self._begun = last
        if len(last) > _LONGEST_IDLE_LINE:
            self._begun = last[:1] if last.startswith(b":") else b""
            found = found or not self._begun
        return found


def not_blank(chunk: bytes) -> bool:
    """Whether a chunk of another body has any content: JSON may come after any amount of whitespace."""
    return not chunk.isspace()
