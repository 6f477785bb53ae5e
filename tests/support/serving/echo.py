"""A provider that gives back all that it was sent: for tests that nothing secret comes out at the other end."""

import json
import re
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

_WAY = re.compile(r"(status|text) (\d{3})$")


@dataclass
class EchoProvider:
    """Answers every request with the request's own headers, in the way that its last message names.

    ``status NNN``: as an error's message. ``text NNN``: as an error that is no JSON. Anything else: as what the model
    says. In the answer's headers they stand always. What is streamed comes a few bytes at a time. ``seen`` is all
    that reached it.
    """

    seen: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"host", b"content-length")]
        lines = b"\n".join(b": ".join(header) for header in scope["headers"])
        self.seen += [scope["path"].encode() + b"?" + scope["query_string"], lines, body]
        text = b", ".join(value for _, value in headers).decode("latin-1")
        request = json.loads(body) if body else {}
        way = _WAY.match(_last_text(request))
        status = int(way[2]) if way else 200
        kind, answer = b"application/json", _completion(text)
        if way and way[1] == "status":
            answer = json.dumps({"error": {"message": text, "type": "x", "param": text, "code": text}})
        elif way:
            kind, answer = b"text/plain", text
        elif request.get("stream"):
            kind, answer = b"text/event-stream", _events(text)
        given = [(b"x-echo", value) for _, value in headers] + [(b"x-request-id", text.encode())]
        headers = [(b"content-type", kind), *given]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        data = answer.encode()
        size = 7 if kind == b"text/event-stream" else 4096
        for at in range(0, len(data), size):
            await send({"type": "http.response.body", "body": data[at : at + size], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _last_text(request: dict[str, list[dict[str, str]]]) -> str:
    messages = request.get("messages") or [{"content": ""}]
    return str(messages[-1]["content"])


def _completion(text: str) -> str:
    message = {"role": "assistant", "content": text}
    return json.dumps({"id": text, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def _events(text: str) -> str:
    choices = [
        {"index": 0, "delta": {"content": text}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    events = [json.dumps({"id": text, "choices": [choice]}) for choice in choices]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])
