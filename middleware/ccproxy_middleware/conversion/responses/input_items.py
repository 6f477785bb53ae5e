"""Convert turns to input items: texts, calls and results in their order, with the provider's own reasoning before them.

No item has an id: ids refer to items that the provider has stored, and nothing is stored there.
"""

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...toolkit.errors import invalid_request
from ...toolkit.field_checks import required
from ..anthropic import SERVER_BLOCKS, Block, Turn, upstream_tool_id, upstream_tool_name
from ..chat import (
    BRIDGE,
    FIRST_USER,
    NO_RESULT,
    Attachments,
    Part,
    arguments_json,
    call_id,
    claim_id,
    loop_start,
    mark_cached,
    text_part,
    unsupported,
    user_turn,
    with_calls_as_text,
    without_results,
)
from ..providers import Profile
from .input_parts import earlier_result, input_parts, keep_newest_images, tool_output
from .returned import Entry, Returned, output_message, place_reasoning

Item = dict[str, Any]


@dataclass(slots=True)
class Input:
    """The conversation as items; the client's ids of all its calls; what was left out of its reasoning, and why."""

    items: list[Item] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)


def convert_turns(
    turns: Sequence[Turn],
    profile: Profile,
    model: str,
    refused: Callable[[str], bool],
    offered: Container[str] = (),
) -> Input:
    """The conversation without its system prompt, with every call answered.

    ``refused`` takes a digest and returns whether the provider has refused that reasoning item. ``offered`` are the
    client's names of the tools that may be called. Raises a 400, also for a repeated id.
    """
    result = Input()
    told: set[str] = set()
    if profile.unoffered_calls == "text":
        turns = with_calls_as_text(turns, offered, told)
        result.ids |= told
    open_calls: dict[str, Block] = {}  # the calls of the last assistant turn that have no result yet
    by_text = profile.reasoning_roundtrip == "reasoning_text" and profile.reasoning_turns == "loop"
    loop = loop_start(turns) if by_text else 0
    returned = Returned(profile, model, refused, result.left_out)
    for n, turn in enumerate(turns):
        if turn.role == "user":
            _add_user(result.items, turn, open_calls, told, profile)
            continue
        _add_missing(result.items, open_calls, profile)
        if turn.role == "assistant":
            entries = _entries(turn, open_calls, result.ids, profile, returned, with_reasoning=n >= loop)
            result.items += place_reasoning(entries, result.left_out)
        else:
            parts = [mark_cached(text_part(block.data["text"]), block.data, profile) for block in turn.blocks]
            result.items.append(_message("developer", parts, profile))
    _add_missing(result.items, open_calls, profile)
    if profile.images_max is not None:
        keep_newest_images(result.items, profile)
    if profile.first_user and not _begins_with_user(result.items):
        result.items.insert(0, _message("user", [text_part(FIRST_USER)], profile))
    return result


def _begins_with_user(items: Sequence[Item]) -> bool:
    return bool(items) and items[0].get("role") == "user"


def _message(role: str, parts: list[Part], profile: Profile) -> Item:
    if not profile.content_parts:
        return {"type": "message", "role": role, "content": "\n\n".join(part.get("text", "") for part in parts)}
    return {"type": "message", "role": role, "content": input_parts(parts)}


def _add_user(
    items: list[Item], turn: Turn, open_calls: dict[str, Block], told: Container[str], profile: Profile
) -> None:
    """Add the results of a user turn, followed by its message. Marks the calls as answered.

    ``told`` are the ids of calls that were converted to text.
    """
    attachments = Attachments()

    def result(block: Block, id_: str, call: Block) -> Item:
        output = tool_output(block, profile, attachments)
        return {"type": "function_call_output", "call_id": call_id(id_, call, profile), "output": output}

    results, own = user_turn(
        turn, open_calls, told, profile, result=result, earlier=lambda block: earlier_result(block, profile)
    )
    items += results
    _add_missing(items, open_calls, profile)
    if parts := attachments.parts + own:
        if profile.bridge_after_tool and items and items[-1]["type"] == "function_call_output":
            items.append(output_message(BRIDGE))
        items.append(_message("user", parts, profile))


def _add_missing(items: list[Item], open_calls: dict[str, Block], profile: Profile) -> None:
    """Add answers for calls without a result: an interrupt, a rewind or a compaction must not end the session."""
    if open_calls and profile.history_repair == "refuse":
        raise without_results(open_calls)
    for id_, call in open_calls.items():
        items.append({"type": "function_call_output", "call_id": call_id(id_, call, profile), "output": NO_RESULT})
    open_calls.clear()


def _entries(
    turn: Turn,
    open_calls: dict[str, Block],
    ids: set[str],
    profile: Profile,
    returned: Returned,
    *,
    with_reasoning: bool,
) -> list[Entry]:
    """The contents of an assistant turn, in order. Its calls are registered."""
    entries: list[Entry] = []
    after_text = False
    for block in turn.blocks:
        is_text = False
        match block.type:
            case "text":
                is_text = True
                entries.append(Entry("message", text=block.data["text"], joins=after_text))
            case "tool_use":
                id_ = required(block.data, "id", str, block)
                claim_id(id_, ids)
                open_calls[id_] = block
                name = upstream_tool_name(required(block.data, "name", str, block), profile)
                call = {
                    "type": "function_call",
                    "call_id": upstream_tool_id(id_, name, profile),
                    "name": name,
                    "arguments": arguments_json(block.data.get("input")),
                }
                entries.append(Entry("call", item=call, id=id_))
            case "thinking" | "redacted_thinking":
                signature = block.data.get("signature" if block.type == "thinking" else "data")
                entries.append(returned.entry(signature, wanted=with_reasoning))
            case "document" if profile.strict_version:
                raise unsupported(block, "a document in an assistant message")
            case type_ if type_ in SERVER_BLOCKS:
                pass
            case type_:
                raise invalid_request(f"{block}: unsupported block type '{type_}'")
        after_text = is_text
    return entries
