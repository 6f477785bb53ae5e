"""An exchange as a test case, in the format of the files in ``tests/data/cases``."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from ..toolkit.errors import ApiError
from ..toolkit.json import loads
from .exchanges import Call, Exchange
from .views import Document, Redact, answer_body, events, is_stream, request_body

_RESET = {"$regex": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_ERROR_HEADERS = ("retry-after", "anthropic-ratelimit-")
_PROVIDER_HEADERS = ("retry-after", "x-ratelimit-")


def request_case(exchange: Exchange, options: Mapping[str, Any], redact: Redact) -> Document:
    """The client's request and the chat request made from it. Raises ApiError if the exchange has no such pair."""
    call = _provider(exchange)
    request, chat = _json(request_body(exchange.client, redact)), _json(request_body(call, redact))
    model = chat.get("model")
    return {
        **_head(exchange, call, "request", options),
        "anthropic_request": {**request, "model": model},  # the model's name is set by another layer
        "expected": chat,
    }


def answer_case(exchange: Exchange, options: Mapping[str, Any], redact: Redact) -> Document:
    """The provider's answer, whole, streamed or an error, and the client's answer. Raises ApiError like the other."""
    call = _provider(exchange)
    if call.ended is None or call.is_cut or exchange.client.is_cut:
        raise _unfit("its answers are not complete")
    if call.own_error:
        raise _unfit("the provider gave no answer")
    if is_stream(call) != is_stream(exchange.client):
        raise _unfit("one of its answers is a stream and the other is not")
    request = {"anthropic_request": _json(request_body(exchange.client, redact))}
    if is_stream(call):
        return {**_head(exchange, call, "stream", options), **request, **_stream_pair(exchange, call, redact)}
    given, got = answer_body(call, redact), answer_body(exchange.client, redact)
    if (call.status or 0) >= 400:
        error = {"status": call.status, "headers": _values(call, _PROVIDER_HEADERS), "body": _json_or_text(given)}
        expected = {
            "status": exchange.client.status,
            "headers": {
                name: _RESET if name.endswith("-reset") else value
                for name, value in _values(exchange.client, _ERROR_HEADERS).items()
            },
            "body": {**_json(got), "request_id": "$REQ_ID"},
        }
        head = _head(exchange, call, "error", options)
        return {**head, **request, "openai_error": error, "upstream_called": True, "expected": expected}
    answer = _json(given)
    name = "responses_response" if _is_responses(call) else "openai_response"
    pair = {name: answer, "expected": _with_wildcards(_json(got), given.decode(errors="replace"))}
    return {**_head(exchange, call, "response", options), **request, **pair}


def _stream_pair(exchange: Exchange, call: Call, redact: Redact) -> Document:
    given = answer_body(call, redact).decode(errors="replace")
    client = [event["json"] for event in events(exchange.client, 0, redact) if "json" in event]
    expected = [_with_wildcards(event, given) for event in client if event.get("type") != "ping"]
    chunks = events(call, 0, redact)
    done = bool(chunks) and chunks[-1].get("text") == "[DONE]"
    chunks = chunks[:-1] if done else chunks
    plain = all(isinstance(chunk.get("json"), dict) for chunk in chunks)
    if plain and _is_responses(call):
        return {"responses_events": [chunk["json"] for chunk in chunks], "wire": {"done": done}, "expected": expected}
    if plain:
        return {"openai_chunks": [chunk["json"] for chunk in chunks], "done": done, "expected": expected}
    reads = [base64.b64encode(redact(data)).decode() for _, data in call.answer]
    return {"responses_sse_b64" if _is_responses(call) else "openai_sse_b64": reads, "expected": expected}


def _is_responses(call: Call) -> bool:
    return call.path.endswith("/responses")


def _provider(exchange: Exchange) -> Call:
    """The one request to the provider whose answer it is."""
    if exchange.client.path != "/v1/messages":
        raise _unfit("it is no request of the Messages API")
    if exchange.record.boost_loops is not None:
        raise _unfit("boost has changed the request and the answer")
    calls = [call for call in exchange.provider if call.path.endswith(("/chat/completions", "/responses"))]
    if not calls:
        raise _unfit("nothing was asked of the provider")
    return calls[-1]


def _head(exchange: Exchange, call: Call, kind: str, options: Mapping[str, Any]) -> Document:
    record = exchange.record
    options = {**options, "api": "responses"} if _is_responses(call) else options
    return {
        "name": f"{kind}-{re.sub('[^A-Za-z0-9]+', '-', exchange.id)}",
        "kind": kind,
        "summary": f"recorded: {record.requested_model} answered by {record.model}",
        "profile": {"base": record.provider or "generic", "overrides": dict(options)},
        "judgement": False,
    }


def _with_wildcards(value: Any, given: str, key: str = "") -> Any:
    """The client's side without values that are new or estimated in every answer, such as an id that the proxy
    generated.
    """
    if isinstance(value, dict):
        if value.get("type") == "message_start":
            start = value["message"]
            usage = dict.fromkeys(start["usage"], "$INT")  # estimated, since the provider reports it at the end
            return {**value, "message": {**start, "id": "$MSG_ID", "usage": usage}}
        made = {name: _with_wildcards(item, given, name) for name, item in value.items()}
        if value.get("type") == "message":
            made["id"] = "$MSG_ID"
        elif value.get("type") == "tool_use" and value["id"] not in given:
            made["id"] = "$TOOL_ID"
        return made
    if isinstance(value, list):
        return [_with_wildcards(item, given) for item in value]
    return "$SIG" if key == "signature" and value else value


def _values(call: Call, prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in call.answer_headers if name.startswith(prefixes)}


def _json(data: bytes) -> Document:
    try:
        document = loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _unfit("one of its bodies is no JSON object")
    return document


def _json_or_text(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return data.decode(errors="replace")


def _unfit(why: str) -> ApiError:
    return ApiError(409, "conflict_error", f"this exchange makes no such test case: {why}")
