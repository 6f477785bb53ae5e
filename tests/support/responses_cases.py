"""Run a Responses case through the layer, with a provider that answers by the case's script."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware
from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.errors import StreamAborted

from .asgi import Answer, call, http_scope
from .clients.sdk import accumulate
from .match import match, match_events
from .streams.grammar import check_stream, parse_frames

Case = Mapping[str, Any]

MESSAGE = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "ok", "annotations": []}],
}  # fmt: skip
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "u", "output": [MESSAGE],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2,
    },
}  # fmt: skip


def frames(events: Sequence[Mapping[str, Any]], wire: Mapping[str, Any]) -> list[bytes]:
    """Events as bytes, each in a write of its own."""
    names = wire.get("event_lines", True)
    made = [
        (f"event: {event['type']}\n" if names else "").encode() + b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    ]
    return made + [b"data: [DONE]\n\n"] * bool(wire.get("done"))


class CaseProvider:
    """Gives the answers of a script, one after the other, and notes what it was asked."""

    def __init__(self, answers: Sequence[Mapping[str, Any]], wire: Mapping[str, Any]) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers = list(answers)
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await BufferedBody.read(scope, receive, 1 << 22)
        self.asked.append((scope["path"], json.loads(body.body)))
        answer = self.answers.pop(0)
        status, headers, pieces = 200, {"content-type": "application/json"}, []
        if "error" in answer:
            status = answer["error"]["status"]
            headers |= answer["error"].get("headers") or {}
            told = answer["error"]["body"]
            pieces = [(told if isinstance(told, str) else json.dumps(told)).encode()]
        elif "response" in answer:
            pieces = [json.dumps(answer["response"]).encode()]
        else:
            headers = {"content-type": "text/event-stream"}
            pieces = answer["reads"] if "reads" in answer else frames(answer["events"], self._wire)
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def answers_of(case: Case) -> list[Mapping[str, Any]]:
    """What the provider answers in a case with one request."""
    if case.get("openai_error"):
        return [{"error": case["openai_error"]}]
    if case.get("responses_sse_b64"):
        return [{"reads": [base64.b64decode(read) for read in case["responses_sse_b64"]]}]
    if case.get("responses_events") is not None:
        return [{"events": case["responses_events"]}]
    if case.get("responses_response") is not None:
        return [{"response": case["responses_response"]}]
    if not case["anthropic_request"].get("stream"):
        return [{"response": RESPONSE}]
    end = {"type": "response.completed", "sequence_number": 1, "response": RESPONSE}
    return [{"events": [end]}]


def layer(case: Case, provider: CaseProvider) -> FormatConversionMiddleware:
    """The conversion with the case's profile."""
    profile = case["profile"]
    return FormatConversionMiddleware(provider, provider=profile["base"], options=profile["overrides"])


async def ask(app: FormatConversionMiddleware, request: Any, case: Case) -> Answer:
    """Send a request. A stream that ends in an ``error`` event is broken off behind it."""
    headers = {"content-type": "application/json", **(case.get("anthropic_headers") or {})}
    answer = Answer()
    try:
        return await call(app, http_scope("POST", "/v1/messages", headers), request, answer=answer)
    except StreamAborted:
        return answer


async def differences(case: Case) -> list[str]:
    """Where the layer does otherwise than a case of one request expects."""
    provider = CaseProvider(answers_of(case), case.get("wire") or {})
    answer = await ask(layer(case, provider), case["anthropic_request"], case)
    paths = [path for path, _ in provider.asked]
    expected_paths = [] if case.get("upstream_called") is False else ["/v1/responses"]
    if paths != expected_paths:
        return [f"asked at {paths}: {answer.status} {answer.body[:200]!r}"]
    expected = case["expected"]
    match case["kind"]:
        case "request":
            return match(expected, provider.asked[0][1])
        case "response":
            return match(expected, answer.json())
        case "stream":
            check_stream(answer.body)
            return match_events(case, parse_frames(answer.body))
        case _:
            told = {name: answer.headers.get(name) for name in expected.get("headers") or ()}
            actual = {"status": answer.status, "headers": told, "body": answer.json()}
            return match({"headers": {}, **expected}, actual)


async def conversation_differences(case: Case) -> list[str]:
    """Where a conversation goes otherwise than its case expects; one layer serves all of its steps."""
    provider = CaseProvider((), {})
    app = layer(case, provider)
    contents: list[Any] = []
    found: list[str] = []
    for n, step in enumerate(case["steps"]):
        provider.asked, provider.answers = [], list(step["upstream"])
        answer = await ask(app, _filled(step["anthropic_request"], contents), case)
        wanted = step["expected_requests"]
        if [path for path, _ in provider.asked] != [request["path"] for request in wanted]:
            return [f"step {n}: asked at {[path for path, _ in provider.asked]}: {answer.body[:200]!r}"]
        for (_, body), request in zip(provider.asked, wanted, strict=True):
            names = [name for name in ("input", "messages", "include") if name in request]
            found += [line for name in names for line in match(request[name], body.get(name), f"{n}.{name}")]
            found += [f"step {n}: {name} was sent" for name in request.get("lacks", ()) if name in body]
        if answer.status != step.get("status", 200):
            return [*found, f"step {n}: status {answer.status}: {answer.body[:200]!r}"]
        contents.append(_content(answer) if answer.status == 200 else [])
    return found


def _content(answer: Answer) -> Any:
    if answer.headers["content-type"].startswith("text/event-stream"):
        return accumulate(answer.body)["content"]
    return answer.json()["content"]


def _filled(value: Any, contents: Sequence[Any]) -> Any:
    """The request with what the client got in earlier steps."""
    if isinstance(value, list):
        return [_filled(item, contents) for item in value]
    if not isinstance(value, dict):
        return value
    if "$answer" in value:
        dropped = value.get("drop", ())
        return [block for block in contents[value["$answer"]] if block["type"] not in dropped]
    if "$answer_tool" in value:
        return next(block["id"] for block in contents[value["$answer_tool"]] if block["type"] == "tool_use")
    if "$answer_signature" in value:
        blocks = contents[value["$answer_signature"]]
        signature: str = next(block["signature"] for block in blocks if block["type"] == "thinking")
        middle = len(signature) // 2
        changed = "B" if signature[middle] == "A" else "A"
        return signature[:middle] + changed + signature[middle + 1 :] if value.get("tamper") else signature
    return {name: _filled(item, contents) for name, item in value.items()}
