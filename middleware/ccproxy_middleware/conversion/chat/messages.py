"""Convert turns to chat messages: every tool call is answered directly after the message that contains it."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from ...toolkit.errors import ApiError, invalid_request
from ...toolkit.field_checks import required
from ...toolkit.json import dumps, loads
from ..anthropic import SERVER_BLOCKS, Block, Turn, decode_signature, upstream_tool_id, upstream_tool_name
from ..providers import Profile
from .content import (
    Attachments,
    Part,
    as_content,
    is_plain,
    keep_newest_images,
    mark_cached,
    result_text,
    text_part,
    unsupported,
    user_parts,
)

Message = dict[str, Any]

NO_RESULT = "[no result]"
EARLIER_RESULT = "[result of an earlier tool call]\n"
BRIDGE = "Tool results received."
FIRST_USER = "Go on."
GEMINI_SKIP = "skip_thought_signature_validator"


def convert_turns(
    turns: Sequence[Turn], profile: Profile, offered: Container[str] = ()
) -> tuple[list[Message], frozenset[str]]:
    """The conversation without its system prompt and with every call answered, and the client's ids of all calls.

    ``offered`` are the client's names of the tools that may be called. Raises a 400, also for a repeated id.
    """
    messages: list[Message] = []
    told: set[str] = set()
    if profile.unoffered_calls == "text":
        turns = with_calls_as_text(turns, offered, told)
    ids = set(told)
    open_calls: dict[str, Block] = {}  # the calls of the last assistant message that have no result yet
    loop = loop_start(turns) if profile.reasoning_turns == "loop" else 0
    for n, turn in enumerate(turns):
        if turn.role == "user":
            results, parts = _user(turn, open_calls, told, profile)
            messages += results
            if open_calls:
                messages += _missing_results(open_calls, profile)
            if parts:
                if profile.bridge_after_tool and messages and messages[-1]["role"] == "tool":
                    messages.append({"role": "assistant", "content": BRIDGE})
                messages.append({"role": "user", "content": as_content(parts, profile)})
            continue
        if open_calls:
            messages += _missing_results(open_calls, profile)
        if turn.role == "assistant":
            messages.append(_assistant(turn, open_calls, ids, profile, with_reasoning=n >= loop))
        else:
            parts = [mark_cached(text_part(block.data["text"]), block.data, profile) for block in turn.blocks]
            messages.append({"role": profile.system_role, "content": join_texts(parts)})
    if open_calls:
        messages += _missing_results(open_calls, profile)
    if profile.images_max is not None:
        keep_newest_images(messages, profile)
    if profile.first_user and (not messages or messages[0]["role"] != "user"):
        messages.insert(0, {"role": "user", "content": FIRST_USER})
    return messages, frozenset(ids)


def with_calls_as_text(turns: Sequence[Turn], offered: Container[Any], ids: set[str]) -> list[Turn]:
    """The turns with text in place of each call of a tool that is not offered; the ids of these calls are added to
    ``ids``.

    Their results then become text too, as they have no call.
    """
    told: list[Turn] = []
    for turn in turns:
        if turn.role == "assistant":
            blocks: list[Block] = []
            for block in turn.blocks:
                if block.type == "tool_use" and block.data.get("name") not in offered:
                    claim_id(required(block.data, "id", str, block), ids)
                    name = required(block.data, "name", str, block)
                    text = f"[called the tool {name} with {arguments_json(block.data.get('input'))}]"
                    if blocks and blocks[-1].type == "text":  # adjacent texts are joined
                        text = f"\n\n{text}"
                    block = Block(text_part(text), block)
                blocks.append(block)
            turn = Turn("assistant", blocks)
        told.append(turn)
    return told


def claim_id(id_: str, ids: set[str]) -> None:
    """Register the id of a call. Raises a 400 if another call has it."""
    if id_ in ids:
        raise invalid_request("messages: `tool_use` ids must be unique")
    ids.add(id_)


def join_texts(parts: list[Part]) -> str | list[Part]:
    """Text parts as one string, or unchanged if one carries a cache mark."""
    if not all(map(is_plain, parts)):
        return parts
    return "\n\n".join([part["text"] for part in parts])


def user_turn(
    turn: Turn,
    open_calls: dict[str, Block],
    told: Container[str],
    profile: Profile,
    *,
    result: Callable[[Block, str, Block], dict[str, Any]],
    earlier: Callable[[Block], list[Part]],
) -> tuple[list[dict[str, Any]], list[Part]]:
    """The results of a user turn in the format of an API, and the parts of the user's message. Marks the calls as
    answered.

    ``told`` are the ids of calls that were converted to text. ``result`` creates a result from its block, the client's
    id of the call and the call's block. ``earlier`` creates the parts for a result whose call is no longer there.
    Raises a 400.
    """
    results: list[dict[str, Any]] = []
    own: list[Part] = []
    for block in turn.blocks:
        if block.type != "tool_result":
            parts = user_parts(block, profile)
            own += [*parts[:-1], mark_cached(parts[-1], block.data, profile)]
            continue
        id_ = required(block.data, "tool_use_id", str, block)
        call = open_calls.pop(id_, None)
        if call is not None:
            results.append(result(block, id_, call))
        elif profile.history_repair == "on" or id_ in told:
            own += earlier(block)
        else:
            raise _without_call(block, id_)
    return results, own


def _user(
    turn: Turn, open_calls: dict[str, Block], told: Container[str], profile: Profile
) -> tuple[list[Message], list[Part]]:
    """The tool messages of a user turn, and the parts of the user message that follows them."""
    attachments = Attachments()
    results, own = user_turn(
        turn,
        open_calls,
        told,
        profile,
        result=lambda block, id_, call: _tool_message(block, id_, call, profile, attachments),
        earlier=lambda block: [text_part(EARLIER_RESULT + result_text(block, profile, attachments))],
    )
    return results, attachments.parts + own


def _tool_message(block: Block, id_: str, call: Block, profile: Profile, attachments: Attachments) -> Message:
    inside = Attachments() if profile.tool_images == "tool_content" else attachments
    text = result_text(block, profile, inside)
    content: str | list[Part] = text
    if inside is not attachments or profile.cache_control != "drop":
        part = mark_cached(text_part(text), block.data, profile)
        content = as_content([part, *inside.parts] if inside is not attachments else [part], profile)
    message: Message = {"role": "tool", "tool_call_id": call_id(id_, call, profile), "content": content}
    if profile.tool_result_name:
        message["name"] = upstream_tool_name(call.data["name"], profile)
    return message


def call_id(id_: str, call: Block, profile: Profile) -> str:
    """The id of a call as the provider accepts it, from the client's id and block."""
    return upstream_tool_id(id_, call.data["name"], profile)


def _missing_results(open_calls: dict[str, Block], profile: Profile) -> list[Message]:
    """Answers for calls without a result: an interrupt, a rewind or a compaction must not end the session."""
    if profile.history_repair == "refuse":
        raise without_results(open_calls)
    missing = []
    for id_, call in open_calls.items():
        missing.append({"role": "tool", "tool_call_id": call_id(id_, call, profile), "content": NO_RESULT})
    open_calls.clear()
    return missing


def _without_call(block: Block, id_: str) -> ApiError:
    """The refusal of a result whose call is not in the previous turn."""
    return invalid_request(
        f"{block}: unexpected `tool_use_id` found in `tool_result` blocks: {id_}. Each `tool_result` "
        "block must have a corresponding `tool_use` block in the previous message."
    )


def without_results(open_calls: Mapping[str, Block]) -> ApiError:
    """The refusal of calls without a result in the next turn."""
    index = str(next(iter(open_calls.values()))).split(".")[1]
    return invalid_request(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(open_calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
        "next message."
    )


def loop_start(turns: Sequence[Turn]) -> int:
    """Where the current tool loop begins: after the last message written by the user."""
    for n in range(len(turns) - 1, -1, -1):
        if turns[n].role == "user" and not any(block.type == "tool_result" for block in turns[n].blocks):
            return n
    return 0


def _assistant(
    turn: Turn, open_calls: dict[str, Block], ids: set[str], profile: Profile, *, with_reasoning: bool
) -> Message:
    """The message of an assistant turn, whose calls are registered."""
    texts: list[Part] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[str] = []
    envelopes: list[Mapping[str, Any]] = []
    fragments: list[str] = []  # of the last text, if the previous block was one
    for block in turn.blocks:
        is_text = False
        match block.type:
            case "text":
                is_text = True
                part = mark_cached(text_part(block.data["text"]), block.data, profile)
                if fragments and is_plain(texts[-1]):  # split by citations
                    texts[-1] = part
                else:
                    if fragments:
                        _join(texts, fragments)
                    texts.append(part)
                fragments.append(part["text"])
            case "tool_use":
                id_ = required(block.data, "id", str, block)
                claim_id(id_, ids)
                open_calls[id_] = block
                calls.append(_tool_call(block, id_, profile))
            case "thinking":
                if thought := block.data.get("thinking"):
                    thoughts.append(str(thought))
                envelopes += _envelope(block.data.get("signature"), profile)
            case "redacted_thinking":
                envelopes += _envelope(block.data.get("data"), profile)
            case "document" if profile.strict_version:
                raise unsupported(block, "a document in an assistant message")
            case type_ if type_ in SERVER_BLOCKS:
                pass
            case type_:
                raise invalid_request(f"{block}: unsupported block type '{type_}'")
        if fragments and not is_text:
            _join(texts, fragments)
    if fragments:
        _join(texts, fragments)
    message: Message = {"role": "assistant", "content": join_texts(texts) if texts else None}
    if not texts and profile.assistant_null_content == "empty":
        message["content"] = ""
    if with_reasoning and profile.reasoning_roundtrip != "drop":
        _add_provider_state(message, list(open_calls), calls, thoughts, envelopes, profile)
    if calls:
        message["tool_calls"] = calls
    return message


def _join(texts: list[Part], fragments: list[str]) -> None:
    """Give the last part all the text that belongs to it."""
    if len(fragments) > 1:
        texts[-1] = {**texts[-1], "text": "".join(fragments)}
    fragments.clear()


def _tool_call(block: Block, id_: str, profile: Profile) -> dict[str, Any]:
    name = upstream_tool_name(required(block.data, "name", str, block), profile)
    return {
        "id": upstream_tool_id(id_, name, profile),
        "type": "function",
        "function": {
            "name": name,
            "arguments": arguments_json(block.data.get("input")),
        },
    }


def arguments_json(input_: Any) -> str:
    """Compact JSON of a call's input, always of an object.

    Claude Code replays input that it could not use unchanged: an array, or a string that contains JSON.
    """
    if isinstance(input_, dict):
        return dumps(input_).decode()
    if input_ is None:
        return "{}"
    if not isinstance(input_, str):
        return dumps({"_raw_arguments": dumps(input_).decode()}).decode()
    try:
        decoded = loads(input_)
    except ValueError:
        decoded = None
    return dumps(decoded if isinstance(decoded, dict) else {"_raw_arguments": input_}).decode()


def _envelope(signature: Any, profile: Profile) -> list[Mapping[str, Any]]:
    """The envelope with the provider's own state; that of another provider is ignored."""
    envelope = decode_signature(signature) if isinstance(signature, str) else None
    return [] if envelope is None or envelope.get("p") != profile.name else [envelope]


def _add_provider_state(
    message: Message,
    ids: list[str],
    calls: list[dict[str, Any]],
    thoughts: list[str],
    envelopes: list[Mapping[str, Any]],
    profile: Profile,
) -> None:
    """Return the reasoning state that the provider requires."""
    match profile.reasoning_roundtrip:
        case "reasoning_content" | "reasoning" as name:
            on_calls = name == "reasoning_content" and profile.reasoning_turns == "all"  # DeepSeek, even empty
            if thoughts or (calls and on_calls):
                message[name] = "\n".join(thoughts)
        case "reasoning_details":
            details = [item for envelope in envelopes for item in envelope.get("details") or ()]
            if details:
                message["reasoning_details"] = details
        case "gemini":
            signatures = {id_: s for envelope in envelopes for id_, s in (envelope.get("calls") or {}).items()}
            for id_, call in zip(ids, calls, strict=True):
                signature = signatures.get(id_, GEMINI_SKIP)
                call["extra_content"] = {"google": {"thought_signature": signature}}
