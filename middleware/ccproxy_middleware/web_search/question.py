"""The query of a user, for a model that does not search by itself."""

import re
from collections.abc import Mapping
from typing import Any

_MAX_ASKED = 400  # characters
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_CLAUDE_CODE = "Perform a web search for the query:"
"""What its WebSearch says; in version 2.1.332 it does not force the tool any more."""


def asks_for_search(messages: Any) -> bool:
    """Whether a request comes from Claude Code's WebSearch."""
    return _last_text(messages).startswith(_CLAUDE_CODE)


def last_query(messages: Any) -> str:
    """The user's last text, as a query; empty if there is none."""
    return _last_text(messages).removeprefix(_CLAUDE_CODE).strip()[:_MAX_ASKED]


def _last_text(messages: Any) -> str:
    for message in reversed(messages if isinstance(messages, list) else []):
        if not isinstance(message, Mapping) or message.get("role") != "user":
            continue
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in reversed(blocks if isinstance(blocks, list) else []):
            text = block.get("text") if isinstance(block, Mapping) and block.get("type") == "text" else None
            if isinstance(text, str) and (said := " ".join(_REMINDER.sub(" ", text).split())):
                return said
    return ""
