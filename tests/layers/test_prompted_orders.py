"""Prompted tools on either side of every neighbour: the same prompt for the model, the same call for the client."""

import json
import re
from collections.abc import Callable, Iterable
from itertools import combinations, permutations
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
    PromptedToolsMiddleware,
    SafeguardsMiddleware,
)
from ccproxy_middleware.toolkit.asgi import BufferedBody
from support.asgi import Answer, call, http_scope
from support.providers.toolless import Toolless, call_text
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

KEY = "client-key"
OTHERS = ("auth", "headers", "models", "safeguards", "boost", "conversion")
CANONICAL = (*OTHERS[:-1], "prompted", "conversion")
ORDERS = [
    (*order[: n % 7], "prompted", *order[n % 7 :]) for n, order in enumerate(permutations(OTHERS))
]  # each of the others' orders, with the new layer at every place in turn
SUBSETS = [subset for size in range(8) for subset in combinations(CANONICAL, size)]

LOOK = {
    "name": "look",
    "description": "Look up",
    "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
}
USED = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"n": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"}
REQUEST = {
    "model": "claude-haiku-4-5", "max_tokens": 100, "system": "Be brief.", "tools": [LOOK],
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, USED]},
        {"role": "user", "content": [RESULT]},
    ],
}  # fmt: skip


def answer(asked: str) -> str:
    return call_text("look", n=3) if "can't be read" in asked else f"So.\n{call_text('look', n='2')}"


def spoiled(asked: str) -> str:
    return call_text("look", n=3) if "can't be read" in asked else "So.\n<tool_call>look</tool_call>"


async def planner(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the planner is asked in a tier without boost")


LAYERS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "auth": lambda app: AuthMiddleware(app, api_keys=[KEY]),
    "headers": lambda app: CustomHeadersMiddleware(app, headers={"X-Team": "a"}),
    "models": lambda app: ModelMappingMiddleware(app, big="B", middle="M", small="S"),
    "safeguards": lambda app: SafeguardsMiddleware(app, model="claude-judge"),
    "boost": lambda app: BoostMiddleware(app, planner=planner, model="P", tiers=["BIG_MODEL"]),
    "prompted": lambda app: PromptedToolsMiddleware(app, boosted=["BIG_MODEL"]),
}


def stacked(names: Iterable[str], app: ASGIApp, api: str) -> ASGIApp:
    for name in reversed(list(names)):
        app = FormatConversionMiddleware(app, options={"api": api}) if name == "conversion" else LAYERS[name](app)
    return app


async def exchange(
    names: Iterable[str], stream: bool, api: str = "chat", script: Callable[[str], str] = answer, key: str = KEY
) -> tuple[list[Any], Answer]:
    provider = Toolless(script)
    scope = http_scope("POST", "/v1/messages", {"x-api-key": key, "content-type": "application/json"})
    got = await call(stacked(names, provider, api), scope, {**REQUEST, "stream": stream})
    return provider.bodies, got


def told(got: Answer) -> Any:
    """What the client learns, without what is new in each answer and the estimate at the start of a stream."""
    body = re.sub(r"(msg|req|toolu|call)_\w+", r"\1_id", got.body.decode())
    body = re.sub(r'("message_start".*"usage":)\{[^}]*\}', r"\g<1>{}", body)
    body = re.sub(r'event: ping\ndata: \{"type":"ping"\}\n\n', "", body)
    return (
        got.status,
        {n: got.headers.get(n) for n in ("content-type", "x-upstream-model")},
        re.sub(r"(toolu|call)_id", "id", body),
    )


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize(("api", "script"), [("chat", answer), ("chat", spoiled), ("responses", answer)])
async def test_every_order_gives_the_same_prompt_and_the_same_call(
    stream: bool, api: str, script: Callable[[str], str]
) -> None:
    upstream, expected = await exchange(CANONICAL, stream, api, script)
    assert ["tools" in body for body in upstream] == [True, False, *([False] if script is spoiled else [])]
    assert [body["model"] for body in upstream] == ["S"] * len(upstream)
    assert '"tool_use"' in expected.body.decode()
    prompts = [body for body in upstream if "tools" not in body]
    different = {}
    for order in ORDERS if api == "chat" and script is answer else ORDERS[::13]:
        bodies, other = await exchange(order, stream, api, script)
        asked = [body for body in bodies if "tools" not in body]
        if [_text(body) for body in asked] != [_text(body) for body in prompts] or told(other) != told(expected):
            different[order] = ([_text(body) for body in asked], told(other))
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {told(expected)}"


def _text(body: dict[str, Any]) -> Any:
    """A prompt, however its content is divided into parts; the schema as the conversion's dialect has it."""
    told = json.loads(json.dumps(body))
    for holder in told.get("messages") or told["input"]:
        content = holder["content"]
        holder["content"] = content if isinstance(content, str) else "\n\n".join(part["text"] for part in content)
    return re.sub(r"\\n<tools>.*?</tools>", "<tools>", json.dumps(told, sort_keys=True))


@pytest.mark.parametrize("names", SUBSETS, ids="-".join)
async def test_every_subset_gives_a_valid_answer(names: tuple[str, ...], stream: bool) -> None:
    """Without the conversion the provider speaks Anthropic's API; without the layer its refusal is told."""
    bodies, got = await exchange(names, stream)
    if "prompted" not in names:
        assert (got.status, len(bodies)) == (400, 1)
        assert "does not support tools" in got.body.decode()
        return
    assert (got.status, len(bodies)) == (200, 2)
    if stream:
        events = check_stream(got.body)
        assert [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"] == [
            "text",
            "tool_use",
        ]
        assert events[-2]["delta"]["stop_reason"] == "tool_use"
    else:
        assert [block["type"] for block in got.json()["content"]] == ["text", "tool_use"]
        assert got.json()["content"][1]["input"] == {"n": 2}
        assert got.json()["stop_reason"] == "tool_use"


async def test_wrong_key_is_refused_in_every_order(stream: bool) -> None:
    for order in ORDERS:
        bodies, got = await exchange(order, stream, key="wrong")
        assert (bodies, got.status) == ([], 401), order


async def test_stranger_is_refused_before_the_body_is_read() -> None:
    async def receive() -> Any:
        raise AssertionError("the body is read")

    got = Answer()

    async def send(message: Any) -> None:
        got.messages.append(message)

    layer = stacked(("prompted", "auth"), Toolless(answer), "chat")
    await layer(http_scope("POST", "/v1/messages", {"x-api-key": "wrong"}), receive, send)
    assert got.status == 401


async def test_boosted_tier_is_left_to_boost_in_every_order() -> None:
    asked: list[Any] = []

    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append((await BufferedBody.read(scope, receive, 1 << 20)).data)
        await Toolless(lambda _: "Yes.", refuses=False)(scope, BufferedBody(receive, data=asked[-1]), send)

    async def plans(scope: Scope, receive: Receive, send: Send) -> None:
        await BufferedBody.read(scope, receive, 1 << 20)
        await Toolless(lambda _: "ANALYSIS: a\nGUIDANCE: call look", refuses=False)(
            {**scope, "path": "/v1/chat/completions"},
            BufferedBody(receive, data={"stream": True, "messages": [{"role": "user", "content": "plan"}]}),
            send,
        )

    for order in permutations(("models", "boost", "prompted", "conversion")):
        app: ASGIApp = provider
        for name in reversed(order):
            if name == "boost":
                app = BoostMiddleware(app, planner=plans, model="P", tiers=["BIG_MODEL"], max_loops=1)
            elif name == "prompted":
                app = PromptedToolsMiddleware(app, options={"tools": "prompted"}, boosted=["BIG_MODEL"])
            else:
                app = stacked((name,), app, "chat")
        asked.clear()
        got = await call(app, http_scope("POST", "/v1/messages"), {**REQUEST, "model": "claude-opus-4-8"})
        assert got.headers["x-boost-outcome"] == "guidance", order
        assert all("tools" in body for body in asked), order
