"""Shared code of the layers: ASGI, JSON, SSE, errors, the record of an exchange. Private to this package."""
