"""Web searches that the provider runs itself, enabled by the switch ``web_search``."""

from .found import HostedSearch, chat_sources, found_by_chat, read_call, response_sources, with_searches
from .tools import add_to_chat, is_hosted, responses_tool, search_tool

__all__ = [
    "HostedSearch",
    "add_to_chat",
    "chat_sources",
    "found_by_chat",
    "is_hosted",
    "read_call",
    "response_sources",
    "responses_tool",
    "search_tool",
    "with_searches",
]
