import base64
import struct
import sys
from typing import Any

import pytest

from ccproxy_middleware.conversion.counting import tokens
from ccproxy_middleware.conversion.counting.tokens import count_request, estimate_request, estimate_tokens
from ccproxy_middleware.conversion.providers.profiles import PROFILES, resolve_profile

TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d" * 36, "parameters": {"type": "object"}},
}
TOOL_JSON = '{"name":"f","description":"' + "d" * 36 + '","parameters":{"type":"object"}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 36, 10),
        ("a" * 37, 11),
        ("漢字", 2),
        ("한국어", 3),
        ("カタカナ、。", 6),
        ("a" * 36 + "漢字", 12),
        ("é" * 18, 10),
        ("\U0001f600" * 9, 10),
        ("\U00020000", 2),
        ("\ud83d", 1),
    ],
)
def test_estimate_is_by_bytes_and_by_character_in_cjk(text: str, expected: int) -> None:
    assert estimate_tokens(text) == expected


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def pdf_part(pages: int) -> dict[str, Any]:
    data = base64.b64encode(b"%PDF-1.4\n/Type /Pages\n" + b"/Type /Page\n" * pages).decode()
    return {
        "type": "file",
        "file": {"filename": "a" * 36, "file_data": "data:application/pdf;base64," + data},
    }


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 512, 512)).decode()
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}}
CALL = {
    "id": "c",
    "type": "function",
    "function": {"name": "a" * 36, "arguments": '{"b":"' + "c" * 28 + '"}'},
}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, 3),
        ({"messages": []}, 3),
        ({"messages": [user("a" * 36)]}, 3 + 4 + 10),
        ({"messages": [user("a" * 36), user([{"type": "text", "text": "a" * 36}])]}, 3 + 8 + 20),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]}, 3 + 4 + 10 + 10),
        ({"messages": [{"role": "tool", "tool_call_id": "c", "content": "a" * 36}]}, 3 + 4 + 10),
        ({"messages": [{"role": "assistant", "content": "", "reasoning_content": "a" * 36}]}, 3 + 4 + 10),
        ({"messages": [user([IMAGE])]}, 3 + 4 + 255),
        ({"messages": [user([{"type": "image_url", "image_url": {"url": "https://x/y"}}])]}, 3 + 4 + 1600),
        ({"messages": [user([pdf_part(3)])]}, 3 + 4 + 10 + 6000),
        ({"messages": [user([pdf_part(0)])]}, 3 + 4 + 10 + 2000),
        ({"messages": [], "tools": []}, 3),
        ({"messages": [], "tools": [TOOL]}, 3 + 12 + 8 + estimate_tokens(TOOL_JSON)),
        ({"messages": [], "tools": [TOOL, TOOL]}, 3 + 12 + 2 * (8 + estimate_tokens(TOOL_JSON))),
        ({"messages": [], "response_format": {"type": "json_object"}}, 3),
        (
            {"messages": [], "response_format": {"type": "json_schema", "json_schema": {"a": "b" * 28}}},
            3 + estimate_tokens('{"a":"' + "b" * 28 + '"}'),
        ),
        ({"messages": [user([{"type": "odd", "x": 1}])]}, 3 + 4 + estimate_tokens('{"type":"odd","x":1}')),
        ({"messages": [user(["a" * 36])]}, 3 + 4 + 10),
        ({"messages": [{"role": "assistant", "content": "", "reasoning_details": [{"a": 1}]}]}, 3 + 4 + 3),
    ],
)
def test_request_is_what_is_sent_and_the_overheads(body: dict[str, Any], expected: int) -> None:
    assert estimate_request(body) == expected
    assert count_request(body, "estimate") == expected


def test_o200k_counts_as_openai_does() -> None:
    body = {"messages": [user("The quick brown fox jumps over the lazy dog.")]}
    assert count_request(body, "o200k") == 3 + 4 + 10


@pytest.mark.parametrize("text", ["漢字" * 300_000, "a" * 1_500_000, "a\ud83d", "<|endoftext|>", "é" * 100_001])
def test_o200k_counts_when_a_text_is_long_or_odd(text: str) -> None:
    assert count_request({"messages": [user(text)]}, "o200k") > 7


@pytest.mark.parametrize("missing", ["bpe_openai", "bpe_openai._bindings"])
def test_the_estimate_stands_in_when_the_tokenizer_is_missing_and_the_log_says_so_once(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    tokens._o200k.cache_clear()
    try:
        for _ in range(2):
            assert count_request({"messages": [user("a" * 36)]}, "o200k") == 3 + 4 + 10
        assert [record.levelname for record in caplog.records] == ["WARNING"]
    finally:
        tokens._o200k.cache_clear()


def test_tokenizer_is_a_switch() -> None:
    assert {name for name, profile in PROFILES.items() if profile.tokenizer == "o200k"} == {"openai", "azure"}
    assert resolve_profile("groq", {"tokenizer": "o200k"}).tokenizer == "o200k"
    with pytest.raises(ValueError, match="o200k, estimate"):
        resolve_profile("groq", {"tokenizer": "llama"})
