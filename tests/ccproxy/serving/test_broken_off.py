"""An answer that is broken off on purpose: the connection closes without its end, and no server logs an error."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ccproxy import Settings, create_app
from ccproxy.serving.limits import Limits
from ccproxy.serving.protocol import limited_protocol
from support.providers import faulty as faults
from support.providers.faulty import faulty
from support.serving.process import request_body, started
from support.serving.servers import serve

pytestmark = pytest.mark.anyio

KEYS = {"OPENAI_API_KEY": "provider-key", "ANTHROPIC_API_KEY": "client-key"}


@pytest.mark.parametrize("way", ["cc-boost", "uvicorn", "gunicorn"])
def test_stream_that_the_provider_breaks_off_is_no_error_of_the_server(way: str, tmp_path: Path) -> None:
    with faulty(faults.closes_mid_body) as provider, started(way, tmp_path, provider.url, **KEYS) as proxy:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            proxy.post(stream=True)
        assert proxy.terminate() == 0
    output = proxy.output.read_text()
    assert "the provider's answer broke off" in output
    assert "ERROR" not in output
    assert "completing response" not in output


async def test_request_behind_a_broken_answer_is_not_served() -> None:
    """Two requests in one write: the answer to the first breaks off, and the connection closes."""
    with faulty(faults.closes_mid_body) as provider:
        settings = Settings.explicit(openai_api_key="k", openai_base_url=f"{provider.url}/v1")
        with serve(create_app(settings), http=limited_protocol(Limits())) as server:
            address = urlsplit(server.url)
            body = httpx.Request("POST", f"{server.url}/v1/messages", json=request_body(stream=True))
            head = "".join(f"{name}: {value}\r\n" for name, value in body.headers.items())
            first = f"POST /v1/messages HTTP/1.1\r\n{head}\r\n".encode() + body.content
            second = f"GET /health HTTP/1.1\r\nhost: {address.netloc}\r\n\r\n".encode()
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(first + second)
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"event: error" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert server.errors == []
