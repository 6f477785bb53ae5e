"""Requests for Anthropic's own API, in whose conversations other upstreams may have answered before."""

from .middleware import PassthroughMiddleware

__all__ = ["PassthroughMiddleware"]
