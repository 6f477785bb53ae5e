"""The words of a 400 on which Claude Code acts, and what it does: found in its program by ``strings``, and tried."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Body = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """``found``: what of them stands in the client's program.

    ``shown``: whether its next request shows the reaction, of the one before and of itself. ``after``: what has to be
    in the conversation: a picture that was read, or a turn with thinking.
    """

    words: str
    found: str
    reaction: str
    shown: Callable[[Body, Body], bool]
    after: Literal["picture", "thinking"] | None = None


def _number(name: str) -> Callable[[Body], int]:
    return lambda body: json.dumps(body).count(f'"type": "{name}"')


_images, _thoughts = _number("image"), _number("thinking")


def _without_effort(before: Body, after: Body) -> bool:
    return "effort" in before["output_config"] and "effort" not in after.get("output_config", {})


def _other_thinking(before: Body, after: Body) -> bool:
    return (before["thinking"]["type"], after["thinking"]["type"]) == ("adaptive", "enabled")


def _without_context_management(before: Body, after: Body) -> bool:
    return "context_management" in before and "context_management" not in after


def _without_pictures(before: Body, after: Body) -> bool:
    return _images(before) > 0 and _images(after) == 0


def _without_thinking(before: Body, after: Body) -> bool:
    return _thoughts(before) > 0 and _thoughts(after) == 0


def _without_system_messages(before: Body, after: Body) -> bool:
    return any(m["role"] == "system" for m in before["messages"]) and all(
        m["role"] != "system" for m in after["messages"]
    )


def _with_all_tools(before: Body, after: Body) -> bool:
    return len(after["tools"]) > len(before["tools"])


EFFORT = "asks without effort, for the rest of the session"
WORDS = (
    Words(
        "output_config.effort: Extra inputs are not permitted",
        "extra inputs are not permitted",
        EFFORT,
        _without_effort,
    ),
    Words("This model does not support the effort parameter.", "effort parameter", EFFORT, _without_effort),
    Words("capability_rejected: effort_unsupported", "capability_rejected: ", EFFORT, _without_effort),
    Words(
        "adaptive thinking is not supported on this model",
        "adaptive) thinking is not supported",
        "asks with a budget instead of adaptive thinking",
        _other_thinking,
    ),
    Words(
        "context_management: Extra inputs are not permitted",
        "context_management: Extra inputs are not permitted",
        "asks without `context_management`",
        _without_context_management,
    ),
    Words(
        "Unexpected value(s) `context-management-2025-06-27` for the `anthropic-beta` header.",
        "Unexpected value(s) ",
        "asks without this beta and its field",
        _without_context_management,
    ),
    Words(
        "thinking.adaptive.display: Input should be 'summarized' or 'omitted'",
        ".display: Input should be ",
        "asks without `thinking.display`",
        lambda before, after: "display" in before["thinking"] and "display" not in after["thinking"],
    ),
    Words(
        "messages.1: role 'system' is not supported on this model",
        "role .{0,2}system",
        "puts its notes into messages of the user",
        _without_system_messages,
    ),
    Words(
        "max_tokens: 128000 > 32000, which is the maximum allowed number of output tokens for claude-opus-5-5",
        "maximum allowed number of output tokens",
        "asks for at most that many",
        lambda before, after: after["max_tokens"] == 32000,
    ),
    Words(
        "input length and `max_tokens` exceed context limit: 190000 + 64000 > 200000",
        "input length and `max_tokens` exceed context limit",
        "asks for as many tokens as are left",
        lambda before, after: after["max_tokens"] < 10000,
    ),
    Words(
        "messages.2.content.0: Input tag 'tool_reference' found using 'type' does not match any of the expected tags",
        "Input tag '",
        "gives up tool search and sends all tools",
        _with_all_tools,
    ),
    Words(
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "signature in thinking block",
        "takes the thinking out of the conversation",
        _without_thinking,
        "thinking",
    ),
    Words(
        "messages.1.content.0: thinking is bound to a different conversation",
        "bound to a different conversation",
        "takes the thinking out of the conversation",
        _without_thinking,
        "thinking",
    ),
    Words(
        "messages.2.content.0.tool_result.content.0.image: Could not process image",
        "could not process image",
        "takes the pictures out of the conversation",
        _without_pictures,
        "picture",
    ),
)
