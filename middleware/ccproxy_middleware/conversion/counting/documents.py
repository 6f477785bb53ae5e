"""PDF documents: the text for providers that accept no PDF, and the number of pages.

A converter requests a text with :func:`pdf_text` and gets what is already known. The layer then reads the rest, and
converts again.
"""

import base64
import binascii
import hashlib
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from typing import TypeVar

T = TypeVar("T")

_HEAD = 1368  # base64 characters for the first 1024 bytes, which must contain the PDF header
_REMEMBERED_BYTES = 16 * 1024 * 1024
_COST = 200  # approximate overhead in bytes of a stored reading

_PAGE = re.compile(rb"/Type\s{0,8}/Page(?![A-Za-z])")


class Unreadable(Enum):
    """Why a document has no text, as worded in the note that replaces it."""

    NO_TEXT = "no text could be read from it"
    TOO_COSTLY = "to read it takes too much time or memory"


Reading = str | Unreadable


class DocumentToRead(Exception):
    """The text of a document is requested, and there is no :class:`Documents` to provide it."""


class Readings:
    """The most recent readings, by the document's digest: clients send a document again in every turn.

    The text must also be the same in every turn, since the provider's prompt cache depends on it. Bounded in bytes.
    """

    def __init__(self, max_bytes: int = _REMEMBERED_BYTES) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._readings: OrderedDict[bytes, Reading] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> Reading | None:
        """The text of this document, if it is still stored."""
        with self._lock:
            if digest in self._readings:
                self._readings.move_to_end(digest)
            return self._readings.get(digest)

    def put(self, digest: bytes, reading: Reading) -> None:
        """Store a reading; if there is no room, the least recently used ones are dropped."""
        with self._lock:
            self.size += _size(reading) - _size(self._readings.pop(digest, None))
            self._readings[digest] = reading
            while self.size > self.max_bytes:
                self.size -= _size(self._readings.popitem(last=False)[1])


class Documents:
    """The documents of one request. ``unread``: requested documents that are not known, by their digests."""

    def __init__(self, readings: Readings) -> None:
        self.unread: dict[bytes, str] = {}
        self._readings = readings
        self._read: dict[bytes, Reading] = {}

    def during(self, convert: Callable[[], T]) -> T:
        """Call ``convert``, in which :func:`pdf_text` uses these documents."""
        token = _documents.set(self)
        try:
            return convert()
        finally:
            _documents.reset(token)

    def tell(self, digest: bytes, reading: Reading) -> None:
        """Store the reading of a document."""
        self._read[digest] = reading
        del self.unread[digest]

    def text(self, data: str) -> Reading:
        """What is known about a PDF in base64; an unknown one is added to ``unread``."""
        digest = hashlib.blake2b(data.encode("ascii"), digest_size=16).digest()
        reading = self._read.get(digest) or self._readings.get(digest)
        if reading is None:
            self.unread[digest] = data
            return Unreadable.NO_TEXT
        self._read[digest] = reading
        return reading


_documents: ContextVar[Documents | None] = ContextVar("documents", default=None)


def pdf_text(data: str) -> Reading:
    """The text of a PDF in base64, or why there is none. Raises DocumentToRead if nothing can provide it.

    It takes a while even if the text is known: call it in a worker thread.
    """
    if not _may_be_pdf(data):
        return Unreadable.NO_TEXT
    documents = _documents.get()
    if documents is None:
        raise DocumentToRead
    return documents.text(data)


def pdf_pages(data: str) -> int:
    """The number of pages of a PDF in base64 or a ``data:`` URL, from its page objects.

    At least 1, which is also the result if the objects are in compressed streams.
    """
    start = data.find(",", 0, 256) + 1
    try:
        return max(1, len(_PAGE.findall(base64.b64decode(data[start:]))))
    except (binascii.Error, ValueError):
        return 1


def _may_be_pdf(data: str) -> bool:
    if not data.isascii():
        return False
    try:
        return b"%PDF-" in base64.b64decode(data[:_HEAD])
    except binascii.Error:  # characters in between that are not base64 may have shifted the rest
        return len(data) > _HEAD


def _size(reading: Reading | None) -> int:
    if reading is None:
        return 0
    return _COST + (sys.getsizeof(reading) if isinstance(reading, str) else 0)
