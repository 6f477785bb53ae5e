"""Web searches for clients that expect Anthropic's servers to run them."""

from .backend import ErrorCode, Location, SearchBackend, SearchError, SearchQuery, SearchResult
from .envelope import new_call_id, seal
from .middleware import WebSearchMiddleware, search_layer
from .question import last_query
from .tool import SearchTool, is_search_tool, read_tool

__all__ = [
    "ErrorCode",
    "Location",
    "SearchBackend",
    "SearchError",
    "SearchQuery",
    "SearchResult",
    "SearchTool",
    "WebSearchMiddleware",
    "is_search_tool",
    "last_query",
    "new_call_id",
    "read_tool",
    "seal",
    "search_layer",
]
