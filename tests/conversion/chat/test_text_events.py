"""Texts that are read without parsing the rest of their events are the same as those that are."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.conversion.chat.text_events import TextEvents, text_alone

_FRAME: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1760000000, "model": "m"}


def event(text: str, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return orjson.dumps({**_FRAME, "choices": [choice], **fields})


def learned(data: bytes, text: str) -> TextEvents:
    events = TextEvents()
    events.learn(data, text)
    return events


def test_text_is_found_in_an_event_like_the_one_before() -> None:
    events = learned(event("Hello"), "Hello")
    for text in (" world", "", '"quoted" \\ and\n\ttabs', "日本語 🎉", "Hello", "\u2028"):
        assert events.text(event(text)) == text


def test_text_is_found_however_its_characters_are_escaped() -> None:
    events = learned(event("Hello"), "Hello")
    assert events.text(event("@").replace(b"@", b"\\u00e9\\ud83d\\ude00")) == "é😀"


@given(st.text(), st.text(), st.dictionaries(st.sampled_from(["id", "model", "note"]), st.text()))
def test_text_is_what_parsing_finds(first: str, second: str, fields: dict[str, str]) -> None:
    events = learned(event(first, **fields), first)
    data = event(second, **fields)
    assert events.text(data) in (None, text_alone(orjson.loads(data)))


@pytest.mark.parametrize(
    "data",
    [
        event("", id="chatcmpl-2"),
        event("x", usage={"prompt_tokens": 1}),
        event("x").replace(b'"finish_reason":null', b'"finish_reason":"stop"'),
        event("x").replace(b'"content":"x"', b'"content":null'),
        event("x").replace(b'"content":"x"', b'"content":"x","role":"assistant"'),
        event("x").replace(b'"content":"x"', b'"content":"x" "y"'),
        event("x").replace(b'"content":"x"', b'"content":"\xff"'),
        event("x").replace(b'"content":"x"', b'"content":"\\ud83d"'),
        event("x").replace(b'"content":"x"', b'"content":"cut'),
        event("x")[:40],
        b"[DONE]",
        b"",
    ],
)
def test_event_that_differs_in_more_than_its_text_is_left_to_the_parser(data: bytes) -> None:
    assert learned(event("Hello"), "Hello").text(data) is None


def test_same_string_in_another_place_is_not_taken_for_the_text() -> None:
    escaped = event("x", id="Hello").replace(b'"content":"x"', b'"content":"\\u0048ello"')
    events = learned(escaped, "Hello")
    assert events.text(event("x", id="World")) is None
    assert events.text(escaped) is None


def test_event_that_is_no_utf_8_teaches_nothing() -> None:
    broken = event("Hello").replace(b"chatcmpl-1", b"chatcmpl-\xff")
    events = learned(broken, "Hello")
    assert events.text(broken) is None


def test_learning_ends_where_every_event_has_something_of_its_own() -> None:
    events = TextEvents()
    for n in range(20):
        data = event("Hello", obfuscation=f"{n:05}")
        assert events.text(data) is None
        events.learn(data, "Hello")
    data = event("Hello", obfuscation="fixed")
    events.learn(data, "Hello")
    assert events.text(data) is None


def test_learning_goes_on_where_it_was_of_use() -> None:
    events = TextEvents()
    for n in range(20):
        data = event("Hello", created=n)
        events.learn(data, "Hello")
        assert events.text(event("again", created=n)) == "again"
