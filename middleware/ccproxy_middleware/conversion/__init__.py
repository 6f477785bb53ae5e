"""Anthropic Messages to OpenAI Chat Completions or Responses and back.

``anthropic`` is the client's side, ``chat`` and ``responses`` the provider's; ``providers`` says how providers differ,
``schemas`` fits the schemas of tools, ``counting`` counts tokens. They do no I/O; only ``middleware`` and the exchanges
know ASGI.
"""

from .middleware import FormatConversionMiddleware

__all__ = ["FormatConversionMiddleware"]
