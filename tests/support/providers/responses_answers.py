"""The answers of a scripted provider as OpenAI's Responses would send them."""

import asyncio
import itertools
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ccproxy.demo.responses import call_item, message_item, reasoning_item, response, response_events

from .openai_answers import SSE_HEADERS, Answer, Body, Chunks, Endless, Reply, json_answer, render

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_numbers = itertools.count(1)


def render_response(
    answer: Answer, body: dict[str, Any], issued: list[dict[str, Any]]
) -> tuple[int, Mapping[str, str], Body]:
    """The status, headers and body of an answer; the reasoning items that it holds are added to ``issued``."""
    match answer:
        case Reply():
            whole = _whole(answer, body)
            issued += [item for item in whole["output"] if item["type"] == "reasoning"]
            if not body.get("stream"):
                return json_answer(200, whole, answer.headers, after=answer.gate or answer.delay)
            events = response_events(whole, lambda text: _pieces(text, answer))
            return 200, {**SSE_HEADERS, **answer.headers}, _events(events, answer.delay, answer.gate)
        case Chunks():
            return 200, SSE_HEADERS, _events(answer.chunks, answer.delay, None)
        case Endless():
            return 200, SSE_HEADERS, _endless(answer)
        case _:
            return render(answer, body)


def _whole(reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
    number = next(_numbers)
    output: list[dict[str, Any]] = []
    if reply.reasoning and "reasoning.encrypted_content" in body.get("include", ()):
        shown = (body.get("reasoning") or {}).get("summary") is not None
        summary = ["".join(reply.reasoning)] if shown else []
        output.append(reasoning_item(f"rs_{number}", summary, f"gAAAA{number}/+=é\u2028" + "x" * 200))
    if text := "".join(reply.text):
        output.append(message_item(f"msg_{number}", text))
    for n, call in enumerate(reply.tool_calls):
        id_ = f"call_{number:024d}{n}" if call.id is None else call.id
        output.append(call_item(f"fc_{number}_{n}", id_, call.name, call.text))
    incomplete = _INCOMPLETE.get(reply.finish_reason or "")
    head = {"id": f"resp_{number}", "created_at": number, "model": body["model"]}
    return response(head, output, reply.usage or _usage(reply, body), incomplete)


def _usage(reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
    prompt = len(json.dumps(body["input"])) // 4 + 1
    completion = len("".join(reply.text)) // 4 + 1
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }


def _pieces(text: str, reply: Reply) -> Sequence[str]:
    if not isinstance(reply.text, str) and "".join(reply.text) == text:
        return reply.text
    return [text[n : n + 7] for n in range(0, len(text), 7)]


def _event(event: Mapping[str, Any]) -> bytes:
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


async def _events(events: Iterable[Mapping[str, Any]], delay: float, gate: threading.Event | None) -> Body:
    for number, event in enumerate(events):
        while number == 4 and gate is not None and not gate.is_set():  # noqa: ASYNC110 - the gate is another thread's
            await asyncio.sleep(0.01)
        await asyncio.sleep(delay)
        yield _event(event)


async def _endless(answer: Endless) -> Body:
    piece = {"type": "response.output_text.delta", "output_index": 0, "item_id": "msg_1", "content_index": 0}
    while True:  # until the client leaves
        yield _event({**piece, "delta": "x" * answer.size, "logprobs": [], "sequence_number": 1})
        await asyncio.sleep(answer.interval)
