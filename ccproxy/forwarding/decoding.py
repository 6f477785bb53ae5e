"""A provider's answer that is compressed although nobody has asked for it: decoded in pieces of bounded size."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator

import httpx

from ccproxy_middleware.toolkit.asgi import Headers

_PIECE = 64 * 1024  # bytes, out of which no more than this is made at once
_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def decoded(headers: Headers, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None] | None:
    """The plain bytes of a body that these headers call gzip or deflate, None for any other.

    A body of several codings isn't decoded: a few kilobytes of it can stand for more than there is memory.
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
                decompressor = zlib.decompressobj(-zlib.MAX_WBITS)  # some servers leave zlib's header out
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
                    await asyncio.sleep(0)  # others get their turn while one chunk becomes many
        if begun and not decompressor.eof:
            raise httpx.DecodingError("the compressed body is cut off")
    except zlib.error as exc:
        raise httpx.DecodingError(f"the body is not {coding.decode()}: {exc}") from None
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


def _has_zlib_header(data: bytes) -> bool:
    """RFC 1950, 2.2: the first two bytes."""
    return data[:1] in (b"", b"\x78") or (data[0] & 0x0F == 8 and len(data) > 1 and (data[0] * 256 + data[1]) % 31 == 0)
