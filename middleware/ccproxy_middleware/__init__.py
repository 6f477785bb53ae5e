"""The layers of cc-boost, each a pure ASGI middleware that also works alone."""
