"""A provider that lists its models."""

import json
from typing import Any

from .scripted import ScriptedProvider


def listing(provider: ScriptedProvider, *entries: dict[str, Any]) -> Any:
    """The provider with a list of its models."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].endswith("/models"):
            return await provider(scope, receive, send)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"data": entries}).encode()})

    return app
