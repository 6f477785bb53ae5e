"""The client sends what can't be used: it is told precisely what is wrong, or gets its answer all the same."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from support.clients.mutations import places
from support.clients.raw_client import connected, head, whole
from support.clients.sdk import accumulate
from support.outcomes import Answered, Refused, is_like
from support.providers.scripted import Reply, ScriptedProvider
from support.reliability import Row
from support.serving.proxied import proxied

REQUEST: dict[str, Any] = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
EVERYTHING: dict[str, Any] = {
    **REQUEST,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "hi"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "signature": "s"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": False, "content": [
                {"type": "text", "text": "done"},
            ]},
        ]},
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {}}}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
    "temperature": 1,
    "top_p": 0.9,
    "service_tier": "auto",
    "output_config": {"effort": "high"},
    "stream": False,
}  # fmt: skip
WRONG: list[Any] = [None, True, -1, 1.5, "x", [None], {}]


def body(**fields: Any) -> bytes:
    return json.dumps({**REQUEST, **fields}).encode()


def filled(field: dict[str, Any], value: bytes) -> bytes:
    """A request in which ``"@"`` of the field is this JSON."""
    return body(**field).replace(b'"@"', value)


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def tool(schema: Any) -> dict[str, Any]:
    return {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": schema}}]}


@dataclass(frozen=True)
class Case:
    """A body and its headers, and what the client is to see."""

    name: str
    body: bytes
    seen: Answered | Refused
    headers: dict[str, str] | None = None


def refused(message: str, status: int = 400) -> Refused:
    return Refused(status, "invalid_request_error", message)


NO_JSON = refused("not valid JSON")
TOO_DEEP = refused("nested too deeply")
ANSWERED = Answered()
CALLED = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"n": "@"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
]

CASES = [
    Case("no body", b"", NO_JSON),
    Case("blanks", b" \r\n", NO_JSON),
    Case("half a body", body()[:-5], NO_JSON),
    Case("two documents", body() + body(), NO_JSON),
    Case("a form", b"model=m&max_tokens=5", NO_JSON),
    Case("an array", b"[1]", refused("it must be an object")),
    Case("a string", b'"x"', refused("it must be an object")),
    Case("null", b"null", refused("it must be an object")),
    Case("`NaN`", filled({"temperature": "@"}, b"NaN"), NO_JSON),
    Case("`Infinity`", filled({"temperature": "@"}, b"-Infinity"), NO_JSON),
    Case("invalid UTF-8", body().replace(b"hi", b"\xff"), NO_JSON),
    Case("UTF-16", body().decode().encode("utf-16"), NO_JSON),
    Case("a byte order mark", b"\xef\xbb\xbf" + body(), NO_JSON),
    Case("a control character in a string", body().replace(b"hi", b"h\ni"), NO_JSON),
    Case("a lone surrogate", body().replace(b"hi", rb"\ud83d"), ANSWERED),
    Case("a NUL escape", body().replace(b"hi", rb"\u0000"), ANSWERED),
    Case("a key twice: the last one counts", body()[:-1] + b',"model":"n"}', ANSWERED),
    Case("an unknown field", body(unknown=1), ANSWERED),
    Case("10,000 levels in an unknown field", filled({"x": "@"}, lists(10_000)), NO_JSON),
    Case("10,000 levels in the content", filled({"messages": "@"}, lists(10_000)), NO_JSON),
    Case("10,000 levels in a tool's schema", filled(tool("@"), b'{"a":' * 10_000 + b"1" + b"}" * 10_000), NO_JSON),
    Case("10,000 levels and a lone surrogate", filled({"x": "@", "y": "\ud83d"}, lists(10_000)), NO_JSON),
    Case(
        "300 levels in the content",
        filled({"messages": "@"}, lists(300)),
        refused("messages.0: Input should be a valid dictionary"),
    ),
    Case("300 levels in a tool's schema", filled(tool("@"), b'{"a":' * 300 + b"1" + b"}" * 300), TOO_DEEP),
    Case("300 levels in a tool's input", filled({"messages": CALLED}, lists(300)), TOO_DEEP),
    Case("180 levels in a tool's input", filled({"messages": CALLED}, lists(180)), ANSWERED),
    Case("10^400 for `max_tokens`", filled({"max_tokens": "@"}, b"1" + b"0" * 400), NO_JSON),
    Case("2^64 for `max_tokens`", body(max_tokens=2**64), refused("max_tokens: Input should be a valid integer")),
    Case("1e300 for `max_tokens`", body(max_tokens=1e300), refused("max_tokens: Input should be a valid integer")),
    Case("2^64 in a tool's input", filled({"messages": CALLED}, str(2**64).encode()), ANSWERED),
    Case("`content-type: text/plain`", body(), ANSWERED, {"content-type": "text/plain"}),
    Case("no `content-type`", body(), ANSWERED, {"content-type": ""}),
    Case("gzip", gzip.compress(body()), ANSWERED, {"content-encoding": "gzip"}),
    Case("no gzip, said to be one", body(), refused("can't be decoded as gzip"), {"content-encoding": "gzip"}),
    Case("half of a gzip", gzip.compress(body())[:40], refused("it is cut off"), {"content-encoding": "gzip"}),
    Case("brotli", b"x", refused("'br' is not supported", 415), {"content-encoding": "br"}),
    Case("gzip in zstd", b"x", refused("'gzip, zstd' is not", 415), {"content-encoding": "gzip, zstd"}),
    Case("no `model`", b"{}", refused("model: Field required")),
    Case("no messages", body(messages=[]), refused("messages")),
]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[httpx.Client, ScriptedProvider]]:
    provider = ScriptedProvider(lambda body: Reply("Hi"))
    with proxied(provider) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client, provider


Running = tuple[httpx.Client, ScriptedProvider]


def outcome(response: httpx.Response) -> Answered | Refused:
    """What the client sees. Raises AssertionError for what it should never see."""
    assert response.headers["request-id"].startswith("req_")
    if response.headers["content-type"].startswith("text/event-stream"):
        message = accumulate(response.content)
        return Answered(message["content"][0]["text"], message["stop_reason"])
    payload = response.json()
    if response.status_code == 200:
        return Answered("".join(block.get("text", "") for block in payload["content"]), payload["stop_reason"])
    assert payload["type"] == "error"
    assert payload["request_id"] == response.headers["request-id"]
    return Refused(response.status_code, payload["error"]["type"], payload["error"]["message"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_unusual_body(running: Running, case: Case) -> None:
    client, provider = running
    before = len(provider.requests)
    headers = {"content-type": "application/json", **(case.headers or {})}
    seen = outcome(client.post("/v1/messages", content=case.body, headers=headers))
    assert is_like(seen, case.seen), seen
    assert len(provider.requests) - before == (case.seen == ANSWERED)
    streamed = case.body.replace(b'{"model"', b'{"stream":true,"model"', 1)
    if streamed != case.body:
        response = client.post("/v1/messages", content=streamed, headers=headers)
        assert is_like(outcome(response), case.seen)
    if isinstance(case.seen, Refused) and "max_tokens" not in case.name:  # counting has no max_tokens
        counted = client.post("/v1/messages/count_tokens", content=case.body, headers=headers)
        assert counted.status_code == case.seen.status


def test_last_of_two_keys_counts(running: Running) -> None:
    client, provider = running
    client.post("/v1/messages", content=body()[:-1] + b',"model":"n"}')
    assert provider.requests[-1].body["model"] == "n"


def test_value_of_a_wrong_type_is_answered_or_refused_everywhere(running: Running) -> None:
    """Each value of a request that has everything, one after the other, is replaced by each of the wrong ones."""
    client, _ = running
    seen: dict[int, int] = {}
    for level in range(len(places(EVERYTHING))):
        for index in range(len(places(EVERYTHING)[level])):
            for value in WRONG:
                spoilt = json.loads(json.dumps(EVERYTHING))
                container, key = places(spoilt)[level][index]
                container[key] = value
                response = client.post("/v1/messages", json=spoilt)
                got = outcome(response)
                assert isinstance(got, Answered) or (got.status, got.type) == (400, "invalid_request_error"), spoilt
                seen[response.status_code] = seen.get(response.status_code, 0) + 1
    assert seen.keys() == {200, 400}
    assert min(seen.values()) > 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PROPFIND", "/v1/messages", 405, "POST"), ("TRACE", "/v1/messages", 405, "POST"),
        ("OPTIONS", "/v1/messages", 405, "POST"), ("OPTIONS", "*", 404, None), ("POST", "//v1/messages", 404, None),
        ("POST", "/v1/messages/", 404, None), ("POST", "/v1/messages%00", 404, None), ("GET", "/%ff%fe", 404, None),
        ("POST", "/v1/messages/../messages", 404, None), ("GET", "/" + "a" * 60_000, 404, None),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
async def test_unknown_method_or_path(running: Running, method: str, path: str, status: int, allow: str | None) -> None:
    async with connected(str(running[0].base_url)) as client:
        await client.send(head(path, f"content-length: {len(body())}", method=method) + body())
        answer = await client.answer()
        assert (answer.status, answer.headers.get("allow")) == (status, allow)
        assert answer.json()["type"] == "error"
        await client.send(whole(body()))  # the connection is still good
        assert (await client.answer()).status == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "request_",
    [
        head("/v1/messages", method="BREW"), head("/v1/messages", method="post"), head("/\xff"), head("v1/messages"),
        head("/v1/messages", "content-length: x"), head("/v1/messages", "content-length: -1"), b"\x16\x03\x01\x02\r\n",
        head("/v1/messages", "content-length: 5", "content-length: 6"), head("/v1/messages", "x: a\x00b"),
        head("/v1/messages", "transfer-encoding: chunked") + b"zz\r\n", head("/v1/messages", "bad name: x"),
    ],
    ids=lambda data: repr(data[:70]),
)  # fmt: skip
async def test_what_is_no_http_is_refused_by_the_server(running: Running, request_: bytes) -> None:
    before = len(running[1].requests)
    async with connected(str(running[0].base_url)) as client:
        await client.send(request_)
        status, _ = await client.answer_head()
        assert status == 400
        await client.rest()  # and closes
    assert len(running[1].requests) == before


def rows() -> list[Row]:
    """For docs/reliability.md."""
    test = test_unusual_body.__name__
    cases = [Row(f"sends {case.name}", str(case.seen), str(case.seen), f"{test}[{case.name}]") for case in CASES]
    wrong = str(refused("the field's path, and what it should be"))
    methods = "404 or 405 in Anthropic's form"
    return [
        *cases,
        Row(
            "sends a value of a wrong type",
            f"the answer, or {wrong}",
            f"the answer, or {wrong}",
            test_value_of_a_wrong_type_is_answered_or_refused_everywhere.__name__,
        ),
        Row("uses an unknown method or path", methods, methods, test_unknown_method_or_path.__name__),
        Row(
            "speaks no HTTP",
            "400 from the server",
            "400 from the server",
            "test_what_is_no_http_is_refused_by_the_server",
        ),
    ]
