"""Reasoning that comes back: where it is put, and when it is left out."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.conversion.responses.request import convert_request
from ccproxy_middleware.conversion.responses.response import convert_response
from ccproxy_middleware.conversion.responses.state import MAX_STATE, Following, decode_state, encode_state
from ccproxy_middleware.toolkit.json import dumps

ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "E1"}
CALL = Following("call", "c1")


def reasoning(number: int, words: str = "") -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": words}] if words else []
    return {"type": "reasoning", "id": f"rs_{number}", "summary": summary, "encrypted_content": f"E{number}"}


def message(text: str, phase: str | None = None) -> dict[str, Any]:
    item = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return {**item, "phase": phase} if phase else item


def call(id_: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id_, "name": "f", "arguments": "{}"}


def answered(
    output: list[dict[str, Any]], *, thinking: str = "show", stream: bool = False, **fields: Any
) -> list[dict[str, Any]]:
    """The blocks that a client gets of an answer."""
    profile = resolve_profile("openai", {})
    context = Context(model="m", profile=profile, upstream_model="m", thinking=thinking)  # type: ignore[arg-type]
    content: list[dict[str, Any]] = convert_response({"status": "completed", "output": output, **fields}, context)[
        "content"
    ]
    return content


def sent(blocks: list[dict[str, Any]], model: str = "m", **options: Any) -> list[str]:
    """What comes of an assistant turn with these blocks, in short."""
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": id_, "content": "r"} for id_ in ids]
    last = results or [{"type": "text", "text": "and?"}]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": last},
    ]
    body = {"model": model, "max_tokens": 99, "messages": messages}
    items = convert_request(body, resolve_profile(options.pop("provider", "openai"), options)).body["input"]
    return [short(item) for item in items[1:-1]] if not results else [short(i) for i in items[1 : -len(results)]]


def short(item: dict[str, Any]) -> str:
    assert "id" not in item
    match item["type"]:
        case "reasoning":
            return str(item.get("encrypted_content") or item["content"])
        case "message":
            text = "".join(part["text"] for part in item["content"])
            return f"{text}:{item['phase']}" if "phase" in item else text
        case _:
            return str(item["call_id"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("thinking", ["show", "omit", "off"])
@pytest.mark.parametrize(
    ("output", "items"),
    [
        ([reasoning(1), call("c1")], ["E1", "c1"]),
        ([reasoning(1, "w"), message("t"), call("c1")], ["E1", "t", "c1"]),
        ([reasoning(1, "w"), message("t", "commentary"), call("c1")], ["E1", "t:commentary", "c1"]),
        ([reasoning(1, "w"), reasoning(2, "v"), call("c1")], ["E1", "E2", "c1"]),
        ([reasoning(1), message("t"), reasoning(2), call("c1")], ["E1", "t", "E2", "c1"]),
        ([reasoning(1), call("c1"), reasoning(2), call("c2")], ["E1", "c1", "E2", "c2"]),
        ([message("s"), reasoning(1), message("t", "p"), call("c1")], ["s", "E1", "t:p", "c1"]),
        ([reasoning(1), message("s", "p"), message("t"), call("c1")], ["E1", "s:p", "t", "c1"]),
        ([reasoning(1), message("\n"), call("c1"), call("c2")], ["E1", "c1", "c2"]),
        ([reasoning(1), call("c1"), message("t")], ["E1", "c1", "t"]),
    ],
)
def test_reasoning_goes_back_before_what_it_belonged_to(
    output: list[dict[str, Any]], items: list[str], thinking: str, stream: bool
) -> None:
    assert sent(answered(output, thinking=thinking, stream=stream)) == items


LOOP = [reasoning(1, "w"), message("t"), reasoning(2, "v"), call("c1")]


@pytest.mark.parametrize(
    ("keep", "items"),
    [
        (lambda block: block["type"] != "tool_use", ["E1", "t"]),
        (lambda block: block["type"] != "text", ["E2", "c1"]),
        (lambda block: block["type"] == "thinking", []),
        (lambda block: block.get("thinking") != "w", ["t", "E2", "c1"]),
    ],
    ids=["call gone", "text gone", "both gone", "thinking gone"],
)
def test_reasoning_is_left_out_with_what_it_belonged_to(keep: Any, items: list[str]) -> None:
    assert sent([block for block in answered(LOOP) if keep(block)]) == items


def test_call_under_another_id_is_another_call() -> None:
    blocks = answered([reasoning(1), call("c1")])
    assert sent([*blocks[:1], {**blocks[1], "id": "c9"}]) == ["c9"]


@pytest.mark.parametrize(
    ("model", "options"),
    [("other", {}), ("m", {"provider": "xai"}), ("m", {"reasoning_roundtrip": "off"})],
    ids=["another model", "another provider", "switched off"],
)
def test_reasoning_of_others_is_left_out(model: str, options: dict[str, Any]) -> None:
    assert sent(answered([reasoning(1), call("c1")]), model, **options) == ["c1"]


def test_reasoning_that_nothing_followed_is_left_out() -> None:
    blocks = answered([reasoning(1, "w")], status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert [block["type"] for block in blocks] == ["thinking"]
    assert sent([*blocks, {"type": "text", "text": "later"}]) == ["later"]


def test_reasoning_item_stands_once_in_a_request() -> None:
    blocks = answered([reasoning(1, "w"), message("t")])
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "more"},
    ]
    converted = convert_request({"model": "m", "max_tokens": 9, "messages": messages}, resolve_profile("openai", {}))
    assert [item["type"] for item in converted.body["input"]].count("reasoning") == 1
    assert converted.left_out == {"it stands in the conversation twice": 1}


def test_text_reasoning_goes_back_by_the_switch() -> None:
    item = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "2+2"}]}
    blocks = answered([item, call("c1")])
    assert sent(blocks) == ["c1"]
    assert sent(blocks, reasoning_roundtrip="reasoning_text") == [str(item["content"]), "c1"]


def test_summary_alone_goes_back_as_text_by_the_switch() -> None:
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2+2"}]}
    blocks = answered([item, call("c1")])
    expected = str([{"type": "reasoning_text", "text": "2+2"}])
    assert sent(blocks, reasoning_roundtrip="reasoning_text") == [expected, "c1"]


@pytest.mark.parametrize("place", range(0, 120, 7))
def test_signature_that_was_changed_does_not_decode(place: int) -> None:
    signature = encode_state("openai", "m", ITEM, CALL)
    place %= len(signature)
    changed = "A" if signature[place] != "A" else "B"
    assert decode_state(signature) is not None
    assert decode_state(signature[:place] + changed + signature[place + 1 :]) is None


@pytest.mark.parametrize(
    "signature", [None, 1, "", "p1.", "p1.e30", "foreign", "p1.\ud800.00000000", "p1..", "p1.e30.", "é"]
)
def test_foreign_signature_does_not_decode(signature: Any) -> None:
    assert decode_state(signature) is None


def test_item_that_is_too_large_is_left_out_of_its_signature() -> None:
    signature = encode_state("openai", "m", {**ITEM, "encrypted_content": "x" * MAX_STATE}, CALL)
    state = decode_state(signature)
    assert state is not None
    assert (state.item, state.following) == (None, CALL)
    assert len(signature) < 1000


def test_many_thinking_blocks_take_time_in_proportion() -> None:
    """What is looked through for each of them is counted in bytes of the result, not measured."""
    state = encode_state("openai", "m", ITEM, Following("message"), before=1)
    blocks: list[dict[str, Any]] = []
    for n in range(3000):
        blocks += [{"type": "text", "text": f"t{n}"}, {"type": "thinking", "thinking": "", "signature": state}]
    assert len(dumps(sent([*blocks, {"type": "text", "text": "end"}]))) < 100_000
