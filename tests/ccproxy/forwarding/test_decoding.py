"""What a provider has compressed without being asked comes out in small pieces."""

import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from ccproxy.forwarding.decoding import decoded

pytestmark = pytest.mark.anyio

TEXT = b"data: one\n\ndata: two\n\n" * 500
RAW = zlib.compress(TEXT)[2:-4]  # deflate without zlib's header and checksum
CODED = {"gzip": gzip.compress(TEXT, mtime=0), "x-gzip": gzip.compress(TEXT, mtime=0), "deflate": zlib.compress(TEXT)}


async def pieces(coding: str, body: bytes, size: int) -> list[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    plain = decoded([(b"content-encoding", coding.encode())], chunks())
    assert plain is not None
    return [piece async for piece in plain]


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(("coding", "body"), [*CODED.items(), ("deflate", RAW), ("GZIP, identity", CODED["gzip"])])
async def test_body_is_decoded(coding: str, body: bytes, size: int) -> None:
    assert b"".join(await pieces(coding, body, size)) == TEXT


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 * 3 + 1])
async def test_text_comes_whole_when_it_fills_its_pieces(size: int) -> None:
    assert len(b"".join(await pieces("gzip", gzip.compress(b"x" * size, mtime=0), 100_000))) == size


async def test_pieces_are_small_when_a_chunk_stands_for_much() -> None:
    made = await pieces("gzip", gzip.compress(b" " * 20_000_000), 100_000)
    assert max(map(len, made)) <= 64 * 1024
    assert sum(map(len, made)) == 20_000_000


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", TEXT),
        ("deflate", TEXT),
        ("gzip", CODED["gzip"][:-1]),
        ("gzip", CODED["gzip"] * 2),
        ("deflate", RAW[:-1]),
    ],
)
async def test_bad_body_is_a_decoding_error(coding: str, body: bytes, size: int) -> None:
    with pytest.raises(httpx.DecodingError):
        await pieces(coding, body, size)


@pytest.mark.parametrize("coding", ["", "identity", "br", "gzip, gzip", "gzip, br"])
async def test_body_stays_as_it_is_when_it_has_another_coding(coding: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b""

    assert decoded([(b"content-encoding", coding.encode())], chunks()) is None
