import base64
import struct

import pytest

from ccproxy_middleware.conversion.counting.images import (
    UNKNOWN_SIZE_TOKENS,
    data_url_size,
    image_size,
    image_tokens,
)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x06\0\0\0"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0" * 10


def jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\0" * 9
    return b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + b"\0" * 9 + before + frame


def webp(kind: bytes, head: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 80) + head + b"\0" * 20


LOSSY = webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640 | 0x4000, 480))
LOSSLESS = webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14))
EXTENDED = webp(b"VP8X", b"\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"))
EXIF = b"\xff\xe1" + struct.pack(">H", 60_002) + b"\xff\xc0" * 30_000

FILES = {
    "png": png(640, 480),
    "gif": gif(640, 480),
    "jpeg": jpeg(640, 480),
    "jpeg with EXIF": jpeg(640, 480, EXIF * 3),
    "jpeg with fill bytes": jpeg(640, 480, b"\xff\xff\xff\x01"),
    "lossy WebP": LOSSY,
    "lossless WebP": LOSSLESS,
    "extended WebP": EXTENDED,
}


def data_url(data: bytes) -> str:
    return "data:image/x;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize("name", FILES)
def test_size_is_read_from_the_head(name: str) -> None:
    assert image_size(FILES[name]) == (640, 480)
    assert data_url_size(data_url(FILES[name] + b"\0" * 100_000)) == (640, 480)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_raised_when_an_image_is_cut_anywhere(name: str) -> None:
    for length in range(min(len(FILES[name]), 300)):
        assert image_size(FILES[name][:length]) in (None, (640, 480))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.com/a.png",
        "data:",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,é",
        "data:image/png;base64,iVBORw0KGgo",
        data_url(b"no image at all"),
        data_url(b"\x89PNG\r\n\x1a\n"),
        data_url(png(0, 0)),
        data_url(png(0xFFFFFFFF, 1)),
        data_url(b"\xff\xd8\xff\xd9"),
        data_url(b"\xff\xd8abc"),
        data_url(b"\xff\xd8" + b"\xff" * 2_000_000),
        data_url(b"\xff\xd8" + b"\xff\xe0\0\0" * 200_000),
        data_url(webp(b"????", b"")),
    ],
)
def test_tokens_are_the_default_when_the_size_is_unknown(url: str) -> None:
    assert image_tokens(url) == UNKNOWN_SIZE_TOKENS


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (1, 1, 255),
        (512, 512, 255),
        (513, 512, 425),
        (1024, 1024, 765),  # OpenAI's own examples
        (2048, 4096, 1105),
        (4096, 8192, 1105),
        (16_000_000, 1, 765),
    ],
)
def test_tokens_follow_the_tiles(width: int, height: int, tokens: int) -> None:
    assert image_tokens(data_url(png(width, height))) == tokens


def test_whitespace_in_the_base64_is_skipped() -> None:
    url = data_url(png(640, 480))
    assert data_url_size(url[:30] + "\r\n" + url[30:]) == (640, 480)
