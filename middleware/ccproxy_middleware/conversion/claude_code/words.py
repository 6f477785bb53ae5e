"""What Claude Code does with a refusal, as found in its code and observed by sending it each of these.

If Claude Code recognizes the wording of a 400, it acts on it: it leaves out what the error names and asks again, or
compacts the conversation. Any other 400 it retries six times, each time with one more of its features turned off, which
lengthens its list of tools and invalidates the provider's prompt cache. It puts "Failed to authenticate" before the
message of a 403. A 424 with the same type and message is displayed at once. (Observed with 2.1.332.)
"""

import re

from ...toolkit.asgi import Headers, get_header

_USER_AGENTS = ("claude-cli/", "claude-code/")

FINAL_STATUS = 424
"""Failed Dependency, of RFC 4918: the request failed because what it depends on has failed, and will again."""

# Parts of the messages that the client looks for in a 400.
_ACTED_ON = re.compile(
    "|".join(
        (
            # too long: it compacts, or requests fewer tokens
            r"prompt is too long|input is too long|context window|maximum context|context[_ ]length|prompt length",
            r"maximum model length|model's context length|available context size|maximum number of tokens allowed",
            r"model token limit|input token length|exceed the configured limit|prompt exceeds|range of input length",
            r"more than max tokens allowed|only supports up to|reduce the length of the messages|max_new_tokens",
            r"context exceeds|exceed context limit|max_tokens: \d+ > \d+|size \(\d+ bytes\) exceeds",
            # images and documents: it removes them
            r"could not process (?:image|pdf)|images? exceeds?|image dimensions|image does not match|exceeds api limit",
            r"image cannot be empty|(?:resize|compress) image|image file is empty|pdf pages|the pdf specified",
            r"pdf cannot|does not support pdf|too much media",
            r"messages[.\[]\d+[\].]+content[.\[]\d+[\].]+.{0,60}(?:image|document|pdf)",
            # fields, betas and tools: it leaves them out
            r"extra inputs are not permitted|input tag '|effort parameter|output_config|thinking\.|adaptive thinking",
            r"anthropic[-_]beta|beta flag|long context beta|context_management|cache_control|safeguards|advisor",
            r"fallback|role .{0,2}system|unexpected role|input should be .{1,2}(?:user|assistant)|tool_addition",
            r"tool definitions|when thinking is disabled",
            # thinking, results and ids of another conversation: it drops them, or explains how to go back
            r"thinking.{0,3} block|redacted_thinking|different conversation|not created in this conversation",
            r"encrypted_|`tool_use` ids|`tool_use_id`|capability_rejected: ",
            # errors for which it has its own message
            r"credit balance|organization has been disabled|invalid model name|x-api-key|content filtering policy",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)


def is_claude_code(headers: Headers) -> bool:
    """Whether the client identifies itself as Claude Code, or as an Agent SDK, which runs it."""
    return (get_header(headers, b"user-agent") or "").startswith(_USER_AGENTS)


def is_final(message: str) -> bool:
    """Whether nothing that the client can do cures a 400 with this message."""
    return _ACTED_ON.search(message) is None
