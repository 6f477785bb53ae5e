"""The responses below ``/ui``: the page, its data, and the replay of a request."""

import re
import shlex
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from ..auth import ADMITTED_AS, AdminKeys, ClientKeys
from ..toolkit.asgi import BufferedBody, Headers, route_path, with_path
from ..toolkit.errors import ApiError, StreamAborted, send_error
from ..toolkit.json import dumps
from ..toolkit.record import get_record
from ..toolkit.sse import sse_event
from .access import Access
from .cases import answer_case, request_case
from .exchanges import Call, Exchange, Exchanges
from .history import History, as_list, documents, recorded_call
from .redaction import Redaction
from .sessions import session_file
from .usage import MAX_DAYS, Budgets, Usage, usage_document
from .views import detail, look_for_words, request_body, summary

SendAgain = Callable[[Scope, Receive, Send, str], Awaitable[None]]

_STATIC = Path(__file__).parent / "static"
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

# Nothing but the page's own files. With trusted types the browser refuses every way of creating HTML from a string.
_CSP = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
MAX_LINES = 500  # of the history, in one answer
MAX_WORDS = 20  # of a search
_CURL_HEADERS = ("anthropic-version", "anthropic-beta")
_REPLAYED_HEADERS = (*_CURL_HEADERS, "accept")
_OF_VIEWER = (
    b"authorization",
    b"x-api-key",
    b"x-cc-boost-key",
    b"host",
)  # the headers on which an inner AuthMiddleware decides


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the page's data."""

    exchanges: Exchanges
    history: History | None = None
    usage: Usage | None = None
    budgets: Budgets | None = None


class Pages:
    """The app below ``/ui``.

    ``send_again(scope, receive, send, id)`` answers a request that repeats the exchange ``id``.
    """

    heartbeat = 10.0  # seconds without a change until a comment is sent to keep the connection alive
    events_limit = 60.0  # seconds; the page reconnects. A server that shuts down waits for answers to end.
    max_viewers = 50  # concurrently open pages, each of which may leave data unread
    batch = 0.15  # seconds for which changes are collected

    def __init__(
        self,
        sources: "Sources",
        send_again: SendAgain,
        keys: ClientKeys,
        admin: AdminKeys,
        options: Mapping[str, Any],
    ) -> None:
        self._exchanges = sources.exchanges
        self._history = sources.history
        self._usage = sources.usage
        self._budgets = sources.budgets
        self._send_again = send_again
        self._options = options
        self._access = Access(keys, admin)
        self._admin = admin
        self.redact = Redaction(lambda: (*keys.texts(), *admin.texts()))
        one = "/ui/api/exchanges/{id}"
        routes = [
            Route("/ui/api/exchanges", self._list),
            Route("/ui/api/events", self._events),
            Route("/ui/api/session", self._session),
            Route("/ui/api/history", self._search),
            Route("/ui/api/usage", self._used),
            Route(one, self._detail),
            Route(f"{one}/case", self._case),
            Route(f"{one}/curl", self._curl),
            Route("/ui", self._to_page),
            Route("/ui/", self._file),
            Route("/ui/{name:path}", self._file),
        ]
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        is_data = path.startswith("/ui/api/")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = {**_HEADERS, "cache-control": "no-store" if is_data else "no-cache"}
                headers = [*message["headers"], *((name.encode(), value.encode()) for name, value in added.items())]
                message = {**message, "headers": headers}
            try:
                with anyio.fail_after(self.events_limit):
                    await send(message)
            except TimeoutError:
                raise StreamAborted("the page doesn't read what it has asked for") from None

        try:
            if not is_data:
                self._access.check_page(scope)
            elif path.endswith("/replay"):
                admin = self._access.check_action(scope)
                return await self._replay(path.split("/")[-2], scope, receive, send, admin)
            else:
                self._access.check_data(scope)
            await self._router(scope, receive, send_guarded)
        except HTTPException as error:
            await PlainTextResponse(error.detail, error.status_code)(scope, receive, send_guarded)
        except ApiError as error:
            if is_data:
                await send_error(scope, send_guarded, error)
            else:
                await PlainTextResponse(error.message, error.status)(scope, receive, send_guarded)

    async def _to_page(self, request: Request) -> Response:
        return RedirectResponse("ui/")

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        content = _files().get(name)
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type=_MEDIA_TYPES[Path(name).suffix])

    async def _list(self, request: Request) -> Response:
        self._check_worker(request.query_params.get("worker", ""))
        return _json(await self._everything())

    async def _events(self, request: Request) -> Response:
        """The list, then its changes, as server-sent events."""
        self._check_worker(request.query_params.get("worker", ""))
        if self._exchanges.viewers >= self.max_viewers:
            raise ApiError(529, "overloaded_error", f"{self.max_viewers} pages are open already")
        return _Stream(self._live(), "text/event-stream")

    async def _live(self) -> AsyncGenerator[bytes, None]:
        end = monotonic() + self.events_limit
        with self._exchanges.watch() as viewer:
            yield sse_event("everything", await self._everything())
            while monotonic() < end:
                await viewer.wait(self.heartbeat)
                await anyio.sleep(self.batch)
                if changed := viewer.take():
                    yield sse_event("changes", await self._changes(changed))
                else:
                    yield b":\n\n"

    async def _everything(self) -> dict[str, Any]:
        exchanges = self._exchanges
        return {
            "worker": exchanges.worker,
            "max_exchanges": exchanges.max_exchanges,
            "max_bytes": exchanges.max_bytes,
            "history": self._history is not None,
            "usage": self._usage is not None,
            **await self._changes(exchanges),
        }

    async def _changes(self, exchanges: Iterable[Exchange]) -> dict[str, Any]:
        """Some exchanges, and other data that may have changed with them."""
        await look_for_words(exchanges, self.redact)
        return {
            "exchanges": [summary(exchange) for exchange in exchanges],
            "oldest": next((exchange.id for exchange in self._exchanges), None),
            "size": self._exchanges.size,
            "minutes": self._exchanges.minutes.columns(),
        }

    async def _detail(self, request: Request) -> Response:
        exchange = self._look(request)
        if exchange is None:
            return Response(await self._from_history(request), media_type="application/json")
        await look_for_words([exchange], self.redact)
        return _json(detail(exchange, self.redact))

    async def _session(self, request: Request) -> Response:
        """``?id=``: every stored exchange of a session, as a file to download; ``?worker=`` as for events."""
        self._check_worker(request.query_params.get("worker", ""))
        session = request.query_params.get("id", "")
        kept = [exchange for exchange in self._exchanges if exchange.record.session_id == session]
        await look_for_words(kept, self.redact)
        ids = {exchange.id for exchange in kept}
        if self._history is not None:
            ids.update(await self._history.session(session))
        if not ids:
            raise ApiError(404, "not_found_error", "no exchange of this session is kept")
        name = re.sub("[^A-Za-z0-9]+", "-", session)[:80]
        source = session_file(session, documents(sorted(ids), self._exchanges.find, self._history, self.redact))
        return _Stream(source, "application/json", f'attachment; filename="session-{name}.json"')

    async def _search(self, request: Request) -> Response:
        """Lines of the history, newest first: ``?words=`` that all occur in them, ``?before=`` an id, ``?limit=``."""
        if self._history is None:
            raise ApiError(404, "not_found_error", "there is no history: HISTORY=true keeps one")
        asked = request.query_params
        limit = _number(asked.get("limit"), 100, MAX_LINES)
        words = asked.get("words", "").lower().split()[:MAX_WORDS]
        lines = await self._history.search(words, before=asked.get("before") or None, limit=limit + 1)
        content = as_list("exchanges", lines[:limit], more=len(lines) > limit)
        return Response(content, media_type="application/json")

    async def _used(self, request: Request) -> Response:
        """The cost of the last ``?days=``."""
        if self._usage is None:
            raise ApiError(404, "not_found_error", "nothing is written down over days: LEDGER=true does that")
        days = _number(request.query_params.get("days"), 14, MAX_DAYS)
        return _json(await usage_document(self._usage, self._budgets, days))

    async def _case(self, request: Request) -> Response:
        """``?of=request`` (the default) or ``?of=answer``, as a file to download."""
        exchange = self._find(request)
        make = answer_case if request.query_params.get("of") == "answer" else request_case
        case = make(exchange, self._options, self.redact)
        return Response(
            orjson.dumps(case, option=orjson.OPT_INDENT_2) + b"\n",
            media_type="application/json",
            headers={"content-disposition": f'attachment; filename="{case["name"]}.json"'},
        )

    async def _curl(self, request: Request) -> Response:
        """The client's request as a command line; ``?base=`` is the proxy's URL as the viewer's browser has it."""
        call = await self._recorded(request)
        base = request.query_params.get("base") or str(request.base_url)
        headers = [f"{name}: {value}" for name, value in call.headers if name in _CURL_HEADERS and value]
        shown = ["content-type: application/json", *headers]
        lines = [
            f"curl {shlex.quote(base.rstrip('/') + call.path)}",
            '-H "x-api-key: $ANTHROPIC_API_KEY"',
            *(f"-H {shlex.quote(header)}" for header in shown),
            f"--data-binary {shlex.quote(self._whole_request(call).decode(errors='replace'))}",
        ]
        return PlainTextResponse(" \\\n  ".join(lines) + "\n")

    async def _replay(self, id: str, scope: Scope, receive: Receive, send: Send, admin: str | None) -> None:
        """Answer with the app's answer to the recorded request, sent with the viewer's own credentials.

        ``admin``: the name of the admin key that allows it; the key itself is not passed on.
        """
        if scope["method"] != "POST":
            raise ApiError(405, "invalid_request_error", "a replay is a POST", headers=[("allow", "POST")])
        call = await self._recorded(Request({**scope, "path_params": {"id": id}}))
        body = self._whole_request(call)
        headers: Headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if admin is None:
            headers += [(k, v) for k, v in scope["headers"] if k.lower() in _OF_VIEWER]
        else:
            headers += [(k, v) for k, v in scope["headers"] if k.lower() == b"host"]
            headers += self._admin.client_credential(scope)
        headers += [(k.encode(), v.encode("latin-1")) for k, v in call.headers if k in _REPLAYED_HEADERS and v]
        if (record := get_record(scope)) is not None:
            record.path = call.path  # observers see it as a client would have sent it
        again = {**with_path(scope, call.path), "query_string": b"", "headers": headers}
        again |= {} if admin is None else {ADMITTED_AS: admin, "ccproxy.client_headers": headers}
        await self._send_again(again, BufferedBody(receive, body), send, id)

    def _whole_request(self, call: Call) -> bytes:
        """The decoded body of a request. Raises ApiError if it was not kept completely."""
        if call.is_cut:
            raise ApiError(409, "conflict_error", "this exchange was too large to be kept whole")
        try:
            return request_body(call, self.redact)
        except ValueError as error:
            raise ApiError(409, "conflict_error", str(error)) from None

    def _find(self, request: Request) -> Exchange:
        """Raises ApiError for an exchange that is not in this process's memory."""
        exchange = self._look(request)
        if exchange is None:
            raise ApiError(409, "conflict_error", "this exchange is out of the history, and makes no such test case")
        return exchange

    def _look(self, request: Request) -> Exchange | None:
        """The exchange of a request, if it is in memory here; None: the history may have it. Raises ApiError."""
        exchange = self._exchanges.find(request.path_params["id"])
        if exchange is None and self._history is None:
            self._check_worker(request.query_params.get("worker", ""))
            raise _gone()
        return exchange

    async def _from_history(self, request: Request) -> bytes:
        """The document of an exchange. Raises ApiError if it is neither there nor in another worker's memory."""
        document = None if self._history is None else await self._history.find(request.path_params["id"])
        if document is None:
            self._check_worker(request.query_params.get("worker", ""))
            raise _gone()
        return self.redact(document)

    async def _recorded(self, request: Request) -> Call:
        """The client's side of an exchange. Raises ApiError."""
        exchange = self._look(request)
        return recorded_call(await self._from_history(request)) if exchange is None else exchange.client

    def _check_worker(self, worker: str) -> None:
        """Raises ApiError, and closes the connection, if another process is meant: the next connection may reach it."""
        if worker.isdigit() and int(worker) != self._exchanges.worker:
            message = f"this is worker {self._exchanges.worker}, and worker {worker} is meant: ask again"
            raise ApiError(421, "not_found_error", message, headers=[("connection", "close")])


class _Stream(Response):
    """An answer generated piece by piece. Its source is closed at once however the answer ends."""

    def __init__(self, source: AsyncGenerator[bytes, None], media_type: str, disposition: str | None = None) -> None:
        super().__init__(media_type=media_type)
        self._source = source
        self._more = {} if disposition is None else {"content-disposition": disposition}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._source) as source:
            answer = StreamingResponse(source, headers=self._more, media_type=self.media_type)
            await answer(scope, receive, send)


def _gone() -> ApiError:
    """Closes the connection, since the next one may reach the worker that has the exchange."""
    return ApiError(404, "not_found_error", "this exchange is no longer kept", headers=[("connection", "close")])


def _number(text: str | None, default: int, most: int) -> int:
    return min(max(1, int(text)), most) if text is not None and text.isdecimal() and len(text) < 10 else default


def _json(document: Any) -> Response:
    return Response(dumps(document), media_type="application/json")


@cache
def _files() -> dict[str, bytes]:
    """The page's files by the path below ``/ui/``."""
    files = (path for path in _STATIC.rglob("*") if path.suffix in _MEDIA_TYPES)
    return {path.relative_to(_STATIC).as_posix(): path.read_bytes() for path in files}
