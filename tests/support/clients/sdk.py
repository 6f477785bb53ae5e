"""What Anthropic's own SDK makes of a stream of ours."""

from typing import Any, cast

import httpx2
from anthropic import Anthropic


def accumulate(frames: bytes) -> dict[str, Any]:
    """The final message that ``client.messages.stream`` adds up from the frames.

    Raises what the SDK raises: ``anthropic.APIStatusError`` for an ``error`` event.
    """
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, headers=headers, content=frames))
    with (
        httpx2.Client(transport=transport) as http,
        Anthropic(api_key="sk-test", base_url="http://upstream.test", http_client=http, max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=10, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        return cast(dict[str, Any], stream.get_final_message().to_dict())
