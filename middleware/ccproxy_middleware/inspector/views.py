"""An exchange as the page shows it. Nothing is parsed before it is viewed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import anyio.lowlevel

from ..toolkit.encodings import BrokenEncoding, UnsupportedEncoding, make_decoder
from ..toolkit.errors import MAX_BODY_BYTES
from ..toolkit.json import loads
from ..toolkit.record import Attempt, ProviderCall, Record
from ..toolkit.sse import EventTooLarge, SSEParser
from ..toolkit.worker_threads import in_thread
from .exchanges import Call, Exchange
from .minutes import generating_seconds, has_failed
from .words import Words, read_words

Redact = Callable[[bytes], bytes]
Document = dict[str, Any]

_MAX_TEXT = 1000  # characters
_LARGE = 1024 * 1024  # bytes of a body above which it is parsed outside the event loop


def summary(exchange: Exchange) -> Document:
    """One line of the list. Times of day are seconds since the epoch, all others milliseconds; unknown is None."""
    record, usage = exchange.record, exchange.record.usage
    seconds = generating_seconds(record)
    words = exchange.words or Words()
    output = usage.get("output_tokens")
    return {
        "id": exchange.id,
        "request_id": record.request_id,
        "time": record.time,
        "path": _cut(exchange.client.path),
        "said": words.said,
        "after": words.after,
        "client_model": _cut(record.requested_model),
        "model": _cut(record.model),
        "tier": record.tier,
        "session_id": _cut(record.session_id),
        "client_key": record.client_key,
        **_asker(record),
        "stream": record.stream,
        "status": exchange.client.status,
        "state": _state(exchange),
        "error": record.error,
        "error_message": _cut(record.error_message),
        "stop_reason": _cut(record.stop_reason),
        "first_byte": _milliseconds(record.first_byte),
        "duration": _milliseconds(record.duration),
        "input_tokens": usage.get("input_tokens"),
        "cached_tokens": usage.get("cache_read_input_tokens"),
        "cache_write_tokens": usage.get("cache_creation_input_tokens"),
        "output_tokens": output,
        "tokens_per_second": round(output / seconds, 1) if seconds and output else None,
        "boost_outcome": record.boost_outcome,
        "boost_loops": record.boost_loops,
        "vision": _vision(record),
        "web_searches": _searches(record),
        "retries": record.retries,
        "provider_requests": len(exchange.provider),
        "replay_of": exchange.replay_of,
        "cost": None if record.cost is None else float(record.cost),
        "cache_break": record.cache_break,
        "size": exchange.size,
    }


async def look_for_words(exchanges: Iterable[Exchange], redact: Redact) -> None:
    """Compute the summaries of these exchanges, where they are missing and the request is complete."""
    for exchange in list(exchanges):
        call = exchange.client
        if exchange.words is not None or not call.is_asked:
            continue
        if sum(map(len, call.request)) > _LARGE:
            words = await in_thread(partial(find_words, call, redact))
        else:
            words = find_words(call, redact)
            await anyio.lowlevel.checkpoint()
        exchange.words = words


def find_words(call: Call, redact: Redact) -> Words:
    """The summary of a request."""
    try:
        return read_words(loads(request_body(call, redact)))
    except ValueError:
        return Words()


def _vision(record: Record) -> str | None:
    """A text on how many images were replaced by text, and which model has described the new ones."""
    if not record.images_described:
        return None
    tokens = sum(record.vision_usage.values())
    asked = f"{record.vision_requests} asked in {record.vision_seconds:.1f} s, {tokens:,} tokens"
    return f"{record.images_described} described by {_cut(record.vision_model)} ({asked})"


def _searches(record: Record) -> str | None:
    """A text on how many searches were run."""
    if not record.web_searches:
        return None
    failed = f", {record.web_searches_failed} failed" if record.web_searches_failed else ""
    return f"{record.web_searches} in {record.web_search_seconds:.1f} s{failed}"


def _asker(record: Record) -> Document:
    asker = record.asker
    return {
        "prompt_id": asker.prompt_id,
        "agent_id": asker.agent_id,
        "parent_agent_id": asker.parent_agent_id,
        "agent_type": asker.agent_type,
        "request_class": asker.request_class,
        "compaction": asker.compaction,
        "tool_durations": asker.tool_durations,
    }


def detail(exchange: Exchange, redact: Redact) -> Document:
    """The whole exchange: the client's side and, in order, each request to a provider."""
    started = exchange.record.started
    return {
        **summary(exchange),
        "provider": exchange.record.provider,
        "upstream_request_id": exchange.record.upstream_request_id,
        "decisions": list(exchange.record.decisions),
        "rule": exchange.record.rule,
        "upstream": exchange.record.upstream,
        "attempts": [_attempt(attempt) for attempt in exchange.record.attempts],
        "calls": [_provider_call(call) for call in exchange.record.calls],
        "client": _call(exchange.client, started, redact),
        "providers": [_call(call, started, redact) for call in exchange.provider],
    }


def _provider_call(call: ProviderCall) -> Document:
    """A call that a provider has answered. ``cost`` is in US dollars."""
    return {
        "upstream": call.upstream,
        "model": _cut(call.model),
        "usage": dict(call.usage),
        "cost": None if call.cost is None else float(call.cost),
    }


def _attempt(attempt: Attempt) -> Document:
    """A row: a candidate that was tried or skipped."""
    return {
        "upstream": attempt.upstream,
        "model": _cut(attempt.model),
        "key": attempt.key,
        "asked": attempt.asked,
        "reason": attempt.reason,
        "status": attempt.status,
        "at": _milliseconds(attempt.started),
        "ended": _milliseconds(attempt.ended),
        "waited": _milliseconds(attempt.waited or None),
        "cooled": _milliseconds(attempt.cooled),
    }


def request_body(call: Call, redact: Redact) -> bytes:
    """A request's decoded body. Raises ValueError if it can't be decoded."""
    headers = [(name.encode("latin-1"), (value or "").encode("latin-1")) for name, value in call.headers]
    try:
        decoder = make_decoder(headers)
        plain = decoder.decode(b"".join(call.request), MAX_BODY_BYTES)
    except (UnsupportedEncoding, BrokenEncoding) as error:
        raise ValueError(str(error)) from None
    return redact(plain)


def answer_body(call: Call, redact: Redact) -> bytes:
    """An answer's body, as far as it has arrived."""
    return redact(b"".join(data for _, data in call.answer))


def is_stream(call: Call) -> bool:
    """Whether the answer is an event stream."""
    kind = next((value for name, value in call.answer_headers if name == "content-type"), None)
    return (kind or "").startswith("text/event-stream")


def events(call: Call, started: float, redact: Redact) -> list[Document]:
    """The events of a stream: ``at`` is the milliseconds from the exchange's start until the event was complete."""
    parser = SSEParser()
    found: list[Document] = []

    def take(frames: list[bytes], at: float) -> None:
        found.extend({"at": _milliseconds(at - started), **_document(redact(frame))} for frame in frames)

    at = call.started
    try:
        for at, data in call.answer:
            take(parser.feed(data), at)
        if call.ended is not None or not call.answer:
            take(parser.finish(), at)
    except EventTooLarge as error:
        found.append({"at": _milliseconds(at - started), "text": str(error)})
    return found


def _call(call: Call, started: float, redact: Redact) -> Document:
    answer: Document = {"status": call.status, "headers": call.answer_headers}
    if is_stream(call):
        answer["events"] = events(call, started, redact)
    else:
        answer |= _document(answer_body(call, redact))
    try:
        request = _document(request_body(call, redact))
    except ValueError as error:
        request = {"text": f"[{error}]"}
    return {
        "name": call.name,
        "at": _milliseconds(call.started - started),
        "ended": _milliseconds(call.ended - started) if call.ended is not None else None,
        "cut": call.is_cut,
        "own_error": call.own_error,
        "request": {"method": call.method, "path": call.path, "headers": call.headers, **request},
        "answer": answer,
    }


def _document(data: bytes) -> Document:
    """The bytes as ``json``, or as ``text`` if they are not JSON; neither if there are no bytes."""
    if not data:
        return {}
    try:
        return {"json": loads(data)}
    except ValueError:
        return {"text": data.decode(errors="replace")}


def _state(exchange: Exchange) -> str:
    """``running``, ``ok``, ``failed``, or ``left`` (the client disconnected)."""
    if not exchange.over:
        return "running"
    if has_failed(exchange.record):
        return "failed"
    return "left" if exchange.record.outcome == "disconnected" else "ok"


def _cut(text: str | None) -> str | None:
    """The part of a text that is shown in a line of the list; a client or a provider can make it long."""
    return text if text is None or len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
