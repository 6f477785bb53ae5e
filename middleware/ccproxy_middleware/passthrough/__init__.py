"""Requests for Anthropic's own API whose conversations may contain answers of other upstreams."""

from .middleware import PassthroughMiddleware

__all__ = ["PassthroughMiddleware"]
