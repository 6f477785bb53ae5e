"""Compressed requests: decoded by whichever layer reads them first, to no more than a request may be large."""

import gzip
import json
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import pytest
from backports import zstd
from starlette.types import ASGIApp

from ccproxy_middleware import (
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
)
from ccproxy_middleware.toolkit.errors import MAX_BODY_BYTES
from support.asgi import Answer, Inner, call, http_scope
from support.layers import COMPLETION, LAYERS

pytestmark = pytest.mark.anyio

REQUEST = {"model": "claude-opus-4-8", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
PLAIN = json.dumps(REQUEST).encode()
CODECS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
READING = {"models", "safeguards", "boost", "conversion"}
STACKS = [*permutations(LAYERS), *(subset for size in range(6) for subset in combinations(LAYERS, size))]


async def ask(app: ASGIApp, body: bytes, *encodings: str, chunks: int = 1, path: str = "/v1/messages") -> Answer:
    headers = [("x-api-key", "k"), ("content-length", str(len(body)))]
    headers += [("content-encoding", encoding) for encoding in encodings]
    return await call(app, http_scope("POST", path, headers), body, chunks=chunks)


def refusal(answer: Answer) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status, error["type"], error["message"]


@pytest.mark.parametrize("coding", CODECS)
async def test_whichever_layer_reads_first_decodes(coding: str) -> None:
    packed = CODECS[coding](PLAIN)
    for names in STACKS:
        plain_inner, inner = Inner(COMPLETION), Inner(COMPLETION)
        for endpoint, body, encodings in ((plain_inner, PLAIN, ()), (inner, packed, (coding,))):
            app: ASGIApp = endpoint
            for name in reversed(names):
                app = LAYERS[name](app)
            assert (await ask(app, body, *encodings)).status == 200, names
        if READING & set(names):
            assert inner.bodies == plain_inner.bodies, names
            assert not {"content-encoding", "content-length"} & set(inner.header), names
        else:  # nobody has read the body
            assert inner.bodies == [packed], names
            assert inner.header["content-encoding"] == coding, names


@pytest.mark.parametrize("chunks", [1, 3, 1000])
@pytest.mark.parametrize("encodings", [["GZip"], ["x-gzip"], ["zstd"], ["identity, zstd"], ["identity"], [""]])
async def test_coding_is_known_by_all_its_names(encodings: list[str], chunks: int) -> None:
    name = encodings[0].lower().removeprefix("x-").split(", ")[-1]
    inner = Inner(COMPLETION)
    body = CODECS.get(name, bytes)(PLAIN)
    assert (await ask(FormatConversionMiddleware(inner), body, *encodings, chunks=chunks)).status == 200
    assert inner.json()["messages"] == REQUEST["messages"]


@pytest.mark.parametrize(
    "encodings", [["br"], ["deflate"], ["gzip, zstd"], ["gzip", "zstd"], ["gzip, gzip"], ["x" * 999], ["\xff"]]
)
@pytest.mark.parametrize("layer", sorted(READING))
async def test_other_coding_or_more_than_one_is_refused(layer: str, encodings: list[str]) -> None:
    inner = Inner(COMPLETION)
    answer = await ask(LAYERS[layer](inner), gzip.compress(PLAIN), *encodings)
    assert refusal(answer)[:2] == (415, "invalid_request_error")
    assert answer.headers["accept-encoding"] == "gzip, zstd"
    assert len(answer.body) < 400
    assert inner.scopes == []


async def test_refusal_keeps_to_the_dialect_of_the_path() -> None:
    answer = await ask(ModelMappingMiddleware(Inner(), big="B", small="S"), b"", "br", path="/v1/chat/completions")
    assert answer.json()["error"]["code"] == 415
    assert "type" not in answer.json()


@pytest.mark.parametrize("coding", CODECS)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda packed: PLAIN, "can't be decoded"),
        (lambda packed: packed[:-3], "cut off"),
        (lambda packed: packed[:10], "cut off"),
        (lambda packed: packed + b"more", "more after its end"),
        (lambda packed: packed * 2, "more after its end"),
    ],
    ids=["plain", "cut", "head", "trailing", "twice"],
)
@pytest.mark.parametrize("chunks", [1, 7])
async def test_broken_body_is_refused(coding: str, spoil: Callable[[bytes], bytes], said: str, chunks: int) -> None:
    inner = Inner(COMPLETION)
    body = spoil(CODECS[coding](PLAIN))
    answer = await ask(FormatConversionMiddleware(inner), body, coding, chunks=chunks)
    status, type_, message = refusal(answer)
    assert (status, type_) == (400, "invalid_request_error")
    assert said in message
    assert coding in message
    assert inner.scopes == []


async def test_checksum_is_checked() -> None:
    packed = bytearray(gzip.compress(PLAIN))
    packed[-5] ^= 1
    assert refusal(await ask(FormatConversionMiddleware(Inner()), bytes(packed), "gzip"))[0] == 400


@pytest.mark.parametrize("coding", CODECS)
async def test_empty_body_is_empty_in_every_coding(coding: str) -> None:
    _, _, message = refusal(await ask(FormatConversionMiddleware(Inner()), b"", coding))
    assert "not valid JSON" in message


@pytest.mark.parametrize("coding", CODECS)
async def test_bomb_is_refused_with_little_memory(coding: str) -> None:
    bomb = _bomb(coding, 4 * MAX_BODY_BYTES)
    tracemalloc.start()
    try:
        answer = await ask(FormatConversionMiddleware(Inner()), bomb, coding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal(answer)[:2] == (413, "request_too_large")
    assert peak < 3 * MAX_BODY_BYTES


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 5000])
async def test_announced_length_over_the_limit_is_refused_at_once(length: str) -> None:
    scope = http_scope("POST", "/v1/messages", {"content-length": length, "content-encoding": "gzip"})
    answer = await call(FormatConversionMiddleware(Inner()), scope, b"")
    assert answer.status == 413


@pytest.mark.parametrize("length", ["x", "-1", "\xb2", ""])
async def test_length_that_is_no_number_is_left_to_the_server(length: str) -> None:
    scope = http_scope("POST", "/v1/messages", {"content-length": length})
    assert (await call(FormatConversionMiddleware(Inner(COMPLETION)), scope, PLAIN)).status == 200


@pytest.mark.parametrize("coding", CODECS)
@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)])
async def test_limit_is_that_of_a_plain_body(coding: str, size: int, status: int) -> None:
    plain = PLAIN + blanks(size - len(PLAIN))
    body = gzip.compress(plain, 1) if coding == "gzip" else CODECS[coding](plain)  # its default takes half a minute
    assert (await ask(FormatConversionMiddleware(Inner(COMPLETION)), body, coding, chunks=5)).status == status


@pytest.mark.parametrize("coding", CODECS)
@pytest.mark.parametrize("chunks", [1, 50])
async def test_body_out_of_proportion_is_refused_with_little_memory(coding: str, chunks: int) -> None:
    body = CODECS[coding](PLAIN + b" " * (MAX_BODY_BYTES - len(PLAIN)))
    tracemalloc.start()
    try:
        answer = await ask(FormatConversionMiddleware(Inner(COMPLETION)), body, coding, chunks=chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal(answer) == (413, "request_too_large", "Request expands to more than 200 times what was sent")
    assert peak < MAX_BODY_BYTES


@pytest.mark.parametrize("coding", CODECS)
@pytest.mark.parametrize("text", [b" " * 1_000_000, b"|".join([b" " * 60] * 50_000)], ids=["small", "repetitive"])
async def test_small_body_and_repetitive_one_may_expand(coding: str, text: bytes) -> None:
    parts, between = text.split(b"|"), blanks(100_000)
    body = CODECS[coding](PLAIN + b"".join(part + between[2 * n : 2 * n + 2] for n, part in enumerate(parts)))
    assert (await ask(FormatConversionMiddleware(Inner(COMPLETION)), body, coding)).status == 200


def blanks(size: int) -> bytes:
    """Blanks that take a quarter of their size compressed."""
    return random.Random(0).randbytes(size).translate(b" \n\t\r" * 64)  # noqa: S311


async def test_zstd_window_over_eight_megabytes_is_refused() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    packed = compressor.compress(PLAIN) + compressor.flush()
    status, _, message = refusal(await ask(FormatConversionMiddleware(Inner()), packed, "zstd"))
    assert status == 400
    assert "memory" in message


async def test_zstd_without_its_package_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("backports.zstd", raising=False)
    app = FormatConversionMiddleware(Inner(COMPLETION))
    status, _, message = refusal(await ask(app, zstd.compress(PLAIN), "zstd"))
    assert status == 415
    assert "backports.zstd" in message
    assert (await ask(app, gzip.compress(PLAIN), "gzip")).status == 200


async def test_content_encoding_can_be_no_custom_header() -> None:
    with pytest.raises(ValueError, match="content-encoding"):
        CustomHeadersMiddleware(Inner(), headers={"content-encoding": "gzip"})


def _bomb(coding: str, size: int) -> bytes:
    compressor: Any = zlib.compressobj(1, wbits=31) if coding == "gzip" else zstd.ZstdCompressor()
    megabyte = bytes(1 << 20)
    return b"".join(compressor.compress(megabyte) for _ in range(size >> 20)) + bytes(compressor.flush())
