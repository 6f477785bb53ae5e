"""Whatever upstream sends, the client gets a stream that keeps the grammar, and no exception but ApiError comes out."""

import contextlib
import json
from typing import Any

from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_middleware.conversion.anthropic.message import message_events
from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.toolkit.errors import ApiError
from ccproxy_middleware.toolkit.json import dumps
from support.streams.chunks import sse
from support.streams.grammar import check_stream
from support.streams.stream_check import CONTEXTS, check_bytes, run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is expected, sometimes anything."""
    return st.one_of(strategy, strategy, strategy, strategy, st.none(), JSON)


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: maybe(strategy) for name, strategy in fields.items()})


TEXT = st.sampled_from(
    [
        "",
        " ",
        "\n",
        "a",
        "b c",
        "<think>",
        "</think>",
        "<th",
        "EN",
        "END",
        "D",
        "\U0001f600",
        "\ud83d",
        "\ude00",
    ]
)
ARGUMENTS = st.sampled_from(["", " ", "{}", "{", '{"a":', "1", "}", '{"a":1}', '"x"', "\ud83d"])
FUNCTION = record(name=st.sampled_from(["f", "g", "F", ""]), arguments=ARGUMENTS)
EXTRA = record(google=record(thought_signature=TEXT), vertex=record(thought_signature=TEXT))
CALL = record(
    index=st.integers(0, 2),
    id=st.sampled_from(["", "c1", "c2", "old", "bad id"]),
    function=FUNCTION,
    custom=record(name=TEXT, input=TEXT),
    type=st.sampled_from(["function", "custom"]),
    extra_content=EXTRA,
)
PART = record(
    type=st.sampled_from(["text", "thinking"]),
    text=TEXT,
    thinking=st.one_of(TEXT, st.lists(record(type=st.just("text"), text=TEXT))),
)
DETAIL = record(
    type=st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted"]),
    text=TEXT,
    summary=TEXT,
    index=st.integers(0, 1),
)
DELTA = record(
    content=st.one_of(TEXT, TEXT, st.lists(maybe(PART), max_size=3)),
    reasoning=TEXT,
    reasoning_content=TEXT,
    reasoning_details=st.lists(maybe(DETAIL), max_size=2),
    refusal=TEXT,
    tool_calls=st.lists(maybe(CALL), max_size=3),
    function_call=FUNCTION,
    audio=record(transcript=TEXT),
)
USAGE = record(
    prompt_tokens=st.integers(),
    completion_tokens=st.integers(),
    total_tokens=st.integers(),
    prompt_tokens_details=record(cached_tokens=st.integers(), cache_write_tokens=st.integers()),
    completion_tokens_details=record(reasoning_tokens=st.integers()),
)
FINISH = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error", ""])
CHOICE = record(
    index=st.integers(0, 1), delta=DELTA, message=DELTA, finish_reason=FINISH, usage=USAGE, stop_reason=TEXT
)
CHUNK = st.fixed_dictionaries(
    {"choices": maybe(st.lists(maybe(CHOICE), max_size=2))},
    optional={"usage": maybe(USAGE), "x_groq": maybe(record(usage=USAGE)), "service_tier": maybe(st.just("default"))},
)  # fmt: skip
PLAIN_CHUNK = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"delta": DELTA}), min_size=1, max_size=1)}
)
EVENT = st.one_of(PLAIN_CHUNK, PLAIN_CHUNK, PLAIN_CHUNK, CHUNK, maybe(st.just({"error": {"message": "x"}})))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(CONTEXTS), st.lists(EVENT, max_size=8), st.booleans(), st.booleans(), st.integers(0))
def test_any_stream(context: Context, events: list[Any], end: bool, done: bool, seed: int) -> None:
    chunks = [*events, *([{"choices": [{"delta": {}, "finish_reason": "stop"}]}] * end)]
    raw = sse(*(json.dumps(item) for item in chunks), done=done)
    check_bytes(context, raw, seed)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(CONTEXTS),
    st.one_of(CHUNK, maybe(CHUNK), st.fixed_dictionaries({"choices": st.lists(CHOICE, min_size=1, max_size=2)})),
)
def test_any_completion(context: Context, body: Any) -> None:
    with contextlib.suppress(ApiError):
        message = convert_response(json.loads(dumps(_encodable(body))), context)
        Message.model_validate(message)
        dumps(message)
        check_stream(b"".join(message_events(message)))


@settings(deadline=None)
@given(st.sampled_from(CONTEXTS), st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes(context: Context, pieces: list[bytes]) -> None:
    check_bytes(context, b"".join(pieces))


def test_deep_nesting() -> None:
    deep = "[" * 900 + "]" * 900
    very_deep = "[" * 100_000 + "]" * 100_000
    for inner in (deep, very_deep, f'[{deep},"\\ud83d"]', f'[{very_deep},"\\ud83d"]'):
        for name in ("content", "reasoning_details", "tool_calls", "x"):
            raw = f'data: {{"choices":[{{"delta":{{"{name}":{inner}}}}}]}}\n\n'.encode()
            run(CONTEXTS[0], [raw])
        arguments = f'{{"function":{{"name":"f","arguments":{inner}}}}}'
        raw = f'data: {{"choices":[{{"delta":{{"tool_calls":[{arguments}]}}}}]}}\n\n'.encode()
        run(CONTEXTS[0], [raw, b"data: [DONE]\n\n"])


def _encodable(value: Any) -> Any:
    """Without lone surrogates and numbers over 64 bits, as every parsed body is."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return value
