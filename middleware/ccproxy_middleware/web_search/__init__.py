"""Web searches for clients that expect Anthropic's servers to run them."""

from .backend import ErrorCode, Location, SearchBackend, SearchError, SearchQuery, SearchResult
from .middleware import WebSearchMiddleware

__all__ = [
    "ErrorCode",
    "Location",
    "SearchBackend",
    "SearchError",
    "SearchQuery",
    "SearchResult",
    "WebSearchMiddleware",
]
