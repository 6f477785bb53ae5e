"""Anthropic Messages to OpenAI Chat Completions and back.

``request`` converts what the client sends, ``response`` and ``stream`` what comes back, ``errors`` what goes wrong;
``profiles`` says how providers differ. They do no I/O; only ``middleware`` and ``exchange`` know ASGI.
"""

from .middleware import FormatConversionMiddleware

__all__ = ["FormatConversionMiddleware"]
