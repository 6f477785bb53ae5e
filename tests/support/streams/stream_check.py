"""What must hold for every stream that a provider can send, whatever its bytes are."""

import random
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ccproxy_middleware.conversion.anthropic import EventStream
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import PROFILES, resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError
from ccproxy_middleware.toolkit.sse import SSEParser

from .chunks import REQUEST_ID
from .grammar import check_stream

CONTEXTS = [
    Context(
        model="m",
        profile=profile,
        thinking=thinking,
        tools=frozenset({"f", "G"}),
        used_tool_ids=frozenset({"old"}),
        local_stops=stops,
        stop_sequences=stops,
    )
    for profile in (
        PROFILES["gemini"],
        PROFILES["openrouter"],
        resolve_profile("deepseek", {"think_tags": "auto"}),
        resolve_profile("generic", {"think_tags": "on"}),
    )
    for thinking in ("show", "omit", "off")
    for stops in ((), ("END", "b"))
]

Make: TypeAlias = Callable[[Context, str], EventStream]

_MADE_UP_ID = re.compile(rb"(?<=\")(msg|toolu)_[0-9A-Za-z]{16,}(?=\")")
_SIGNATURE = re.compile(rb"(?<=\"signature\":\")p1\.([\w-]+)(?:\.[0-9a-f]+)?(?=\")")
_EVERY_BYTE = 500  # bytes up to which a stream is also fed byte by byte


def run(context: Context, pieces: Iterable[bytes], make: Make = StreamConverter) -> tuple[bytes, ApiError | None]:
    """The frames that a stream becomes, and the failure that ends it."""
    converter = make(context, REQUEST_ID)
    frames = [frame for piece in pieces for frame in converter.feed(piece)]
    frames += converter.finish()
    assert converter.finished or (converter.error is not None and not converter.started)
    return b"".join(frames), converter.error


def check_bytes(context: Context, raw: bytes, seed: int = 0, make: Make = StreamConverter) -> list[dict[str, Any]]:
    """Convert a stream whole, byte by byte and cut at random places by ``seed``; its events, if there are any.

    Raises AssertionError where the events break the grammar or depend on the cuts, and whatever gets out of the
    parser or the converter, from which nothing must.
    """
    frames, error = run(context, [raw], make)
    events = check_stream(frames) if frames else []
    if events:
        assert (events[-1]["type"] == "error") == (error is not None)
    expected = _told(frames, error), _parse([raw])
    for pieces in _cuts(raw, seed):
        assert (_told(*run(context, pieces, make)), _parse(pieces)) == expected, f"another result for {pieces}"
    return events


def check_input(data: bytes) -> None:
    """Check a fuzzer's input: a byte that chooses the context, a byte that cuts, the stream."""
    if len(data) >= 2:
        check_bytes(CONTEXTS[data[0] % len(CONTEXTS)], data[2:], seed=data[1])


def _cuts(raw: bytes, seed: int) -> Iterable[list[bytes]]:
    if len(raw) <= _EVERY_BYTE:
        yield [raw[n : n + 1] for n in range(len(raw))]
    places = sorted(random.Random(seed).choices(range(len(raw) + 1), k=4))  # noqa: S311
    yield [raw[start:end] for start, end in zip([0, *places], [*places, len(raw)], strict=True)]


def _told(frames: bytes, error: ApiError | None) -> tuple[bytes, str | None]:
    """What the client learns, without the ids that are made up anew each time; signatures hold such ids too."""
    opened = _SIGNATURE.sub(lambda found: urlsafe_b64decode(found[1] + b"=="), frames)
    return _MADE_UP_ID.sub(rb"\1_id", opened), error.message if error else None


def _parse(pieces: Iterable[bytes]) -> list[bytes]:
    parser = SSEParser()
    return [data for piece in pieces for data in parser.feed(piece)] + parser.finish()
