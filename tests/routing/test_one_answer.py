"""Whatever the candidates do, the client gets one answer of one of them, or one error: checked over many scripts.

``PROPERTY_EXAMPLES=20000 pytest --timeout=0 tests/routing/test_one_answer.py`` looks longer.
"""

import asyncio
import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Scope, Send

from ccproxy_middleware import RoutingMiddleware
from ccproxy_middleware.routing import Pace
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted, error_event
from ccproxy_middleware.toolkit.sse import SSEParser
from support.asgi import Answer, call, http_scope
from support.providers.targets import Behaviour, Target, answers, breaks_off, frames, more, start, status, waits
from support.streams.grammar import check_stream

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "60"))


class Hasty(RoutingMiddleware):
    first_event_grace = 0.004
    ping_interval = 0.003


def in_pieces(sizes: list[int], fails_at: int | None) -> Behaviour:
    """A good answer cut anywhere, or one that breaks off after so many bytes."""

    async def behave(target: Target, scope: Scope, send: Send) -> None:
        if target.requests[-1].get("stream") is not True:
            return await answers(target, scope, send)
        whole = b"".join(frames(target.name))
        rest = whole if fails_at is None else whole[: fails_at % len(whole)]
        await start(send)
        at = 0
        while rest:
            size = sizes[at % len(sizes)]
            await more(send, rest[:size])
            rest = rest[size:]
            at += 1
            if at % 9 == 0:
                await asyncio.sleep(0)
        if fails_at is not None:
            error = ApiError(502, "api_error", "broke off", reason="server")
            await more(send, error_event(scope, error, cut=True))
            raise StreamAborted(error.message, error)
        await send({"type": "http.response.body", "body": b""})

    return behave


SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=4)
BEHAVIOURS = st.one_of(
    st.sampled_from((400, 401, 402, 403, 404, 408, 429, 500, 503, 529)).map(status),
    st.builds(in_pieces, SIZES, st.none() | st.integers(0, 2000)),
    st.builds(breaks_off, st.integers(0, 6), told=st.booleans()),
    st.just(answers),
)
SLOWLY = st.builds(waits, st.sampled_from((0.0, 0.006, 0.012)), BEHAVIOURS) | BEHAVIOURS


def said(answer: Answer, aborted: StreamAborted | None) -> str | None:
    """Whose answer it is; None for an error. Raises AssertionError for what no client may see."""
    kinds = [message["type"] for message in answer.messages]
    assert kinds.count("http.response.start") == 1
    assert kinds[0] == "http.response.start"
    is_whole = len(kinds) > 1 and answer.complete
    if answer.headers.get("content-type") == "application/json":
        if aborted is not None:
            assert not is_whole
            return None
        assert is_whole
        return answer.json()["content"][0]["text"] if answer.status == 200 else None
    assert answer.status == 200
    body = answer.body
    if aborted is not None:
        assert not is_whole
        parser = SSEParser()  # not the grammar: what a last candidate says passes as it is, with half an event in it
        types = [json.loads(data)["type"] for data in parser.feed(body) if data.endswith(b"}")]
        assert types.count("message_start") <= 1
        return None
    assert is_whole
    received = check_stream(body)
    assert received[-1]["type"] == "message_stop"
    return "".join(event["delta"]["text"] for event in received if event["type"] == "content_block_delta")


@given(
    scripts=st.lists(st.lists(SLOWLY, min_size=1, max_size=2), min_size=1, max_size=4),
    keys=st.integers(1, 3),
    stream=st.booleans(),
    paced=st.booleans(),
)
@settings(max_examples=EXAMPLES, deadline=None, derandomize="PROPERTY_EXAMPLES" not in os.environ)
def test_client_gets_one_answer_of_one_candidate(
    scripts: list[list[Behaviour]], keys: int, stream: bool, paced: bool
) -> None:
    async def run() -> None:
        names = [f"u{number}" for number in range(len(scripts))]
        targets = {name: Target(name, *script) for name, script in zip(names, scripts, strict=True)}
        pools = {name: [f"{name}k{number}" for number in range(keys)] for name in names}
        paces = {name: Pace(name, concurrency=1) for name in names} if paced else {}
        app = Hasty(Target("default"), targets=targets, keys=pools, paces=paces, queue_timeout=0.05)

        async def one() -> None:
            candidates = tuple(f"{name}:m" for name in names)
            scope = {**http_scope("POST", "/v1/messages"), "ccproxy.candidates": candidates}
            request: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [], "stream": stream}
            answer = Answer()
            aborted: StreamAborted | None = None
            try:
                await call(app, scope, request, answer=answer)
            except StreamAborted as abort:
                aborted = abort
            who = said(answer, aborted)
            assert who is None or who in names
            if who is not None:
                assert f"upstream={who};" in answer.headers["x-cc-boost-route"] or stream

        await asyncio.gather(*(one() for _ in range(3)))
        for pace in paces.values():
            assert pace.waiting == 0
            assert await pace.try_enter(1) is not None

    asyncio.run(run())
