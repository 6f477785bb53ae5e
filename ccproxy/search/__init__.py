"""The services that search the web for WebSearchMiddleware."""

from .services import Search, make_search

__all__ = [
    "Search",
    "make_search",
]
