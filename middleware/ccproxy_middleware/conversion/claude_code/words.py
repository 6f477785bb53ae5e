"""What Claude Code does with a refusal: read off its own code, and off what it did when it was told each of these.

A 400 whose words it knows it acts on: it leaves out what they name and asks again, or makes the conversation shorter.
Any other it asks for six times, each time with one more of its features turned off, which lengthens its list of tools
and costs the provider's prompt cache. Before the words of a 403 it says "Failed to authenticate". A 424 with the same
type and words it shows at once. (Observed on 2.1.332.)
"""

import re

from ...toolkit.asgi import Headers, get_header

_USER_AGENTS = ("claude-cli/", "claude-code/")

FINAL_STATUS = 424
"""Failed Dependency, of RFC 4918: the request failed because what it depends on has failed, and will again."""

# Parts of the words that the client looks for in a 400.
_ACTED_ON = re.compile(
    "|".join(
        (
            # too long: it compacts, or asks for fewer tokens
            r"prompt is too long|input is too long|context window|maximum context|context[_ ]length|prompt length",
            r"maximum model length|model's context length|available context size|maximum number of tokens allowed",
            r"model token limit|input token length|exceed the configured limit|prompt exceeds|range of input length",
            r"more than max tokens allowed|only supports up to|reduce the length of the messages|max_new_tokens",
            r"context exceeds|exceed context limit|max_tokens: \d+ > \d+|size \(\d+ bytes\) exceeds",
            # images and documents: it takes them out
            r"could not process (?:image|pdf)|images? exceeds?|image dimensions|image does not match|exceeds api limit",
            r"image cannot be empty|(?:resize|compress) image|image file is empty|pdf pages|the pdf specified",
            r"pdf cannot|does not support pdf|too much media",
            r"messages[.\[]\d+[\].]+content[.\[]\d+[\].]+.{0,60}(?:image|document|pdf)",
            # fields, betas and tools: it leaves them out
            r"extra inputs are not permitted|input tag '|effort parameter|output_config|thinking\.|adaptive thinking",
            r"anthropic[-_]beta|beta flag|long context beta|context_management|cache_control|safeguards|advisor",
            r"fallback|role .{0,2}system|unexpected role|input should be .{1,2}(?:user|assistant)|tool_addition",
            r"tool definitions|when thinking is disabled",
            # thinking, results and ids of another conversation: it drops them, or tells how to go back
            r"thinking.{0,3} block|redacted_thinking|different conversation|not created in this conversation",
            r"encrypted_|`tool_use` ids|`tool_use_id`|capability_rejected: ",
            # what it has words of its own for
            r"credit balance|organization has been disabled|invalid model name|x-api-key|content filtering policy",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)


def is_claude_code(headers: Headers) -> bool:
    """Whether the client says that it is Claude Code, or an Agent SDK, which runs it."""
    return (get_header(headers, b"user-agent") or "").startswith(_USER_AGENTS)


def is_final(message: str) -> bool:
    """Whether nothing that the client can do cures a 400 of these words."""
    return _ACTED_ON.search(message) is None
