"""Anthropic Messages to OpenAI Chat Completions or Responses and back.

``anthropic`` holds the client's side, ``chat`` and ``responses`` the provider's. ``providers`` describes how providers
differ, ``schemas`` adapts the schemas of tools, and ``counting`` counts tokens. None of them does I/O; only
``middleware`` and the exchanges know ASGI.
"""

from .middleware import FormatConversionMiddleware

__all__ = ["FormatConversionMiddleware"]
