"""The order of events that an Anthropic stream must keep, checked over the bytes that a client would read."""

import json
from typing import Any

Event = dict[str, Any]

_DELTAS = {
    "text": {"text_delta": "text", "citations_delta": "citation"},
    "server_tool_use": {"input_json_delta": "partial_json"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "tool_use": {"input_json_delta": "partial_json"},
}
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def parse_frames(frames: bytes) -> list[Event]:
    """The events of a complete stream; each must have its ``event:`` line and its JSON on one ``data:`` line."""
    assert frames.endswith(b"\n\n") or not frames, "the last event is not complete"
    events: list[Event] = []
    for frame in frames.split(b"\n\n")[:-1]:
        first, second = frame.split(b"\n")
        assert first.startswith(b"event: "), f"no event line: {frame!r}"
        assert second.startswith(b"data: "), f"no data line: {frame!r}"
        event = json.loads(second.removeprefix(b"data: "))
        assert event["type"].encode() == first.removeprefix(b"event: ")
        events.append(event)
    return events


def check_stream(frames: bytes, *, complete: bool = True) -> list[Event]:
    """The events of a stream. Raises AssertionError where they break the grammar.

    With ``complete``, the stream must have come to its end: ``message_stop`` or an ``error`` event.
    """
    events = parse_frames(frames)
    assert events, "no events"
    assert events[0]["type"] == "message_start", "message_start is not the first event"
    _check_start(events[0]["message"])
    open_block: Event | None = None
    signed = False
    blocks = 0
    ended = ""
    for event in events[1:]:
        kind = event["type"]
        assert ended in ("", "message_delta"), f"{kind} after {ended}"
        if kind == "error":
            assert isinstance(event["error"]["message"], str)
            assert event["error"]["type"].endswith("_error")
            ended = kind
            continue
        assert (ended == "message_delta") == (kind == "message_stop"), f"{kind} after {ended or 'a block'}"
        match kind:
            case "ping":
                pass
            case "content_block_start":
                assert open_block is None, "a block inside a block"
                assert event["index"] == blocks, "a gap in the indices"
                open_block = event["content_block"]
                _check_block(open_block)
                signed = False
                blocks += 1
            case "content_block_delta":
                assert open_block is not None, "a delta outside any block"
                assert event["index"] == blocks - 1
                delta = event["delta"]
                name = _DELTAS[open_block["type"]][delta["type"]]
                assert delta.keys() == {"type", name}
                assert isinstance(delta[name], dict if name == "citation" else str)
                assert delta[name], "an empty delta"
                assert not signed, "a delta after the signature"
                signed = delta["type"] == "signature_delta"
            case "content_block_stop":
                assert open_block is not None, "a stop outside any block"
                assert event["index"] == blocks - 1
                assert signed == (open_block["type"] == "thinking"), "thinking without a signature"
                open_block = None
            case "message_delta":
                assert open_block is None, "the message ends inside a block"
                _check_end(event)
                ended = kind
            case "message_stop":
                ended = kind
            case _:
                raise AssertionError(f"unknown event {kind}")
    assert not complete or ended in ("message_stop", "error"), "the stream has no end"
    return events


def _check_start(message: Event) -> None:
    assert message["id"].startswith("msg_")
    assert message["content"] == []
    assert message["stop_reason"] is message["stop_sequence"] is message["stop_details"] is None
    _check_counts(message["usage"])


def _check_block(block: Event) -> None:
    match block["type"]:
        case "text":
            assert block == {"type": "text", "text": ""}
        case "thinking":
            assert block == {"type": "thinking", "thinking": "", "signature": ""}
        case "web_search_tool_result":
            assert block.keys() == {"type", "tool_use_id", "content"}
            assert block["tool_use_id"].startswith("srvtoolu_")
        case "tool_use" | "server_tool_use" as kind:
            assert block.keys() == {"type", "id", "name", "input"}
            assert block["id"].startswith("srvtoolu_" if kind == "server_tool_use" else "")
            assert block["id"]
            assert block["name"]
            assert block["input"] == {}
        case kind:
            raise AssertionError(f"unknown block {kind}")


def _check_end(event: Event) -> None:
    assert event["delta"].keys() - {"safeguard_results"} == {"stop_reason", "stop_sequence", "stop_details"}
    assert isinstance(event["delta"]["stop_reason"], str)
    assert (event["delta"]["stop_reason"] == "stop_sequence") == (event["delta"]["stop_sequence"] is not None)
    assert (event["delta"]["stop_reason"] == "refusal") == (event["delta"]["stop_details"] is not None)
    _check_counts(event["usage"])


def _check_counts(usage: Event) -> None:
    for name in _COUNTS:
        assert type(usage[name]) is int
        assert usage[name] >= 0
