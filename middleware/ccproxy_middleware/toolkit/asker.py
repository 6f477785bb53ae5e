"""Which of a client's agents sends a request, and for what purpose, from Claude Code's headers.

They are sent with CLAUDE_CODE_GATEWAY_HINT_HEADERS=1; ``x-claude-code-agent-id`` and ``-parent-agent-id`` always. See
https://code.claude.com/docs/en/llm-gateway-protocol#gateway-hint-headers
"""

from dataclasses import dataclass

from .asgi import Headers

REQUEST_CLASSES = frozenset(("main", "subagent", "workflow", "compaction", "auxiliary", "side_reply"))

AGENT_TYPES = frozenset(
    ("Explore", "Plan", "general-purpose", "claude", "statusline-setup", "custom", "teammate", "fork")
)
"""Those that come with Claude Code, and the words by which it tells of others."""

_PREFIX = b"x-claude-code-"
_MAX_VALUE = 200  # characters


@dataclass(frozen=True, slots=True)
class Asker:
    """Values that the headers don't contain are None. ``compaction``: ``auto``, ``manual`` or ``reactive``.

    ``tool_durations``: the durations in milliseconds of the tools that ran since the last request, ``Bash=120;Read=3``.
    """

    request_class: str | None = None
    agent_type: str | None = None
    agent_id: str | None = None
    parent_agent_id: str | None = None
    prompt_id: str | None = None
    compaction: str | None = None
    context_compacted: str | None = None
    tool_durations: str | None = None


_FIELDS = {
    b"request-class": "request_class",
    b"agent-type": "agent_type",
    b"agent-id": "agent_id",
    b"parent-agent-id": "parent_agent_id",
    b"prompt-id": "prompt_id",
    b"compaction": "compaction",
    b"context-compacted": "context_compacted",
    b"prev-tool-durations": "tool_durations",
}
NOBODY = Asker()
"""Who has told nothing."""


def read_asker(headers: Headers) -> Asker:
    """The values in a request's headers."""
    told = {}
    for name, value in headers:
        if name[:2] in (b"x-", b"X-") and (name := name.lower()).startswith(_PREFIX):
            field = _FIELDS.get(name.removeprefix(_PREFIX))
            if field is not None:
                told[field] = value[:_MAX_VALUE].decode("latin-1")
    return Asker(**told) if told else NOBODY
