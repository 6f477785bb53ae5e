"""The client's side, whichever API is asked upstream: turns, content blocks, events, tool calls, models."""

from .arguments import arguments_text, is_whole, may_need_repair, parse_arguments, repaired
from .blocks import MAX_BLANK, PER_PIECE, BlockStream
from .catalogue import ModelInfo, find_model, model_info, models_from_openai, models_page
from .claude_code import FINAL_STATUS, is_claude_code, is_final
from .client_tools import client_tool
from .event_stream import EventStream
from .events import PING, EventWriter
from .message import collect_message, empty_message, message_events, new_message, refusal_message, start_usage
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
    BILLING_HEADER,
    SERVER_BLOCKS,
    Block,
    History,
    Turn,
    is_blank,
    read_blocks,
    read_history,
    without_billing_header,
)

__all__ = [
    "BILLING_HEADER",
    "FINAL_STATUS",
    "MAX_BLANK",
    "PER_PIECE",
    "PING",
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
    "client_tool",
    "client_tool_name",
    "collect_message",
    "decode_signature",
    "detail_text",
    "empty_message",
    "encode_signature",
    "find_model",
    "held_suffix",
    "is_blank",
    "is_claude_code",
    "is_final",
    "is_whole",
    "may_need_repair",
    "message_events",
    "model_info",
    "models_from_openai",
    "models_page",
    "nameless",
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
    "start_usage",
    "stop_outcome",
    "system_blocks",
    "thinking_emission",
    "upstream_tool_id",
    "upstream_tool_name",
    "without_billing",
    "without_billing_header",
]
