"""Rows that need no network: what the conversion costs by Responses, beside chat completions."""

import orjson
from starlette.types import ASGIApp

from ccproxy import Settings, create_app
from ccproxy.demo.responses import message_item, response, response_events

from .. import bodies
from ..contestants import Contestants
from ..measure import Plan, Row
from ..provider import event_stream
from .inside import Endpoint, best

_CHUNKS = 1000
_COMPLETION = {"choices": [{"index": 0, "message": {"content": "Hello."}, "finish_reason": "stop"}]}
_HEAD = {"id": "resp_1", "created_at": 1, "model": "m"}


def _response_stream(words: int) -> list[bytes]:
    """A text in as many deltas, as OpenAI sends them."""
    whole = response(_HEAD, [message_item("msg_1", "word " * words)], None)
    events = response_events(whole, lambda text: [text[n : n + 5] for n in range(0, len(text), 5)])
    return [f"event: {event['type']}\ndata: ".encode() + orjson.dumps(event) + b"\n\n" for event in events]


def apis(plan: Plan, _: Contestants) -> list[Row]:
    """A request of Claude Code's, and a chunk of text, by both APIs in one run."""
    answer = response(_HEAD, [message_item("msg_1", "Hello.")], None)
    apps: dict[str, list[ASGIApp]] = {"request": [], "chunk": []}
    for api, whole, stream in (
        ("chat", orjson.dumps(_COMPLETION), event_stream(_CHUNKS)),
        ("responses", orjson.dumps(answer), _response_stream(_CHUNKS)),
    ):
        settings = Settings.explicit(openai_api_key="none", provider_options={"api": api})
        apps["request"].append(create_app(settings, endpoint=Endpoint(b"application/json", [whole])))
        apps["chunk"].append(create_app(settings, endpoint=Endpoint(b"text/event-stream", stream)))
    sessions = bodies.claude_code_sessions(100_000)
    small = bodies.small(stream=True)
    rows = []
    for work, make, unit, scale in (
        ("Claude Code request (100 KB)", lambda turn: sessions[turn % len(sessions)], "ms", 1e3),
        ("streamed chunk", lambda turn: small, "us/chunk", 1e6 / _CHUNKS),
    ):
        pair = apps["request" if unit == "ms" else "chunk"]
        chat, responses = best(pair, [make, make], plan.count(60))
        columns = {"chat": f"{chat * scale:.2f} {unit}", "responses": f"{responses * scale:.2f} {unit}"}
        ratio = responses / chat
        rows.append(Row(f"{work}, by Responses", "<= 1.2 x chat", f"{ratio:.2f} x", ratio <= 1.2, columns))
    return rows
