"""Decodes an answer that a provider has compressed unasked, in pieces of bounded size."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator

import httpx

from ccproxy_middleware.toolkit.asgi import Headers

_PIECE = 64 * 1024  # bytes; at most this many are produced at once
_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def decoded(headers: Headers, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None] | None:
    """The decoded body if these headers say gzip or deflate, else None.

    A body with several codings isn't decoded: a few kilobytes of it could expand beyond the available memory.
    The generator raises httpx.DecodingError.
    """
    values = b",".join([value for name, value in headers if name == b"content-encoding"]).lower()
    codings = [coding for value in values.split(b",") if (coding := value.strip()) not in (b"", b"identity")]
    if len(codings) != 1 or codings[0] not in _WINDOWS:
        return None
    return _decode(codings[0], chunks)


async def _decode(coding: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    decompressor = zlib.decompressobj(_WINDOWS[coding])
    begun = False
    try:
        async for chunk in chunks:
            if not begun and coding == b"deflate" and not _has_zlib_header(chunk):
                decompressor = zlib.decompressobj(-zlib.MAX_WBITS)  # some servers omit zlib's header
            begun = begun or bool(chunk)
            more = bool(chunk)
            while more:
                plain = decompressor.decompress(chunk, _PIECE)
                if decompressor.unused_data:
                    raise httpx.DecodingError("there is more after the end of the compressed body")
                chunk = decompressor.unconsumed_tail
                more = bool(chunk) or len(plain) == _PIECE
                if plain:
                    yield plain
                    await asyncio.sleep(0)  # let other tasks run while one chunk becomes many
        if begun and not decompressor.eof:
            raise httpx.DecodingError("the compressed body is cut off")
    except zlib.error as exc:
        raise httpx.DecodingError(f"the body is not {coding.decode()}: {exc}") from None
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _has_zlib_header(data: bytes) -> bool:
    """Whether the data begins with a zlib header: the first two bytes of RFC 1950, 2.2."""
    return data[:1] in (b"", b"\x78") or (data[0] & 0x0F == 8 and len(data) > 1 and (data[0] * 256 + data[1]) % 31 == 0)
