"""What the layers share: ASGI, JSON, SSE, errors, the record of an exchange. Private to this package."""
