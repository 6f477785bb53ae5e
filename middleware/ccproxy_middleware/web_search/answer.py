"""One answer of the inner app, read as it arrives: what is sent to the client at once, and what the model searches
for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Message

from ..toolkit.answers import MAX_ANSWER_BYTES, parse_answer
from ..toolkit.asgi import get_header
from ..toolkit.errors import ApiError, error_type
from ..toolkit.json import dumps, loads
from ..toolkit.sse import EventTooLarge, SSEParser
from .backend import SearchResult
from .cited_text import CitedText
from .envelope import new_call_id
from .output import Block, Output, add_delta, finish_block

_TOLD_ONCE = ("type", "id", "role", "model", "content", "usage")


@dataclass(slots=True)
class SearchCall:
    """A search that the model calls. ``id`` is the id for the client, ``tool_use_id`` the one for the model."""

    id: str
    tool_use_id: str
    input: dict[str, Any]

    @property
    def query(self) -> str:
        value = self.input.get("query")
        return " ".join(value.split()) if isinstance(value, str) else ""


class ModelAnswer:
    """Processes the messages of the inner app (:meth:`send`), and writes to ``output``.

    name: the function that searches. found: the results that may be cited. wait: nothing of it is sent before a call.
    first: it begins the client's message.

    Everything after the first search is held until the answer is complete, since the search results come before it.

    started: it is an answer and not an error. whole: it has ended properly, with the event ``end``. content: its
    blocks. calls: the searches in it. calls_client: it calls tools of the client's. error: the failure that it reports.
    """

    def __init__(
        self, output: Output, *, name: str, found: Mapping[int, SearchResult], wait: bool, first: bool
    ) -> None:
        self.started = False
        self.whole = False
        self.end: Mapping[str, Any] = {}
        self.usage: dict[str, Any] = {}
        self.content: list[Block] = []
        self.calls: list[SearchCall] = []
        self.calls_client = False
        self.error: ApiError | None = None
        self.http_start: Message | None = None
        self.http_body = bytearray()  # of an answer that is not a stream
        self._output = output
        self._name = name
        self._found = found
        self._wait = wait
        self._first = first
        self._streams = False
        self._parser = SSEParser()
        self._pieces: list[str] = []  # of the last block
        self._held: list[Mapping[str, Any] | SearchCall] = []
        self._held_size = 0
        self._text: CitedText | None = None  # the block that is being written

    @property
    def stop_reason(self) -> Any:
        delta = self.end.get("delta")
        return delta.get("stop_reason") if isinstance(delta, Mapping) else None

    async def send(self, message: Message) -> None:
        """Process one message. Raises ApiError for an answer that is too long, or that can't be read."""
        if message["type"] == "http.response.start":
            self.http_start = {**message, "headers": list(message.get("headers", ()))}
            kind = get_header(self.http_start["headers"], b"content-type") or ""
            self._streams = message["status"] == 200 and kind.startswith("text/event-stream")
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), last=not message.get("more_body", False))

    def held(self) -> list[Mapping[str, Any] | SearchCall]:
        """The held items in order: events, and the searches after the first."""
        held, self._held = self._held, []
        return held

    async def show(self, event: Mapping[str, Any]) -> None:
        """Write the event of a block."""
        output = self._output
        match event["type"]:
            case "content_block_start" if event["content_block"].get("type") == "text":
                self._text = CitedText(output, self._found)
                if text := event["content_block"].get("text"):
                    await self._text.feed(text)
            case "content_block_start":
                await output.start_block(event["content_block"])
            case "content_block_delta" if self._text is not None:
                delta = event["delta"]
                if delta.get("type") == "text_delta":
                    await self._text.feed(delta["text"])
                elif delta.get("type") == "citations_delta":
                    await self._text.citation(delta["citation"])
            case "content_block_delta":
                await output.delta(event["delta"])
            case _ if self._text is not None:
                text_, self._text = self._text, None
                await text_.finish()
            case _:
                await output.stop_block()

    async def show_call(self, call: SearchCall) -> None:
        """Write the call of a search."""
        block = {"type": "server_tool_use", "id": call.id, "name": "web_search", "input": {}}
        await self._output.start_block(block)
        await self._output.delta({"type": "input_json_delta", "partial_json": dumps(call.input).decode()})
        await self._output.stop_block()

    async def _body(self, data: bytes, *, last: bool) -> None:
        if not self._streams:
            self.http_body += data
            if len(self.http_body) > MAX_ANSWER_BYTES:
                raise ApiError(502, "api_error", f"the provider's answer is over {MAX_ANSWER_BYTES} bytes")
            if last and self.http_start is not None and self.http_start["status"] == 200:
                await self._message(parse_answer(self.http_body))
            return
        try:
            events = self._parser.feed(data)
            if last:
                events += self._parser.finish()
        except EventTooLarge as error:
            raise ApiError(502, "api_error", str(error)) from error
        for event in events:
            try:
                read = loads(event)
            except ValueError:
                continue
            if isinstance(read, dict):
                await self._event(read)

    async def _message(self, message: Any) -> None:
        if isinstance(message, dict) and message.get("type") == "message":
            self.http_body.clear()
            for event in _events(message):
                await self._event(event)

    async def _event(self, event: dict[str, Any]) -> None:
        if self.whole or self.error is not None:
            return
        try:
            match event.get("type"):
                case "message_start":
                    await self._on_start(event["message"])
                case "content_block_start":
                    await self._on_block(event)
                case "content_block_delta":
                    add_delta(self.content[-1], self._pieces, event["delta"])
                    await self._pass(event)
                case "content_block_stop":
                    await self._on_stop(event)
                case "message_delta":
                    self.end = event
                    self.usage |= event.get("usage") or {}
                case "message_stop":
                    self.whole = bool(self.end)
                case "ping" if self.started:
                    await self._output.ping()
                case "error":
                    told = event["error"]
                    self.error = ApiError(502, str(told["type"]), str(told["message"]))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ApiError(502, "api_error", "the provider's answer is not a stream of Messages") from error

    async def _on_start(self, message: dict[str, Any]) -> None:
        if self.started:
            return
        self.started = True
        self.usage = dict(message.get("usage") or {})
        if self._first and self.http_start is not None:
            await self._output.start(self.http_start, message)

    async def _on_block(self, event: dict[str, Any]) -> None:
        block = dict(event["content_block"])
        self.content.append(block)
        self._pieces = []
        if block.get("type") == "tool_use" and block.get("name") != self._name:
            self.calls_client = True
        await self._pass(event)

    async def _on_stop(self, event: dict[str, Any]) -> None:
        block = self.content[-1]
        finish_block(block, self._pieces)
        if not self._is_search(block):
            return await self._pass(event)
        input_ = block.get("input")
        call = SearchCall(new_call_id(), str(block.get("id")), input_ if isinstance(input_, dict) else {})
        block["input"] = call.input
        self.calls.append(call)
        if len(self.calls) > 1:
            self._hold(call, len(self._pieces))
            return
        for held in self.held():
            if not isinstance(held, SearchCall):
                await self.show(held)
        await self.show_call(call)

    async def _pass(self, event: dict[str, Any]) -> None:
        """Send an event, or hold it; those of searches are neither sent nor held."""
        if self._is_search(self.content[-1]):
            return
        if not self.calls and not self._wait:
            return await self.show(event)
        self._hold(event, sum(len(value) for value in (event.get("delta") or {}).values() if isinstance(value, str)))

    def _hold(self, item: Mapping[str, Any] | SearchCall, size: int) -> None:
        self._held.append(item)
        self._held_size += size + 100
        if self._held_size > MAX_ANSWER_BYTES:
            raise ApiError(502, "api_error", f"the provider's answer is over {MAX_ANSWER_BYTES} bytes")

    def _is_search(self, block: Mapping[str, Any]) -> bool:
        return block.get("type") == "tool_use" and block.get("name") == self._name


def told_error(answer: ModelAnswer) -> ApiError:
    """The failure in an answer that is an error."""
    start = answer.http_start or {"status": 502}
    known = start.get("ccproxy.error")
    if isinstance(known, ApiError):
        return known
    status = start["status"] if start["status"] >= 400 else 502
    try:
        error = loads(bytes(answer.http_body))["error"]
        return ApiError(status, str(error["type"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return ApiError(status, error_type(status), f"the provider's answer has status {start['status']}")


def _events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a whole message."""
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    for n, block in enumerate(message["content"] or ()):
        begun = dict(block)
        deltas: list[dict[str, Any]] = []
        match block.get("type"):
            case "text":
                begun["text"] = ""
                deltas = [{"type": "text_delta", "text": block["text"]}]
                deltas += [{"type": "citations_delta", "citation": c} for c in begun.pop("citations", None) or ()]
            case "tool_use":
                begun["input"] = {}
                deltas = [{"type": "input_json_delta", "partial_json": dumps(block["input"]).decode()}]
        yield {"type": "content_block_start", "index": n, "content_block": begun}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": n, "delta": delta}
        yield {"type": "content_block_stop", "index": n}
    outcome = {name: value for name, value in message.items() if name not in _TOLD_ONCE}
    yield {"type": "message_delta", "delta": outcome, "usage": message.get("usage") or {}}
    yield {"type": "message_stop"}
