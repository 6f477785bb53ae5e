"""PDF documents: the text for providers that take none, and the number of pages."""

import base64
import binascii
import hashlib
import io
import logging
import re
import threading
import time
from collections import OrderedDict
from contextvars import ContextVar
from typing import Any

from .._json import replace_surrogates

MAX_CHARACTERS = 200_000
"""Longest text of one document."""

_MAX_PAGES = 1000
_MAX_SECONDS = 20.0
_REMEMBERED = 16

_PAGE = re.compile(rb"/Type\s{0,8}/Page(?![A-Za-z])")

_texts: OrderedDict[bytes, str | None] = OrderedDict()
_lock = threading.Lock()


may_read: ContextVar[bool] = ContextVar("may_read", default=True)
"""Whether :func:`pdf_text` may take its time. An event loop sets it to False, and calls again in a thread."""


class DocumentToRead(Exception):
    """There is a document to be read where that takes too long."""


def pdf_text(data: bytes | str) -> str | None:
    """The text of a PDF (its bytes, or their base64), or None if none could be read.

    None means: damaged, encrypted, scanned, not a PDF, or pypdf is not installed. Text over MAX_CHARACTERS,
    many pages and slow documents are cut, with a line that says so. Call it in a worker thread: it blocks for
    as long as pypdf takes. A document that was read before is found by its digest, since clients send it again
    in every turn. Raises DocumentToRead where it may not block.
    """
    if not may_read.get():
        raise DocumentToRead
    try:
        pdf = base64.b64decode(data) if isinstance(data, str) else data
    except (binascii.Error, ValueError):
        return None
    digest = hashlib.blake2b(pdf, digest_size=16).digest()
    with _lock:
        if digest in _texts:
            _texts.move_to_end(digest)
            return _texts[digest]
    text = _extract(pdf)
    with _lock:
        _texts[digest] = text
        while len(_texts) > _REMEMBERED:
            _texts.popitem(last=False)
    return text


def pdf_pages(data: str) -> int:
    """Pages of a PDF in base64 or a ``data:`` URL, by its page objects.

    At least 1, which it stays where the objects are in compressed streams.
    """
    start = data.find(",", 0, 256) + 1
    try:
        return max(1, len(_PAGE.findall(base64.b64decode(data[start:]))))
    except (binascii.Error, ValueError):
        return 1


def _extract(pdf: bytes) -> str | None:
    if b"%PDF-" not in pdf[:1024]:
        return None
    try:
        import pypdf
    except ImportError:
        return None
    # It warns of every flaw of a file, which is the file's business.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    if b"startxref" not in pdf[-2048:]:  # where it points to nothing, pypdf looks for the objects itself
        pdf += b"\nstartxref\n0\n%%EOF\n"
    try:
        reader = pypdf.PdfReader(io.BytesIO(pdf))
        text = _read_pages(reader)
    except Exception:  # hostile files raise about anything
        return None
    return text if text.strip() else None


def _read_pages(reader: Any) -> str:
    """The pages' texts, until one of the limits."""
    deadline = time.monotonic() + _MAX_SECONDS
    pages = len(reader.pages)
    texts: list[str] = []
    size = 0
    for number in range(pages):
        if number >= _MAX_PAGES or time.monotonic() > deadline:
            return _join(texts) + f"\n\n[cut here: {number} of {pages} pages were read]" if size else ""
        text = replace_surrogates(reader.pages[number].extract_text()).replace("\0", "").strip()
        if text:
            texts.append(text)
            size += len(text) + 2
        if size > MAX_CHARACTERS:
            return _join(texts)[:MAX_CHARACTERS] + f"\n\n[cut here, on page {number + 1} of {pages}]"
    return _join(texts)


def _join(texts: list[str]) -> str:
    return "\n\n".join(texts)
