"""Calling an ASGI app in process, message by message, for tests of single layers."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Answer:
    """What an app sent. ``complete``: its last body message said so."""

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.messages[0].get("headers", ())}

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages if m["type"] == "http.response.body")

    @property
    def complete(self) -> bool:
        return bool(self.messages) and not self.messages[-1].get("more_body", False)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Inner:
    """An inner app that records each request and gives a fixed answer, in the given chunks."""

    body: bytes | list[bytes] = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    scopes: list[Scope] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        chunks = [self.body] if isinstance(self.body, bytes) else self.body
        for n, chunk in enumerate(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": n < len(chunks) - 1})

    @property
    def header(self) -> dict[str, str]:
        """The last request's headers."""
        return {name.decode(): value.decode("latin-1") for name, value in self.scopes[-1]["headers"]}

    def json(self) -> Any:
        """The last request's body."""
        return json.loads(self.bodies[-1])


def http_scope(
    method: str = "GET",
    path: str = "/",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    query: str = "",
    root_path: str = "",
    **more: Any,
) -> Scope:
    """The scope of a request; ``path`` is below ``root_path``."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {
        "type": "http",
        "method": method,
        "path": root_path + path,
        "raw_path": (root_path + path).encode(),
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs],
        **more,
    }


async def call(app: ASGIApp, scope: Scope, body: Any = b"", *, chunks: int = 1, answer: Answer | None = None) -> Answer:
    """Send one request, its body cut into ``chunks``; the client stays until the answer is complete.

    A body that is not bytes is sent as JSON. What the app had sent before it raised stands in ``answer``.
    """
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = -(-len(data) // chunks) or 1
    pieces = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
    answer = answer or Answer()
    done = anyio.Event()

    async def receive() -> Message:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            done.set()

    await app(scope, receive, send)
    return answer
