"""Calls in the forms in which models write them into their text, and answers of both APIs with such a text."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ccproxy_middleware.conversion.apis import APIS, convert_request
from ccproxy_middleware.conversion.context import Api, Context
from ccproxy_middleware.conversion.providers.profiles import resolve_profile

from .streams.grammar import check_stream

TOOLS = [
    {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}},
    {
        "name": "Edit",
        "input_schema": {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "lines": {"type": "array"},
                "all": {"type": "boolean"},
                "count": {"type": "integer"},
                "map": {"type": "object"},
                "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            },
        },
    },
    {"name": "BashOutput", "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}}},
]

Told = tuple[str, list[tuple[str, Any]], str]
"""The text of an answer, its calls and its stop reason."""


def qwen(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def _deepseek(name: str, arguments: str) -> str:
    inner = f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>"
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜>"


def _older_deepseek(name: str, arguments: str) -> str:
    inner = f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
    return f"<｜tool▁calls▁begin｜>{inner}<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"


JSON_FORMS: Mapping[str, Callable[[str, str], str]] = {
    "qwen": qwen,
    "llama-function": lambda name, arguments: f"<function={name}>{arguments}</function>",
    "llama-python-tag": lambda name, arguments: (
        f'<|python_tag|>{{"name": "{name}", "parameters": {arguments}}}<|eom_id|>'
    ),
    "mistral-list": lambda name, arguments: f'[TOOL_CALLS] [{{"name": "{name}", "arguments": {arguments}}}]',
    "mistral-args": lambda name, arguments: f"[TOOL_CALLS]{name}[ARGS]{arguments}",
    "mistral-id": lambda name, arguments: f"[TOOL_CALLS]{name}[CALL_ID]aB3dE5gH9[ARGS]{arguments}",
    "mistral-plain": lambda name, arguments: f"[TOOL_CALLS]{name}{arguments}",
    "deepseek-v3.1": _deepseek,
    "deepseek-v3": _older_deepseek,
}
"""By its name, what writes a call with arguments in JSON."""

BARE_FORMS: Mapping[str, Callable[[str, str], str]] = {
    "bare": lambda name, arguments: f'{{"name": "{name}", "parameters": {arguments}}}',
    "bare-list": lambda name, arguments: f'[{{"name": "{name}", "arguments": {arguments}}}]',
    "bare-function": lambda name, arguments: f'{{"type": "function", "name": "{name}", "parameters": {arguments}}}',
}
"""The same where it must be the whole answer."""


def _coder(name: str, **values: str) -> str:
    inner = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


def _invoke(name: str, bar: str = "", outer: str = "", string: str = "", **values: str) -> str:
    mark = f"{bar}DSML{bar}" if bar else ""
    inner = "".join(f'<{mark}parameter name="{k}"{string}>{v}</{mark}parameter>\n' for k, v in values.items())
    call = f'<{mark}invoke name="{name}">\n{inner}</{mark}invoke>'
    return f"<{mark}{outer}>\n{call}\n</{mark}{outer}>" if outer else call


TEXT_FORMS: Mapping[str, Callable[..., str]] = {
    "qwen-coder": _coder,
    "qwen-coder-bare": lambda name, **v: _coder(name, **v).removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"),
    "invoke": lambda name, **v: _invoke(name, outer="function_calls", **v),
    "invoke-bare": lambda name, **v: _invoke(name, **v),
    "minimax": lambda name, **v: _invoke(name, outer="minimax:tool_call", **v),
    "dsml-v3.2": lambda name, **v: _invoke(name, "｜", "function_calls", ' string="true"', **v),
    "dsml-v4": lambda name, **v: _invoke(name, "｜", "tool_calls", ' string="true"', **v),
    "dsml-plain-bars": lambda name, **v: _invoke(name, "|", "tool_calls", **v),
}
"""By its name, what writes a call whose values are text."""


def context(api: Api = "chat", stops: Sequence[str] = (), choice: Any = None, **options: Any) -> Context:
    """What the converters know of a request with TOOLS."""
    request: dict[str, Any] = {
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "tools": TOOLS,
        "stop_sequences": list(stops),
    }  # fmt: skip
    if choice:
        request["tool_choice"] = choice
    profile = resolve_profile("generic", {"text_tool_calls": "auto", "stop_limit": 0, "api": api, **options})
    return convert_request(request, profile).context


def whole(text: str, context: Context, finish: str = "stop", **message: Any) -> Told:
    """What the client gets of a whole answer with this text."""
    if context.profile.api == "responses":
        item = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        answer = APIS["responses"].convert_response({"status": "completed", "output": [item]}, context)
    else:
        choice = {"index": 0, "message": {"content": text, **message}, "finish_reason": finish}
        answer = APIS["chat"].convert_response({"choices": [choice]}, context)
    return _told(answer["content"], answer["stop_reason"])


def streamed(pieces: Sequence[str], context: Context, finish: str = "stop", then: Any = None) -> Told:
    """What it gets of a streamed answer, after its events have been checked one by one."""
    api: Api = "responses" if context.profile.api == "responses" else "chat"
    converter = APIS[api].stream(context, "req_1")
    frames: list[bytes] = []
    for event in _response(pieces) if api == "responses" else _chunks(pieces, finish, then):
        frames += converter.feed(event)
    assert converter.error is None
    events = check_stream(b"".join(frames))
    blocks: list[dict[str, Any]] = []
    for one in events:
        if one["type"] == "content_block_start":
            blocks.append({**one["content_block"], "json": ""})
        elif one["type"] == "content_block_delta":
            delta = one["delta"]
            blocks[-1]["text"] = blocks[-1].get("text", "") + delta.get("text", "")
            blocks[-1]["json"] += delta.get("partial_json", "")
    for block in blocks:
        block["input"] = json.loads(block["json"] or "{}")
    return _told(blocks, events[-2]["delta"]["stop_reason"])


def chunk(delta: Any, finish: str | None = None) -> bytes:
    """A chunk of chat completions as an event."""
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _chunks(pieces: Sequence[str], finish: str, then: Any) -> list[bytes]:
    events = [chunk({"content": piece}) for piece in pieces]
    return [*events, *([chunk(then)] if then else []), chunk({}, finish), b"data: [DONE]\n\n"]


def _response(pieces: Sequence[str]) -> list[bytes]:
    text = "".join(pieces)
    item = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    where = {"output_index": 0, "item_id": "m1", "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r1", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        *({"type": "response.output_text.delta", **where, "delta": piece} for piece in pieces),
        {"type": "response.output_text.done", **where, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": "r1", "status": "completed", "output": [item]}},
    ]
    return [_event(event) for event in events]


def _event(data: Any) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _told(blocks: Sequence[Any], reason: str) -> Told:
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    return text, [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"], reason
