"""The token cost of an image, from the size in its first bytes."""

import base64
import binascii
import math
from collections.abc import Iterator
from struct import error as StructError
from struct import unpack_from

UNKNOWN_SIZE_TOKENS = 1600
"""For an image behind a URL, or in a format that isn't known here: a full-size image for Claude."""

_TILE = 512
# The number of characters of base64 to read; a JPEG may have a profile and a thumbnail before its size.
_PREFIXES = (1024, 512 * 1024)


def image_tokens(url: str) -> int:
    """Tokens of an image part, by OpenAI's rule for high detail.

    The image is scaled to fit 2048 x 2048, then its shorter side to 768. Each tile of 512 x 512 costs 170 tokens, plus
    85 for the image. https://platform.openai.com/docs/guides/images-vision#calculating-costs
    """
    size = data_url_size(url)
    if size is None:
        return UNKNOWN_SIZE_TOKENS
    width, height = size
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    tiles = math.ceil(width * scale / _TILE) * math.ceil(height * scale / _TILE)
    return 85 + 170 * max(1, tiles)


def data_url_size(url: str) -> tuple[int, int] | None:
    """Width and height of the image in a ``data:`` URL, or None."""
    if not url.startswith("data:"):
        return None
    start = url.find(",", 0, 256) + 1
    if not start:
        return None
    for data in _prefixes(url, start):
        size = image_size(data)
        if size is not None:
            return size
    return None


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the header of a PNG, GIF, WebP or JPEG file; None if it doesn't contain them."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = unpack_from(">II", data, 16)
        elif data.startswith((b"GIF87a", b"GIF89a")):
            width, height = unpack_from("<HH", data, 6)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        elif data.startswith(b"\xff\xd8"):
            width, height = _jpeg_size(data)
        else:
            return None
    except (StructError, IndexError):  # truncated
        return None
    return (width, height) if 0 < width < 1 << 24 and 0 < height < 1 << 24 else None


def _prefixes(url: str, start: int) -> Iterator[bytes]:
    for length in _PREFIXES:
        text = "".join(url[start : start + length].split())
        try:
            yield base64.b64decode(text[: len(text) // 4 * 4])
        except (binascii.Error, ValueError):
            return
        if start + length >= len(url):
            return


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":  # lossy: 14 bits each, after the start code of the key frame
        width, height = unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":  # lossless: 14 bits each, less one, after the signature
        (bits,) = unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":  # extended: 24 bits each, less one
        low_width, high_width, low_height, high_height = unpack_from("<HBHB", data, 24)
        return (low_width | high_width << 16) + 1, (low_height | high_height << 16) + 1
    return 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Read the size from the frame header (SOF0 to SOF15), whatever segments precede it."""
    at = 2
    while True:
        if data[at] != 0xFF:
            return 0, 0
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # no length field
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in (0xD9, 0xDA):  # the image data itself, without a frame header
            return 0, 0
        else:
            at += 2 + max(2, unpack_from(">H", data, at + 2)[0])
