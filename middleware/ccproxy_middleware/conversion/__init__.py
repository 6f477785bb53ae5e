"""Anthropic Messages to OpenAI Chat Completions and back.

``anthropic`` is the client's side, ``chat`` the provider's; ``providers`` says how providers differ, ``schemas`` fits the
schemas of tools, ``counting`` counts tokens. They do no I/O; only ``middleware`` and ``exchange`` know ASGI.
"""

from .middleware import FormatConversionMiddleware

__all__ = ["FormatConversionMiddleware"]
