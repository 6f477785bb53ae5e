"""``cc-boost replay``: sends a request from the inspector or its history again, and shows how the answer differs."""

import difflib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from ccproxy_middleware.toolkit.json import loads
from ccproxy_middleware.toolkit.sse import SSEParser

from ..serving import EXIT_CANT_START, fail, load_settings_or_exit, local_url
from ..settings import Settings

_TRIES = 30  # attempts to reach the worker process that has the exchange in its memory
_PATIENCE = httpx.Timeout(600, connect=6)
_NOT_HERE = (404, 421)


@dataclass(slots=True)
class Said:
    """The content of an answer. ``lines``: its text and tool calls, in the form in which they are compared."""

    status: int | None
    lines: list[str] = field(default_factory=list)
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None


def run_replay(id_: str, *, url: str | None = None, as_json: bool = False, env_file: str | None = None) -> int:
    """Send an exchange again and print the difference. Returns the exit code: 1 if the new answer is an error.

    Ends the process with exit code 1 if the proxy can't be reached, and 2 if the settings are invalid.
    """
    settings = load_settings_or_exit(env_file) if url is None else _settings_or_none(env_file)
    url = (url or local_url(settings.host, settings.port)).rstrip("/")
    with httpx.Client(trust_env="127.0.0.1" not in url, timeout=_PATIENCE, headers=_headers(settings)) as client:
        place = f"{url}/ui/api/exchanges/{quote(id_, safe='')}"
        old = _asked(client, "GET", place).json()
        began = time.monotonic()
        answer = _asked(client, "POST", f"{place}/replay")
        took = time.monotonic() - began
    before, after = _said_then(old), _said_now(answer, took)
    if as_json:
        print(json.dumps({"id": id_, "before": asdict(before), "after": asdict(after), "same": _same(before, after)}))
    else:
        print("\n".join(_told(old, before, after)))
    return 1 if answer.is_error else 0


def _settings_or_none(env_file: str | None) -> Settings:
    """The settings, needed only for their keys if a URL is given."""
    return load_settings_or_exit(env_file, openai_api_key="not used")


def _headers(settings: Settings) -> dict[str, str]:
    keys = (*settings.admin_keys, *settings.client_keys)
    key = keys[0] if keys else os.environ.get("ANTHROPIC_AUTH_TOKEN")
    return {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}


def _asked(client: httpx.Client, method: str, url: str) -> httpx.Response:
    """The proxy's answer, from whichever worker has the exchange. Ends the process if there is none."""
    body = b"{}" if method == "POST" else None
    try:
        answer = client.request(method, url, content=body)
        for _ in range(_TRIES - 1):
            if answer.status_code not in _NOT_HERE:
                break
            answer = client.request(method, url, content=body)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        fail(f"Nothing answers at {url.partition('/ui/')[0]}: {exc}. Is cc-boost running there?", EXIT_CANT_START)
    is_of_page = method == "GET" or answer.status_code in (401, 403, 409, *_NOT_HERE)
    if answer.is_error and is_of_page and "x-cc-boost-route" not in answer.headers:
        fail(f"The proxy does not do that: {_message(answer)}", EXIT_CANT_START)
    return answer


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return answer.text.strip()[:500] or f"HTTP {answer.status_code}"


def _said_then(old: Mapping[str, Any]) -> Said:
    """The recorded answer."""
    half = old["client"]["answer"]
    if "events" in half:
        said = _of_events([event["json"] for event in half["events"] if isinstance(event.get("json"), dict)])
    else:
        said = _of_document(half.get("json", half.get("text")))
    said.status = half["status"]
    said.seconds = None if old.get("duration") is None else old["duration"] / 1000
    return said


def _said_now(answer: httpx.Response, seconds: float) -> Said:
    """The new answer."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        parser = SSEParser()
        found = [_parsed(data) for data in (*parser.feed(answer.content), *parser.finish())]
        said = _of_events([event for event in found if isinstance(event, dict)])
    else:
        said = _of_document(_parsed(answer.content))
    said.status, said.seconds = answer.status_code, seconds
    return said


def _parsed(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return data.decode(errors="replace")


def _of_events(events: Sequence[Mapping[str, Any]]) -> Said:
    """The content of Anthropic's events; other events are shown unchanged."""
    if not any(event.get("type") == "message_start" for event in events):
        return Said(None, [json.dumps(event, ensure_ascii=False) for event in events])
    message: dict[str, Any] = {"type": "message", "content": []}
    blocks: dict[int, dict[str, Any]] = {}
    error: list[str] = []
    for event in events:
        match event.get("type"):
            case "message_start":
                message["usage"] = dict(event["message"].get("usage") or {})
            case "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
            case "content_block_delta" if event["index"] in blocks:
                block, delta = blocks[event["index"]], event["delta"]
                for name in ("text", "thinking"):
                    if name in delta:
                        block[name] = block.get(name, "") + delta[name]
                block["json"] += delta.get("partial_json", "")
            case "message_delta":
                message["stop_reason"] = event["delta"].get("stop_reason")
                message["usage"] |= {name: n for name, n in (event.get("usage") or {}).items() if n is not None}
            case "error":
                error.append(f"error {event['error'].get('type')}: {event['error'].get('message')}")
    for block in blocks.values():
        arguments = block.pop("json")
        if arguments:
            block["input"] = _parsed(arguments.encode())
        message["content"].append(block)
    said = _of_document(message)
    said.lines += error
    return said


def _of_document(document: Any) -> Said:
    if not isinstance(document, dict):
        return Said(None, str(document or "").splitlines())
    if isinstance(error := document.get("error"), dict):
        return Said(None, [f"error {error.get('type')}: {error.get('message')}"])
    if document.get("type") != "message":
        return Said(None, json.dumps(document, indent=2, ensure_ascii=False).splitlines())
    usage = document.get("usage") or {}
    counts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return Said(
        None,
        [line for block in document["content"] for line in _lines(block)],
        document.get("stop_reason"),
        sum(usage.get(name) or 0 for name in counts),
        usage.get("output_tokens"),
    )


def _lines(block: Mapping[str, Any]) -> Iterator[str]:
    """A block as lines. Thinking is left out, since it always differs."""
    match block.get("type"):
        case "text":
            yield from block["text"].splitlines()
        case "tool_use" | "server_tool_use":
            yield f"tool call {block['name']}"
            shown = block.get("input")
            text = json.dumps(shown, indent=2, ensure_ascii=False, sort_keys=True)
            yield from (f"  {line}" for line in text.splitlines())
        case "thinking" | "redacted_thinking":
            return
        case kind:
            yield f"{kind} {json.dumps(block, ensure_ascii=False, sort_keys=True)[:500]}"


def _same(before: Said, after: Said) -> bool:
    return before.lines == after.lines and before.status == after.status


def _told(old: Mapping[str, Any], before: Said, after: Said) -> Iterator[str]:
    model = old.get("client_model") or old["path"]
    real = f" -> {old['model']}" if old.get("model") and old["model"] != old.get("client_model") else ""
    yield f"{old['id']}  {datetime.fromtimestamp(old['time']):%Y-%m-%d %H:%M:%S}  {model}{real}"
    if old.get("said"):
        yield f"  {old['said']}"
    yield ""
    yield f"{'':16}{'then':>14}{'now':>14}"
    for name, was, now in (
        ("status", before.status, after.status),
        ("stop reason", before.stop_reason, after.stop_reason),
        ("tokens in", before.input_tokens, after.input_tokens),
        ("tokens out", before.output_tokens, after.output_tokens),
        ("seconds", _seconds(before.seconds), _seconds(after.seconds)),
    ):
        yield f"{name:16}{_cell(was):>14}{_cell(now):>14}"
    yield ""
    if before.lines == after.lines:
        yield "The answers say the same."
    else:
        yield from difflib.unified_diff(before.lines, after.lines, "then", "now", lineterm="")


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) and value > 999 else str(value)
