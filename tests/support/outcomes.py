"""What a client of the proxy sees of one request: seen by the official SDK, and by a client that reads the socket."""

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import anthropic
import httpx2
from anthropic import Anthropic
from anthropic.types import MessageParam

from .serving.proxied import PROVIDER_KEY
from .streams.grammar import check_stream

CLIENT_KEY = "client-key"
LIMIT = 30.0  # seconds that a client waits for one read
HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True)
class Answered:
    """A message, or a stream with its proper end."""

    text: str = "Hi"
    stop_reason: str | None = "end_turn"

    def __str__(self) -> str:
        return "the answer" if self.stop_reason == "end_turn" else f"the answer, `{self.stop_reason}`"


@dataclass(frozen=True)
class Refused:
    """An HTTP status with Anthropic's error object. ``message``: a part of the error's, where it is expected."""

    status: int
    type: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.status} `{self.type}`" + (f": {self.message}" if self.message else "")


@dataclass(frozen=True)
class Broken:
    """A stream that has begun: its text so far, an ``error`` event, and a body that lacks its end."""

    type: str
    message: str = ""
    text: str = "Hi"

    def __str__(self) -> str:
        return f"`error` event `{self.type}`" + (f": {self.message}" if self.message else "")


Outcome: TypeAlias = Answered | Refused | Broken


def is_like(seen: Outcome, expected: Outcome) -> bool:
    """Whether they are the same, where the expected message may be a part of the other."""
    if isinstance(seen, Answered) or isinstance(expected, Answered):
        return seen == expected
    return expected.message in seen.message and replace(seen, message=expected.message) == expected


class Received(NamedTuple):
    """An answer off the socket. ``complete``: its body came to the end that its framing announces."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool


def post(url: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Received:
    """Send one ``POST /v1/messages`` and read its answer to the end, or until the connection ends."""
    address = urlsplit(url)
    content = json.dumps(body).encode()
    head = {"host": address.netloc, "x-api-key": CLIENT_KEY, "content-type": "application/json", **(headers or {})}
    lines = [f"{name}: {value}" for name, value in {**head, "content-length": str(len(content))}.items()]
    with socket.create_connection((address.hostname, address.port), LIMIT) as sock:
        sock.sendall("\r\n".join(["POST /v1/messages HTTP/1.1", *lines, "\r\n"]).encode() + content)
        with sock.makefile("rb") as file:
            status = int(file.readline().split()[1])
            received = dict(_headers(file))
            if received.get("transfer-encoding") == "chunked":
                got, complete = _dechunk(file)
            else:
                length = int(received["content-length"])
                got = file.read(length)
                complete = len(got) == length
    assert PROVIDER_KEY.encode() not in got
    assert PROVIDER_KEY not in str(received)
    return Received(status, received, got, complete)


def _headers(file: Any) -> Iterator[tuple[str, str]]:
    while line := file.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        yield name.lower(), value.strip()


def _dechunk(file: Any) -> tuple[bytes, bool]:
    body = bytearray()
    while line := file.readline():
        size = int(line, 16)
        body += file.read(size)
        if file.readline() != b"\r\n":
            break
        if size == 0:
            return bytes(body), True
    return bytes(body), False


def seen_on_the_wire(url: str, model: str, stream: bool, messages: Sequence[Any] = HELLO) -> Outcome:
    """What a client sees that reads the socket. Raises AssertionError for what no client should see."""
    got = post(url, {"model": model, "max_tokens": 100, "stream": stream, "messages": messages})
    assert got.headers["request-id"].startswith("req_")
    if got.status != 200:
        assert got.complete, "an error without its end"
        assert got.headers["content-type"] == "application/json"
        payload = json.loads(got.body)
        assert payload["type"] == "error"
        assert payload["request_id"] == got.headers["request-id"]
        return Refused(got.status, payload["error"]["type"], payload["error"]["message"])
    if not stream:
        assert got.complete, "a message without its end"
        return _answered(json.loads(got.body))
    assert got.headers["content-type"].startswith("text/event-stream")
    events = check_stream(got.body)
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    text = "".join(delta.get("text", "") for delta in deltas)
    if events[-1]["type"] == "error":
        assert not got.complete, "a failed stream with a clean end"
        return Broken(events[-1]["error"]["type"], events[-1]["error"]["message"], text)
    assert got.complete, "a whole stream without its end"
    return Answered(text, events[-2]["delta"]["stop_reason"])


def seen_by_the_sdk(client: Anthropic, model: str, stream: bool) -> Outcome:
    """What Anthropic's SDK makes of the answer. Raises what it should not raise."""
    text = ""
    try:
        if not stream:
            return _answered(client.messages.create(model=model, max_tokens=100, messages=HELLO).to_dict())
        with client.messages.stream(model=model, max_tokens=100, messages=HELLO) as streamed:
            for delta in streamed.text_stream:
                text += delta
            return _answered(streamed.get_final_message().to_dict())
    except anthropic.APIStatusError as exc:
        return _raised(exc, text)


def _raised(exc: anthropic.APIStatusError, text: str) -> Outcome:
    assert exc.request_id is not None
    assert isinstance(exc.body, dict)
    type_, message = str(exc.type), exc.body["error"]["message"]
    return Broken(type_, message, text) if exc.status_code == 200 else Refused(exc.status_code, type_, message)


def _answered(message: dict[str, Any]) -> Answered:
    assert message["type"] == "message"
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    return Answered(text, message["stop_reason"])


class Watcher:
    """Both clients of one proxy, which ask at the same time."""

    def __init__(self, url: str, sdk: Anthropic, pool: ThreadPoolExecutor) -> None:
        self.url = url
        self._sdk = sdk
        self._pool = pool

    def surprises(self, model: str, expected: Mapping[bool, Outcome]) -> dict[str, Outcome]:
        """What a client sees of this model that is not as expected without (False) and with a stream (True)."""
        clients = {"on the socket": self.on_the_wire, "by the SDK": self.by_the_sdk}
        asked = {
            (client, stream): self._pool.submit(see, model, stream)
            for stream in expected
            for client, see in clients.items()
        }
        seen = {question: future.result(LIMIT) for question, future in asked.items()}
        return {
            f"{client}, {'streamed' if stream else 'not streamed'}": outcome
            for (client, stream), outcome in seen.items()
            if not is_like(outcome, expected[stream])
        }

    def on_the_wire(self, model: str, stream: bool) -> Outcome:
        return seen_on_the_wire(self.url, model, stream)

    def by_the_sdk(self, model: str, stream: bool) -> Outcome:
        return seen_by_the_sdk(self._sdk, model, stream)


@contextmanager
def watching(url: str) -> Iterator[Watcher]:
    """Clients for the proxy at this URL."""
    with (
        httpx2.Client(verify=False, trust_env=False) as http,
        Anthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0, timeout=LIMIT, http_client=http) as sdk,
        ThreadPoolExecutor(4) as pool,
    ):
        yield Watcher(url, sdk, pool)
