"""Real requests, and ways to spoil them: for tests that feed the proxy with what no client should send."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from ..paths import DATA

REQUESTS = DATA / "requests"

_LONG = 60  # characters of prose that are kept: its length says nothing about the request's form
_MANY_TOOLS = 4

DEEP = {f"<{depth} deep>": "[" * depth + "]" * depth for depth in (190, 300, 1000, 10_000)}
"""What stands for lists inside each other, which json can't write, and their JSON."""

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.5, 1e300, float("nan"), float("inf"), 2**63, 2**64, -(2**64), 10**400,
    "", " ", "x", "x" * 300, "\ud83d", "\x00", "\u2028", "auto", "claude-opus-4-8", "data:image/png;base64,AAAA",
    "tool_use", "user", "ephemeral", [], {}, [None], [[]], [{}], {"": None}, {"type": None}, {"type": "object"}, *DEEP,
    {"type": "text"}, {"type": "text", "text": "x"}, [{"type": "text", "text": ""}], {"type": "image"},
    {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}, {"type": "thinking"},
    {"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "redacted_thinking", "data": "x"},
    {"type": "tool_use", "id": "t", "name": "n", "input": {}}, {"type": "tool_use", "id": "t"},
    {"type": "tool_result", "tool_use_id": "t"}, {"type": "tool_result", "tool_use_id": "t", "content": [{}]},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
    {"type": "document", "source": {"type": "text", "data": "x"}}, {"type": "document"}, {"type": "tool"},
    {"type": "tool", "name": "x"}, {"type": "any"}, {"type": "none"}, {"type": "enabled", "budget_tokens": 2000},
    {"type": "adaptive"}, {"type": "json_schema", "schema": {}}, {"role": "user", "content": "x"},
    {"role": "assistant", "content": []}, {"role": "system", "content": "x"}, {"role": "tool", "content": "x"},
    {"name": "x", "input_schema": {"type": "object"}}, {"name": "x"}, {"type": "web_search_20250305"},
    {"type": "bash_20250124", "name": "bash"}, {"$ref": "#"}, {"anyOf": [{"type": "string"}, 1]},
]  # fmt: skip
"""What a value may be replaced by."""

KEYS = [
    "type", "text", "content", "role", "id", "name", "input", "source", "data", "media_type", "url", "tool_use_id",
    "is_error", "cache_control", "thinking", "signature", "budget_tokens", "effort", "format", "schema", "system",
    "messages", "tools", "tool_choice", "stop_sequences", "temperature", "top_p", "top_k", "stream", "metadata",
    "user_id", "max_tokens", "model", "service_tier", "container", "mcp_servers", "context_management",
    "output_config", "output_format", "speed", "defer_loading", "strict", "input_schema", "description", "properties",
    "required", "citations", "title", "context", "disable_parallel_tool_use", "inference_geo", "x",
]  # fmt: skip
"""What a key may be renamed to, or added as."""

HEADERS: list[tuple[str, str]] = [
    ("content-type", "text/plain"), ("content-type", ""), ("content-type", "application/json; charset=utf-16"),
    ("content-encoding", "gzip"), ("content-encoding", "zstd"), ("content-encoding", "br"),
    ("content-encoding", "gzip, zstd"), ("content-encoding", "identity"), ("content-length", "x"),
    ("content-length", "-1"), ("content-length", str(40 << 20)), ("content-length", str(10**30)),
    ("accept", "text/html"), ("accept-encoding", "br;q=1"), ("anthropic-version", "1900-01-01"),
    ("anthropic-version", ""), ("anthropic-beta", ","), ("anthropic-beta", "\xff"), ("x-api-key", ""),
    ("x-api-key", "\xff\x00"), ("authorization", "Bearer"), ("authorization", "Basic \xe9"), ("host", ""),
    ("x-claude-code-session-id", "\xff" * 300), ("idempotency-key", "x" * 9000), ("transfer-encoding", "gzip"),
    ("connection", "upgrade"), ("expect", "100-continue"), ("x-forwarded-for", "'"), ("", ""), ("\xff", "\xff"),
]  # fmt: skip

Place = tuple[Any, Any]  # a dict or list, and a key or index of it


def stored_requests() -> list[dict[str, Any]]:
    """The stored requests, with long prose and long lists of tools cut off."""
    return [_shortened(json.loads(path.read_bytes())) for path in sorted(REQUESTS.glob("*.json"))]


def _shortened(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _shortened(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item, key) for item in (value[:_MANY_TOOLS] if key == "tools" else value)]
    if isinstance(value, str) and key in ("text", "description", "content", "thinking"):
        return value[:_LONG]
    return value


def places(value: Any) -> list[list[Place]]:
    """Every place of a document, by its depth."""
    levels: list[list[Place]] = []
    containers = [value]
    while containers:
        level = [place for container in containers for place in _items(container)]
        if level:
            levels.append(level)
        containers = [container[key] for container, key in level]
    return levels


def _items(container: Any) -> Iterator[Place]:
    if isinstance(container, dict):
        yield from ((container, key) for key in container)
    elif isinstance(container, list):
        yield from ((container, index) for index in range(len(container)))


@st.composite
def mutated(draw: st.DrawFn, body: dict[str, Any], others: list[dict[str, Any]]) -> bytes:
    """A request's body as JSON, spoilt in one to four places."""
    body = json.loads(json.dumps(body))
    for _ in range(draw(st.integers(1, 4))):
        levels = places(body)
        if not levels:
            break
        container, key = draw(st.sampled_from(draw(st.sampled_from(levels))))
        match draw(st.sampled_from(["replace", "replace", "delete", "duplicate", "rename", "graft", "wrap"])):
            case "replace":
                container[key] = draw(st.sampled_from(VALUES))
            case "delete":
                del container[key]
            case "duplicate" if isinstance(container, list):
                container.insert(draw(st.integers(0, len(container))), container[key])
            case "duplicate" | "rename" if isinstance(container, dict):
                name = draw(st.sampled_from(KEYS))
                container[name] = container[key]
            case "graft":
                container[key] = draw(_part(draw(st.sampled_from(others))))
            case _:
                container[key] = draw(st.sampled_from([[container[key]], {"type": container[key]}]))
        body = json.loads(json.dumps(body))  # what was used twice must not be one object
    text = json.dumps(body, ensure_ascii=draw(st.booleans()))
    for name, deep in DEEP.items():
        text = text.replace(f'"{name}"', deep)
    return text.encode(errors="surrogatepass")


@st.composite
def _part(draw: st.DrawFn, body: dict[str, Any]) -> Any:
    container, key = draw(st.sampled_from(draw(st.sampled_from(places(body)))))
    return container[key]


@st.composite
def cut_up(draw: st.DrawFn, raw: bytes) -> bytes:
    """The same bytes, mostly; at times some of them are lost, doubled or others."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        start, end = sorted((draw(st.integers(0, len(raw))), draw(st.integers(0, len(raw)))))
        raw = raw[:start] + draw(st.sampled_from([b"", b"\xff", b"\x00", b'"', b"}", b"\\u", raw[:50]])) + raw[end:]
    return raw
