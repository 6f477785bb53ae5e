"""The client's side, whichever API is asked upstream: turns, content blocks, events, tool calls, models."""

from .arguments import may_need_repair, repaired
from .blocks import MAX_BLANK, PER_PIECE, BlockStream
from .catalogue import ModelInfo, find_model, model_info, models_from_openai, models_page, with_told_limits
from .claude_code import FINAL_STATUS, is_claude_code, is_final
from .client_models import NEWEST, client_id, for_claude_code, needs_own_ids
from .client_tools import client_tool
from .events import PING, EventWriter
from .message import collect_message, empty_message, message_events, new_message, refusal_message, start_usage
from .names import upstream_tool_id, upstream_tool_name
from .signatures import decode_signature, detail_text, encode_signature
from .stops import StopMatcher, StopReason, held_suffix, stop_outcome
from .streamed_call import StreamedCall, nameless
from .tool_calls import ToolIds, arguments_text, client_tool_name, is_whole, parse_arguments
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
    "NEWEST",
    "PER_PIECE",
    "PING",
    "SERVER_BLOCKS",
    "Block",
    "BlockStream",
    "EventWriter",
    "History",
    "ModelInfo",
    "StopMatcher",
    "StopReason",
    "StreamedCall",
    "ToolIds",
    "Turn",
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
    "for_claude_code",
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
    "needs_own_ids",
    "new_message",
    "parse_arguments",
    "read_blocks",
    "read_history",
    "refusal_message",
    "repaired",
    "start_usage",
    "stop_outcome",
    "upstream_tool_id",
    "upstream_tool_name",
    "with_told_limits",
    "without_billing_header",
]
