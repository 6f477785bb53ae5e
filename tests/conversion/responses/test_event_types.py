"""Every type of event that the openai SDK knows is handled, or left alone on purpose."""

from typing import get_args

import pytest
from openai.types.responses import ResponseStreamEvent

from ccproxy_middleware.conversion.responses.stream import HANDLED

# Nothing of these is for the client: tools that run at the provider, audio, and parts whose text comes by other events.
IGNORED = {
    "response.audio.delta",
    "response.audio.done",
    "response.audio.transcript.delta",
    "response.audio.transcript.done",
    "response.code_interpreter_call.completed",
    "response.code_interpreter_call.in_progress",
    "response.code_interpreter_call.interpreting",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.done",
    "response.compaction.compacting",
    "response.content_part.added",
    "response.file_search_call.completed",
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.image_generation_call.completed",
    "response.image_generation_call.generating",
    "response.image_generation_call.in_progress",
    "response.image_generation_call.partial_image",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
    "response.mcp_call.in_progress",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.mcp_list_tools.completed",
    "response.mcp_list_tools.failed",
    "response.mcp_list_tools.in_progress",
    "response.output_text.annotation.added",
    "response.reasoning_summary_part.added",
    "response.shell_call_command.added",
    "response.shell_call_command.delta",
    "response.shell_call_command.done",
    "response.shell_call_output_content.delta",
    "response.shell_call_output_content.done",
    "response.web_search_call.completed",
    "response.web_search_call.in_progress",
    "response.web_search_call.searching",
}
# Of hosts, or of other transports; the SDK's union has none of them.
OF_HOSTS = {"response.done"}


def sdk_types() -> set[str]:
    """The types in the SDK's union."""
    union = get_args(ResponseStreamEvent)[0]
    return {get_args(event.model_fields["type"].annotation)[0] for event in get_args(union)}


def test_each_event_type_of_the_sdk_is_handled_or_ignored() -> None:
    known = sdk_types()
    assert len(known) > 40
    assert known - HANDLED == IGNORED & known
    assert not IGNORED & HANDLED


@pytest.mark.parametrize("kind", sorted(HANDLED))
def test_each_handled_type_is_one_of_the_sdk_or_of_a_known_host(kind: str) -> None:
    assert kind in sdk_types() | OF_HOSTS
