"""The client's side, whichever API is asked upstream: turns, content blocks, events, tool calls, models."""

from .arguments import (
    arguments_text,
    fitted,
    is_whole,
    may_need_repair,
    parse_arguments,
    repaired,
    wants_text,
)
from .blocks import MAX_BLANK, PER_PIECE, BlockStream
from .catalogue import ModelInfo, find_model, model_info, models_from_openai, models_page, with_told_limits
from .client_models import NEWEST, client_id, for_claude_code, needs_own_ids
from .client_tools import client_tool
from .event_stream import EventStream
from .events import EventWriter
from .message import collect_message, empty_message, message_events, new_message, refusal_message
from .names import ToolIds, client_tool_name, upstream_tool_id, upstream_tool_name
from .parameters import (
    Stops,
    add_extra,
    no_prefill,
    read_format,
    read_max_tokens,
    read_model,
    read_stops,
    read_top_k,
    refuse_unsupported,
    schema_rule,
    set_identity,
    set_sampling,
    system_blocks,
    thinking_emission,
    without_billing,
)
from .signatures import decode_signature, detail_text, encode_signature
from .stops import StopMatcher, StopReason, held_suffix, stop_outcome
from .streamed_call import StreamedCall, nameless
from .turns import (
    SERVER_BLOCKS,
    Block,
    History,
    Turn,
    is_blank,
    read_blocks,
    read_history,
)

__all__ = [
    "MAX_BLANK",
    "NEWEST",
    "PER_PIECE",
    "SERVER_BLOCKS",
    "Block",
    "BlockStream",
    "EventStream",
    "EventWriter",
    "History",
    "ModelInfo",
    "StopMatcher",
    "StopReason",
    "Stops",
    "StreamedCall",
    "ToolIds",
    "Turn",
    "add_extra",
    "arguments_text",
    "client_id",
    "client_tool",
    "client_tool_name",
    "collect_message",
    "decode_signature",
    "detail_text",
    "empty_message",
    "encode_signature",
    "find_model",
    "fitted",
    "for_claude_code",
    "held_suffix",
    "is_blank",
    "is_whole",
    "may_need_repair",
    "message_events",
    "model_info",
    "models_from_openai",
    "models_page",
    "nameless",
    "needs_own_ids",
    "new_message",
    "no_prefill",
    "parse_arguments",
    "read_blocks",
    "read_format",
    "read_history",
    "read_max_tokens",
    "read_model",
    "read_stops",
    "read_top_k",
    "refusal_message",
    "refuse_unsupported",
    "repaired",
    "schema_rule",
    "set_identity",
    "set_sampling",
    "stop_outcome",
    "system_blocks",
    "thinking_emission",
    "upstream_tool_id",
    "upstream_tool_name",
    "wants_text",
    "with_told_limits",
    "without_billing",
]
