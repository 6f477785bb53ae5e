"""What Claude Code's headers tell of the agent that asks."""

import pytest

from ccproxy_middleware.toolkit.asker import NOBODY, Asker, read_asker

ALL = [
    (b"x-claude-code-request-class", b"subagent"),
    (b"X-Claude-Code-Agent-Type", b"Explore"),
    (b"x-claude-code-agent-id", b"a1"),
    (b"x-claude-code-parent-agent-id", b"a0"),
    (b"x-claude-code-prompt-id", b"p1"),
    (b"x-claude-code-compaction", b"auto"),
    (b"x-claude-code-context-compacted", b"true"),
    (b"x-claude-code-prev-tool-durations", b"Bash=120;Read=3"),
]


def test_everything_that_is_told_is_read() -> None:
    expected = Asker("subagent", "Explore", "a1", "a0", "p1", "auto", "true", "Bash=120;Read=3")
    assert read_asker([(b"accept", b"*/*"), *ALL, (b"x-claude-code-session-id", b"s")]) == expected


@pytest.mark.parametrize("headers", [[], [(b"x-api-key", b"k")], [(b"x-claude-code-unheard-of", b"1")], [(b"x-", b"")]])
def test_nobody_is_told_of(headers: list[tuple[bytes, bytes]]) -> None:
    assert read_asker(headers) is NOBODY


def test_long_and_odd_values_are_cut_and_kept_as_text() -> None:
    asker = read_asker([(b"x-claude-code-agent-id", b"\xff" * 5000)])
    assert asker.agent_id == "\xff" * 200
