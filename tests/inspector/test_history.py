"""What the inspector hands to a history, and what it shows of it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy_middleware import AuthMiddleware, FormatConversionMiddleware, InspectorMiddleware
from support.asgi import Answer, Inner, call, http_scope
from support.serving.kept import Group, MemoryHistory

pytestmark = pytest.mark.anyio

KEY = "a client key of some length"
OPENAI = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'


def said(words: str) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": words}]}


def made(history: MemoryHistory, *, max_exchanges: int = 1, **more: Any) -> InspectorMiddleware:
    """An inspector that remembers one exchange, before a model that says Hi."""
    model = InspectorMiddleware(Inner(OPENAI), provider="provider")
    auth = AuthMiddleware(FormatConversionMiddleware(model), api_keys=[KEY])
    return InspectorMiddleware(auth, api_keys=[KEY], history=history, max_exchanges=max_exchanges, **more)


async def ask(app: Any, words: str, *, key: str = KEY, session: str = "one") -> Answer:
    headers = {"x-api-key": key, "x-claude-code-session-id": session, "content-type": "application/json"}
    return await call(app, http_scope("POST", "/v1/messages", headers), said(words))


async def look(app: Any, path: str, query: bytes = b"", method: str = "GET") -> Answer:
    headers = {"host": "localhost", "x-api-key": KEY, "content-type": "application/json"}
    scope = http_scope(method, f"/ui/api/{path}", headers, client=("127.0.0.1", 1))
    return await call(app, {**scope, "query_string": query}, {} if method == "POST" else b"")


async def test_exchange_is_kept_and_found_when_it_has_left_the_memory() -> None:
    history = MemoryHistory()
    app = made(history)
    for words in ("first", f"second, with the key {KEY}", "third"):
        assert (await ask(app, words)).status == 200
    assert len((await look(app, "exchanges")).json()["exchanges"]) == 1
    found = (await look(app, "history")).json()
    assert [line["said"] for line in found["exchanges"]] == ["third", "second, with the key [redacted]", "first"]
    assert found["more"] is False
    shown = (await look(app, f"exchanges/{found['exchanges'][1]['id']}")).json()
    assert shown["kept"] is True
    assert shown["client"]["request"]["json"]["messages"][0]["content"] == "second, with the key [redacted]"
    assert shown["providers"][0]["answer"]["json"] == json.loads(OPENAI)
    assert shown["client"]["answer"]["json"]["content"] == [{"type": "text", "text": "Hi"}]
    kept = b"".join(entry.document + entry.line + entry.words.encode() for entry in history.entries.values())
    assert KEY.encode() not in kept
    assert all(size > 0 for size in history.sizes)


async def test_history_is_searched_page_by_page() -> None:
    history = MemoryHistory()
    app = made(history)
    for n in range(5):
        await ask(app, f"Look at Dates {n}" if n % 2 == 0 else f"other {n}", session=f"session-{n}")
    ids = sorted(history.entries, reverse=True)
    page = (await look(app, "history", b"limit=2")).json()
    assert ([line["id"] for line in page["exchanges"]], page["more"]) == (ids[:2], True)
    page = (await look(app, "history", f"limit=3&before={ids[1]}".encode())).json()
    assert ([line["id"] for line in page["exchanges"]], page["more"]) == (ids[2:], False)
    page = (await look(app, "history", b"words=DATES+look")).json()
    assert [line["said"] for line in page["exchanges"]] == ["Look at Dates 4", "Look at Dates 2", "Look at Dates 0"]
    assert len((await look(app, "history", b"words=session-3")).json()["exchanges"]) == 1
    assert len((await look(app, "history", b"limit=x")).json()["exchanges"]) == 5


async def test_kept_exchange_is_sent_again_exported_and_copied() -> None:
    history = MemoryHistory()
    app = made(history)
    for words in ("first", "second", "third"):
        await ask(app, words)
    oldest, *_ = sorted(history.entries)
    again = await look(app, f"exchanges/{oldest}/replay", method="POST")
    assert (again.status, again.json()["content"][0]["text"]) == (200, "Hi")
    newest = (await look(app, "history", b"limit=1")).json()["exchanges"][0]
    assert (newest["replay_of"], newest["said"]) == (oldest, "first")
    session = (await look(app, "session", b"id=one")).json()
    assert [exchange["said"] for exchange in session["exchanges"]] == ["first", "second", "third"]
    assert "first" in (await look(app, f"exchanges/{oldest}/curl")).body.decode()
    case = await look(app, f"exchanges/{oldest}/case")
    assert (case.status, "out of the history" in case.body.decode()) == (409, True)
    assert (await look(app, "exchanges/nothing")).status == 404


async def test_wrong_key_fills_no_history() -> None:
    history = MemoryHistory()
    app = made(history)
    assert (await ask(app, "hi", key="wrong")).status == 401
    assert history.entries == {}
    for path in ("history", "exchanges/x", "session", "usage"):
        scope = http_scope("GET", f"/ui/api/{path}", {"host": "localhost"}, client=("127.0.0.1", 1))
        assert (await call(app, scope)).status == 401


async def test_stream_that_was_broken_off_is_kept_as_it_was() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        message: Message = {"type": "http.response.body", "body": b'data: {"type":"ping"}\n\n', "more_body": True}
        await send(message)
        raise RuntimeError("bug")

    history = MemoryHistory()
    app = InspectorMiddleware(broken, history=history)
    with pytest.raises(RuntimeError):
        await ask(app, "hi")
    (entry,) = history.entries.values()
    document = json.loads(entry.document)
    assert (document["state"], document["client"]["ended"]) == ("failed", None)
    assert [event["json"] for event in document["client"]["answer"]["events"]] == [{"type": "ping"}]


async def test_without_a_history_the_page_says_how_to_have_one() -> None:
    app = InspectorMiddleware(Inner())
    everything = (await look(app, "exchanges")).json()
    assert (everything["history"], everything["usage"]) == (False, False)
    assert "HISTORY=true" in (await look(app, "history")).body.decode()
    assert "LEDGER=true" in (await look(app, "usage")).body.decode()


class Used:
    def __init__(self) -> None:
        self.asked: list[tuple[str, datetime | None]] = []

    async def groups(self, by: str, since: datetime | None = None) -> Sequence[Group]:
        self.asked.append((by, since))
        return [Group(f"{by} 1"), Group(None)]


async def test_usage_of_days_is_told() -> None:
    async def budgets() -> list[dict[str, Any]]:
        return [{"key": "ana", "period": "daily", "spent": 1.5, "cap": 2.0, "reset": 1_800_000_000}]

    used = Used()
    app = InspectorMiddleware(Inner(), usage=used, budgets=budgets)
    told = (await look(app, "usage", b"days=7")).json()
    assert [by for by, _ in used.asked] == ["day", "model", "class", "key"]
    today = datetime.now().astimezone()
    assert told["until"] == today.date().isoformat()
    assert told["since"] == (today - timedelta(days=6)).date().isoformat()
    first = used.asked[0][1]
    assert first is not None
    assert (first.tzinfo, first.astimezone().date().isoformat()) == (UTC, told["since"])
    counts = {"requests": 2, "failed": 1, "input": 30, "cached": 20, "cache_write": 10, "output": 5, "unpriced": 0}
    assert told["models"] == [{"name": name, **counts, "cost": 0.0125} for name in ("model 1", None)]
    assert told["budgets"][0]["key"] == "ana"
