"""Compressed request bodies: decoded as they arrive, up to a size limit."""

import sys
import zlib
from collections.abc import Iterable
from typing import Any, Protocol

# https://www.rfc-editor.org/rfc/rfc9659: no decoder has to accept a larger window from the network.
_ZSTD_WINDOW_LOG = 23

# Conversations compress to about a tenth, and repetitive text to a hundredth; small bodies are exempt.
_MAX_EXPANSION = 200
_FREE = 1024 * 1024

ACCEPTED = "gzip, zstd"
"""The codings as an ``accept-encoding`` header names them."""


class UnsupportedEncoding(Exception):
    """A ``content-encoding`` that can't be decoded here; the message says why."""


class BrokenEncoding(ValueError):
    """The bytes don't match ``content-encoding``, or they end too early."""


class ExpandsTooMuch(BrokenEncoding):
    """The decoded size is out of proportion to the compressed size."""


class Decoder(Protocol):
    """A decoder for the pieces of a body with one coding."""

    def decode(self, data: bytes, limit: int) -> bytes:
        """The decoded bytes of the next piece, cut off after ``limit`` (at least 1). Raises BrokenEncoding, also where
        the decoded size is out of proportion to the compressed size.
        """
        ...

    def finish(self) -> None:
        """Raise BrokenEncoding if the end of the body is missing."""
        ...


class _Identity:
    def decode(self, data: bytes, limit: int) -> bytes:
        return data

    def finish(self) -> None:
        pass


class _Compressed:
    """One gzip member or one zstd frame, as zlib and zstd's decompressors share the interface.

    Data after its end is refused: a body of thousands of tiny members would take long to decode.
    """

    def __init__(self, coding: str, decompressor: Any, failure: type[Exception]) -> None:
        self._coding = coding
        self._decompressor = decompressor
        self._failure = failure
        self._empty = True
        self._read = self._written = 0

    def decode(self, data: bytes, limit: int) -> bytes:
        if not data:
            return b""
        self._empty = False
        if self._decompressor.eof:
            raise self._trailing()
        self._read += len(data)
        room = max(_FREE, _MAX_EXPANSION * self._read) - self._written
        try:
            plain: bytes = self._decompressor.decompress(data, min(limit, room + 1))
        except self._failure as exc:
            raise BrokenEncoding(f"The request body can't be decoded as {self._coding}: {exc}") from None
        self._written += len(plain)
        if len(plain) > room:
            raise ExpandsTooMuch(f"Request expands to more than {_MAX_EXPANSION} times what was sent")
        if self._decompressor.unused_data:
            raise self._trailing()
        return plain

    def finish(self) -> None:
        if not (self._empty or self._decompressor.eof):  # a body of no bytes at all counts as empty
            raise BrokenEncoding(f"The request body can't be decoded as {self._coding}: it is cut off")

    def _trailing(self) -> BrokenEncoding:
        return BrokenEncoding(f"The request body can't be decoded as {self._coding}: there is more after its end")


def make_decoder(headers: Iterable[tuple[bytes, bytes]]) -> Decoder:
    """The decoder for a request's ``content-encoding``. Raises UnsupportedEncoding."""
    values = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"content-encoding"]
    if not values:
        return _Identity()
    codings = [coding.strip() for value in values for coding in value.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    match codings:
        case []:
            return _Identity()
        case ["gzip" | "x-gzip"]:
            return _Compressed("gzip", zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), zlib.error)
        case ["zstd"]:
            return _zstd()
        case _:
            raise UnsupportedEncoding(f"content-encoding '{', '.join(codings)[:100]}' is not supported")


def _zstd() -> _Compressed:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise UnsupportedEncoding(
            "content-encoding 'zstd' is not supported: the package backports.zstd is missing here"
        ) from None
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return _Compressed("zstd", zstd.ZstdDecompressor(options=options), zstd.ZstdError)
