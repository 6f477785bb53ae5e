"""One request with the tool: the model is called, its searches are run, and it is called again."""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Scope

from ..toolkit.answers import Leaving
from ..toolkit.asgi import BufferedBody, without_headers
from ..toolkit.errors import ApiError, StreamAborted, request_id
from ..toolkit.record import get_record
from .answer import ModelAnswer, SearchCall, told_error
from .backend import SearchError, SearchQuery, SearchResult
from .envelope import new_call_id, seal
from .output import Block, Output
from .question import last_query
from .searches import Searches
from .tool import SearchTool, with_function, without_function
from .usage import total
from .words import error_text, results_text

logger = logging.getLogger("ccproxy.web_search")

Outcome = list[tuple[int, SearchResult]] | SearchError

_PING_INTERVAL = 10.0  # seconds
_CUT_OFF = "the provider's answer ended before it was complete"
_OVER = frozenset(("max_tokens", "refusal", "model_context_window_exceeded"))  # the stop reasons of a last answer
_NO_MORE = "No more searches can be made: answer with what is known by now."


class Turn:
    """Answers one request, whose ``data`` contains the tool; ``data`` must not be changed."""

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        leaving: Leaving,
        data: Mapping[str, Any],
        tool: SearchTool,
        *,
        searches: Searches,
        output: Output,
        size: int,
    ) -> None:
        headers = without_headers(scope["headers"], b"content-length", b"accept-encoding", b"transfer-encoding")
        self._app = app
        self._scope = {**scope, "headers": [*headers, (b"accept-encoding", b"identity")]}
        self._leaving = leaving
        self._data = with_function(data, tool)
        self._tool = tool
        self._searches = searches
        self._output = output
        self._size = size
        self._id = request_id(scope)
        self._left = tool.max_uses
        self._found: dict[int, SearchResult] = {}
        self._usages: list[Mapping[str, Any]] = []
        self._asked: list[Block] = []  # the messages that this turn has added
        self._succeeded = 0
        self._searching = 0.0  # seconds

    async def run(self) -> None:
        """Answer the client. Raises StreamAborted, and what the inner app raises."""
        try:
            while await self._step():
                pass
        except ApiError as error:
            await self._output.fail(error)
        finally:
            self._note()

    async def _step(self) -> bool:
        """Call the model once. Returns whether to call it again."""
        first = not self._usages
        answer = ModelAnswer(
            self._output, name=self._tool.name, found=self._found, wait=self._tool.forced and first, first=first
        )
        if not await self._ask(answer):
            return False
        self._usages.append(answer.usage)
        over = answer.calls_client or answer.stop_reason in _OVER
        if self._tool.forced and first and not answer.calls and not over:
            if not (query := last_query(self._data["messages"])):
                await self._show_held(answer, {})
                return await self._end(answer)
            call = SearchCall(new_call_id(), "toolu_" + secrets.token_hex(12), {"query": query})
            answer.content = [
                {"type": "tool_use", "id": call.tool_use_id, "name": self._tool.name, "input": call.input}
            ]
            answer.calls = [call]
            answer.held()
            await answer.show_call(call)
        if not answer.calls:
            await self._show_held(answer, {})
            return await self._end(answer)
        spent = self._left == 0  # it has called a function that it no longer has
        outcomes = await self._search(answer.calls)
        if outcomes is None:
            return False
        await self._show_results(answer.calls[0], outcomes[answer.calls[0].id], new=over)
        await self._show_held(answer, outcomes, new=over)
        if over or spent:
            return await self._end(answer)
        self._go_on(answer, outcomes)
        return True

    async def _ask(self, answer: ModelAnswer) -> bool:
        """Whether the answer is complete. Otherwise the client has got the error, or has disconnected."""
        body = BufferedBody(self._leaving, data=self._request(), size=self._size)
        try:
            await self._app(self._scope, body, answer.send)
        except StreamAborted as abort:
            if answer.error is None:
                answer.error = abort.error or ApiError(502, "api_error", _CUT_OFF)
        if answer.whole:
            return True
        if answer.error is not None:
            raise answer.error
        if body.disconnected or answer.http_start is None:
            return False
        if answer.started:
            raise ApiError(502, "api_error", _CUT_OFF)
        if self._output.begun or self._usages:
            raise told_error(answer)
        await self._output.relay(answer.http_start, bytes(answer.http_body))
        return False

    def _request(self) -> dict[str, Any]:
        if not self._asked:
            return dict(self._data)
        data = {**self._data, "messages": [*self._data["messages"], *self._asked]}
        if not self._left:
            data = without_function(data, self._tool)
        if "tool_choice" in data:
            choice = data["tool_choice"]
            auto = {name: choice[name] for name in ("disable_parallel_tool_use",) if name in choice}
            data["tool_choice"] = {"type": "auto", **auto}
        if "tools" not in data:  # calls are not allowed without tools
            data["messages"] = [*self._data["messages"], *map(_as_text, self._asked)]
        return data

    async def _search(self, calls: Sequence[SearchCall]) -> dict[str, Outcome] | None:
        """The results of all searches of an answer, by their ids; None if the client has disconnected meanwhile."""
        started = time.monotonic()
        allowed, self._left = self._left, max(0, self._left - len(calls))
        working = asyncio.gather(*(self._found_by(call, n < allowed) for n, call in enumerate(calls)))
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            while not working.done() and not leaving.done():
                done, _ = await asyncio.wait(
                    (working, leaving), timeout=_PING_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    await self._output.ping()
            if not working.done():
                return None
            found = working.result()
        finally:
            self._searching += time.monotonic() - started
            for task in (working, leaving):
                task.cancel()
            await asyncio.wait((leaving,))
        outcomes: dict[str, Outcome] = {}
        for call, results in zip(calls, found, strict=True):
            if isinstance(results, SearchError):
                outcomes[call.id] = results
                continue
            self._succeeded += 1
            numbered = list(enumerate(results, len(self._found) + 1))
            self._found.update(numbered)
            outcomes[call.id] = numbered
        return outcomes

    async def _found_by(self, call: SearchCall, allowed: bool) -> list[SearchResult] | SearchError:
        if not allowed:
            return SearchError("max_uses_exceeded", "no more searches may be made for this answer")
        if not call.query:
            return SearchError("invalid_tool_input", "the query is missing")
        tool = self._tool
        query = SearchQuery(call.query, tool.allowed_domains, tool.blocked_domains, tool.location)
        try:
            return await self._searches(query, self._id)
        except SearchError as error:
            return error

    async def _show_held(self, answer: ModelAnswer, outcomes: Mapping[str, Outcome], *, new: bool = False) -> None:
        for item in answer.held():
            if isinstance(item, SearchCall):
                await answer.show_call(item)
                await self._show_results(item, outcomes[item.id], new=new)
            else:
                await answer.show(item)

    async def _show_results(self, call: SearchCall, outcome: Outcome, *, new: bool) -> None:
        """``new``: the model has not seen them when the client returns them."""
        content: Any
        if isinstance(outcome, SearchError):
            content = {"type": "web_search_tool_result_error", "error_code": outcome.code}
        else:
            content = [_result_block(result, new=new) for _, result in outcome]
        await self._output.start_block({"type": "web_search_tool_result", "tool_use_id": call.id, "content": content})
        await self._output.stop_block()

    def _go_on(self, answer: ModelAnswer, outcomes: Mapping[str, Outcome]) -> None:
        """Append the answer and the results to the conversation."""
        results: list[Block] = []
        for call in answer.calls:
            outcome = outcomes[call.id]
            failed = isinstance(outcome, SearchError)
            text = (
                error_text(call.query, outcome)
                if isinstance(outcome, SearchError)
                else results_text(call.query, outcome)
            )
            result: Block = {"type": "tool_result", "tool_use_id": call.tool_use_id, "content": text}
            results.append({**result, "is_error": True} if failed else result)
        content = [block for block in answer.content if block.get("type") != "text" or block.get("text", "").strip()]
        self._asked += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
        if not self._left:
            results.append({"type": "text", "text": _NO_MORE})

    async def _end(self, answer: ModelAnswer) -> bool:
        end = dict(answer.end)
        if answer.calls and not answer.calls_client and answer.stop_reason == "tool_use":
            end["delta"] = {**end["delta"], "stop_reason": "end_turn"}
        usage = total(self._usages, self._succeeded)
        record = get_record(self._scope)
        if record is not None:
            record.usage, record.stop_reason = usage, end["delta"].get("stop_reason")
        await self._output.end({**end, "usage": usage})
        return False

    def _note(self) -> None:
        uses = self._tool.max_uses - self._left
        if uses:
            if (record := get_record(self._scope)) is not None:
                record.web_searches, record.web_searches_failed = uses, uses - self._succeeded
                record.web_search_seconds = self._searching
            logger.info(
                "searched: %d searches, %d of them with success, in %.0f ms; %d answers of the model (%s)",
                *(uses, self._succeeded, self._searching * 1000, len(self._usages), self._id),
            )


def _result_block(result: SearchResult, *, new: bool) -> Block:
    fields = {"t": result.title, "u": result.url, "x": result.text, **({"new": True} if new else {})}
    return {
        "type": "web_search_result",
        "url": result.url,
        "title": result.title,
        "page_age": result.age,
        "encrypted_content": seal(fields),
    }


def _as_text(message: Block) -> Block:
    """A message of this turn without calls and results, for a request without tools."""
    content: list[Block] = []
    for block in message["content"]:
        match block.get("type"):
            case "tool_use":
                content.append({"type": "text", "text": f'I search the web for "{block["input"].get("query", "")}".'})
            case "tool_result":
                content.append({"type": "text", "text": block["content"]})
            case "text":
                content.append(block)
    return {**message, "content": content}
