"""``cc-boost demo``: the whole stack over real sockets, with a built-in provider."""

from .command import run_conversation, run_search, run_servers, run_vision

__all__ = ["run_conversation", "run_search", "run_servers", "run_vision"]
