"""Whatever a Responses host sends, the client gets a stream that keeps the grammar, cut as it may be."""

import contextlib
import json
from typing import Any

from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxy_middleware.conversion.anthropic import message_events
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import PROFILES
from ccproxy_middleware.conversion.responses.response import convert_response
from ccproxy_middleware.conversion.responses.stream import HANDLED, StreamConverter
from ccproxy_middleware.toolkit.errors import ApiError
from ccproxy_middleware.toolkit.json import loads, replace_surrogates
from support.streams.chunks import sse
from support.streams.grammar import check_stream
from support.streams.stream_check import check_bytes

CONTEXTS = [
    Context(
        model="m",
        profile=PROFILES["openai"],
        upstream_model="u",
        thinking=thinking,
        tools=frozenset({"f", "G"}),
        tool_schemas={"G": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        used_tool_ids=frozenset({"old"}),
        local_stops=stops,
        stop_sequences=stops,
    )
    for thinking in ("show", "omit", "off")
    for stops in ((), ("END", "b"))
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is expected, sometimes anything."""
    return st.one_of(strategy, strategy, strategy, strategy, strategy, st.none(), JSON)


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: maybe(strategy) for name, strategy in fields.items()})


TEXT = st.sampled_from(["", " ", "\n", "a", "b c", "EN", "END", "D", "\U0001f600", "\ud83d", "\ude00"])
ARGUMENTS = st.sampled_from(["", " ", "{}", "{", '{"a":', '"1"', "}", '{"a":"1"}', "\ud83d"])
PART = record(type=st.sampled_from(["output_text", "refusal", "summary_text"]), text=TEXT, refusal=TEXT)
ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "web_search_call"])},
    optional={
        "id": maybe(st.sampled_from(["i0", "i1", "i2"])),
        "call_id": maybe(st.sampled_from(["c1", "c2", "old", "bad id"])),
        "name": maybe(st.sampled_from(["f", "G", ""])),
        "arguments": maybe(ARGUMENTS),
        "input": maybe(TEXT),
        "content": maybe(st.lists(maybe(PART), max_size=2)),
        "summary": maybe(st.lists(maybe(PART), max_size=2)),
        "encrypted_content": maybe(st.sampled_from(["E1", "E2", ""])),
        "phase": maybe(st.just("commentary")),
    },
)
RESPONSE = record(
    status=st.sampled_from(["completed", "incomplete", "failed"]),
    output=st.lists(maybe(ITEM), max_size=4),
    error=record(code=st.sampled_from(["server_error", "bio_policy", "x"]), message=TEXT),
    incomplete_details=record(reason=st.sampled_from(["max_output_tokens", "content_filter", "x"])),
    usage=record(input_tokens=st.integers(), output_tokens=st.integers()),
)
INDEX = st.integers(0, 3)
COMMON = {
    "output_index": INDEX, "item_id": st.sampled_from(["i0", "i1", "i2"]), "content_index": st.integers(0, 2),
    "summary_index": st.integers(0, 2), "delta": st.one_of(TEXT, ARGUMENTS), "text": TEXT, "refusal": TEXT,
    "arguments": ARGUMENTS, "input": TEXT, "part": PART,
}  # fmt: skip
DELTAS = sorted(kind for kind in HANDLED if kind.endswith((".delta", ".done")) and "item" not in kind)
EVENT = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["response.output_item.added", "response.output_item.done"]), "item": ITEM},
        optional={"output_index": maybe(INDEX)},
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(DELTAS)}, optional={name: maybe(value) for name, value in COMMON.items()}
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["response.created", "response.unknown"]), "response": RESPONSE}),
    maybe(st.just({"type": "error", "message": "x"})),
)
END = st.sampled_from(["response.completed", "response.incomplete", "response.done", "response.failed", ""])


@settings(deadline=None, max_examples=250)
@given(st.sampled_from(CONTEXTS), st.lists(EVENT, max_size=10), END, RESPONSE, st.integers(0))
def test_any_stream(context: Context, events: list[Any], end: str, response: Any, seed: int) -> None:
    whole = [*events, *([{"type": end, "response": response}] * bool(end))]
    raw = sse(*(json.dumps(event) for event in whole), done=False)
    check_bytes(context, raw, seed, StreamConverter)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(CONTEXTS), st.one_of(RESPONSE, maybe(RESPONSE)))
def test_any_response(context: Context, body: Any) -> None:
    with contextlib.suppress(ApiError):
        message = convert_response(loads(json.dumps(replace_surrogates(body))), context)
        Message.model_validate(message)
        check_stream(b"".join(message_events(message)))


@settings(deadline=None)
@given(st.sampled_from(CONTEXTS), st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes(context: Context, pieces: list[bytes]) -> None:
    check_bytes(context, b"".join(pieces), 0, StreamConverter)
