"""Exchanges that outlive this process: the interface of a store for them, and the entries that it gets."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..toolkit.json import dumps, loads
from .exchanges import Call, Exchange
from .views import Document, Redact, detail, find_words, summary

_SEARCHED = (
    *("id", "request_id", "path", "client_key", "client_model", "model", "upstream", "status", "state", "error"),
    *("session_id", "agent_id", "agent_type", "request_class", "said", "after"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An exchange as it is stored, without secrets.

    ``line`` and ``document`` are JSON, for the list and for the exchange's own page. ``words``: the text that a search
    looks at, in lower case. ``time``: of the start, in seconds since the epoch. Ids sort by the start, too.
    """

    id: str
    time: float
    session: str | None
    words: str
    line: bytes
    document: bytes


class History(Protocol):
    """Stores exchanges for all processes that share it."""

    def keep(self, size: int, make: Callable[[], Entry]) -> None:
        """Store an exchange; it takes about ``size`` bytes until ``make`` is called. Never blocks, and never raises.

        ``make`` takes long, may be called in another thread, and is called at most once.
        """
        ...

    async def find(self, id: str) -> bytes | None:
        """The document of an exchange; None if there is none with this id."""
        ...

    async def search(self, words: Sequence[str], *, before: str | None, limit: int) -> list[bytes]:
        """The lines of exchanges that contain each of these words, newest first, all older than ``before``."""
        ...

    async def session(self, session: str) -> list[str]:
        """The ids of the exchanges of a session, oldest first."""
        ...


def keep(history: History, exchange: Exchange, redact: Redact) -> None:
    """Pass a completed exchange to the history, which creates its entry."""
    kept = replace(exchange, client=_copy(exchange.client), provider=[_copy(call) for call in exchange.provider])
    history.keep(exchange.size, lambda: _entry(kept, redact))


def _copy(call: Call) -> Call:
    """A snapshot of the call: its chunks stay, even if the exchange is removed."""
    return replace(call, request=list(call.request), answer=list(call.answer))


def _entry(exchange: Exchange, redact: Redact) -> Entry:
    if exchange.words is None:
        exchange.words = find_words(exchange.client, redact)
    line = summary(exchange)
    document = {**detail(exchange, redact), "kept": True}
    said = (str(line[name]) for name in _SEARCHED if line.get(name) is not None)
    return Entry(
        exchange.id, exchange.record.time, line["session_id"], " ".join(said).lower(), dumps(line), dumps(document)
    )


def recorded_call(document: bytes) -> Call:
    """The client's call in a document, with its request only."""
    parsed: dict[str, Any] = loads(document)
    client = parsed["client"]
    request = client["request"]
    headers = [(name, value) for name, value in request["headers"]]
    call = Call("client", request["method"], request["path"], headers, is_cut=client["cut"])
    body = dumps(request["json"]) if "json" in request else request.get("text", "").encode()
    plain = [(name, value) for name, value in headers if name != "content-encoding"]
    return replace(call, headers=plain, request=[body])


async def documents(
    ids: Sequence[str], look: Callable[[str], Exchange | None], history: History | None, redact: Redact
) -> AsyncGenerator[bytes, None]:
    """The exchanges with these ids as JSON; those of this process are looked up in memory first."""
    for id_ in ids:
        exchange = look(id_)
        if exchange is not None:
            yield dumps(detail(exchange, redact))
        elif history is not None and (document := await history.find(id_)) is not None:
            yield document


def as_list(name: str, documents: Sequence[bytes], **more: Any) -> bytes:
    """A JSON object with a list of documents that are serialized already."""
    head: Document = more
    start = dumps(head)[:-1] + (b"," if head else b"")
    return start + dumps(name) + b":[" + b",".join(documents) + b"]}"
