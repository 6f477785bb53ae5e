"""One boosted request: plan, execute, check the answer, and repeat if necessary."""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio
import anyio.lowlevel
from starlette.types import ASGIApp, Scope

from ..toolkit.asgi import BufferedBody, ClientDisconnected, Headers, without_headers
from ..toolkit.errors import ApiError, StreamAborted, request_id
from ..toolkit.record import get_calls, get_record
from .answer import ExecutorAnswer, WaitFor
from .conversation import Conversation, read_conversation
from .cut import cut_middle
from .dialect import Dialect, Payload
from .plan import Plan, PlanReader
from .planner import PlannerAnswer, PlannerError
from .plans import Plans
from .prompt import Placeholder, Template
from .reply import Reply
from .tools import offered_tools, tools_text
from .usage import Usage, as_cached, total

logger = logging.getLogger("ccproxy.boost")

Outcome = Literal["summary", "guidance", "fallback", "cached"]
T = TypeVar("T")

_MAX_ATTEMPT = 1_500  # characters of the failed attempts, for the planner
_NONE_YET = "None: this is the first."
_MUST_CALL = "\n\nThe next step has to be the call of a tool: SUMMARY is not allowed this time."


@dataclass(slots=True)
class _Record:
    """The cost of a request so far."""

    loops: int = 0
    usages: list[Usage] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    planning: float = 0.0  # seconds
    cache_hits: int = 0
    outcome: Outcome = "fallback"


class BoostLoop:
    """Answers one request. ``body`` must have been replayed: from then on it only reports a disconnect of the
    client.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        body: BufferedBody,
        data: Payload,
        *,
        dialect: Dialect,
        reply: Reply,
        plans: Plans,
        template: Template,
        max_loops: int,
    ) -> None:
        self._app = app
        headers = without_headers(scope["headers"], b"content-length", b"accept-encoding")
        self._scope = {**scope, "headers": [*headers, (b"accept-encoding", b"identity")]}
        self._body = body
        self._data = data
        self._dialect = dialect
        self._reply = reply
        self._plans = plans
        self._template = template
        self._max_loops = max_loops
        self._must_call = dialect.tool_choice(data) == "forced"
        self._request_id = request_id(scope)
        self._record = _Record()
        self._conversation: Conversation = read_conversation(data)
        self._texts: dict[Placeholder, str] = {
            "user_request": self._conversation.user_request,
            "tools_text": tools_text(offered_tools(data)) + (_MUST_CALL if self._must_call else ""),
            "conversation": self._conversation.text() if "conversation" in template.placeholders else "",
        }

    async def run(self) -> None:
        """Answer the client. Raises ClientDisconnected, StreamAborted, and what the inner app raises."""
        try:
            await self._loop()
        finally:
            record = self._record
            logger.info(
                "boosted: loops %d, outcome %s, planner %.0f ms (%s)",
                record.loops,
                record.outcome,
                record.planning * 1000,
                self._request_id,
            )
            self._write_down()

    def _write_down(self) -> None:
        record, known = self._record, get_record(self._scope)
        if known is not None:
            known.boost_loops, known.boost_outcome = record.loops, record.outcome
            known.boost_cache_hits = record.cache_hits
            known.usage = total(record.usages)  # an inner converter has recorded only its last answer

    async def _loop(self) -> None:
        record = self._record
        given: set[str] = set()
        best: ExecutorAnswer | None = None
        for record.loops in range(1, self._max_loops + 1):
            plan, cached = await _while_connected(self._body, self._plan)
            if plan is None:
                continue
            if plan.kind == "SUMMARY":
                return
            guidance = " ".join(plan.guidance.split())
            if guidance in given:
                break
            given.add(guidance)
            answer = await self._execute(plan, "cached" if cached else "guidance")
            if answer is None:
                return
            record.usages.append(answer.usage)
            if answer.failed:
                logger.warning("the executor failed with the guidance (%s)", self._request_id)
                break
            record.attempts.append(_told(plan, answer))
            if answer.is_answer:
                best = answer
        if best is None:
            await self._fall_back()
        else:
            record.outcome = "guidance"
            others = total(usage for usage in record.usages if usage is not best.usage)
            await best.release(headers=self._headers(), spent=others)

    async def _plan(self) -> tuple[Plan | None, bool]:
        """The next plan, and whether it was cached. None: there is no plan. A SUMMARY has been sent to the client."""
        record, reply = self._record, self._reply
        reader = PlanReader()
        text = ""
        started = time.monotonic()
        try:
            async with aclosing(self._plans.stream(self._prompt(), self._request_id, get_calls(self._scope))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, PlannerAnswer):
                        record.cache_hits += piece.cached
                        return await self._settle(piece, reader, text), piece.cached
                    fresh = reader.feed(piece)
                    text += fresh
                    if fresh and reply.stream and not self._must_call:
                        record.outcome = "summary"
                        await reply.summary_text(fresh, self._headers())
            raise PlannerError("no answer")
        except PlannerError as error:
            logger.warning("the planner failed: %s (%s)", error, self._request_id)
            if text and reply.stream and not self._must_call:
                await reply.fail(ApiError(502, "api_error", "the planner's answer broke off"))
            record.attempts.append("The planner gave no answer.")
            return None, False
        finally:
            record.planning += time.monotonic() - started

    async def _settle(self, answer: PlannerAnswer, reader: PlanReader, text: str) -> Plan | None:
        """The planner's answer is complete."""
        record = self._record
        rest = reader.feed(answer.text) if answer.cached else ""
        rest += reader.finish()
        plan = reader.plan
        if plan.kind == "SUMMARY" and not self._must_call:
            record.outcome = "cached" if answer.cached else "summary"
            record.usages.append(as_cached(answer.usage) if answer.cached else answer.usage)
            headers = self._headers()
            if rest and self._reply.stream:
                await self._reply.summary_text(rest, headers)
            await self._reply.summary_end(text + rest, answer.finish_reason, total(record.usages), headers)
            return plan
        if not answer.cached:
            record.usages.append(answer.usage)
        if plan.kind == "GUIDANCE":
            return plan
        record.attempts.append(
            "Your answer had no usable GUIDANCE: or SUMMARY: section. It was:\n" + cut_middle(answer.text, _MAX_ATTEMPT)
        )
        return None

    def _prompt(self) -> str:
        record = self._record
        attempts = "\n\n".join(f"Attempt {n}. {text}" for n, text in enumerate(record.attempts, 1))
        return self._template.fill(
            {
                "user_request": "",
                "tools_text": "",
                "conversation": "",
                **self._texts,
                "loop_count": f"{record.loops} of {self._max_loops}",
                "previous_attempts": attempts or _NONE_YET,
            }
        )

    async def _execute(self, plan: Plan, outcome: Outcome) -> ExecutorAnswer | None:
        """Call the executor with the guidance. Returns its answer if it has not been sent to the client, else None."""
        self._record.outcome = outcome
        # After a tool's result a plain text may be the end of the work: an agent must be able to finish.
        wait_for: WaitFor = "content" if self._conversation.has_results else "call"
        answer = self._answer(wait_for, may_fail=True)
        await self._call(self._dialect.with_guidance(self._data, _guidance_text(plan)), answer)
        if not self._reply.done:
            return answer
        self._record.usages.append(answer.usage)
        return None

    async def _fall_back(self) -> None:
        """The plain request without boost."""
        self._record.outcome = "fallback"
        answer = self._answer("nothing", may_fail=False)
        await self._call(self._data, answer)
        self._record.usages.append(answer.usage)

    def _answer(self, wait_for: WaitFor, *, may_fail: bool) -> ExecutorAnswer:
        return ExecutorAnswer(
            self._dialect,
            self._reply,
            wait_for=wait_for,
            headers=self._headers(),
            spent=total(self._record.usages),
            may_fail=may_fail,
        )

    async def _call(self, data: Payload, answer: ExecutorAnswer) -> None:
        try:
            await self._app(self._scope, BufferedBody(self._body, data=data), answer.send)
        except StreamAborted:
            pass  # the answer states the outcome
        except Exception:
            await self._break_off()
            raise
        if self._body.disconnected:
            raise ClientDisconnected
        await answer.close()

    async def _break_off(self) -> None:
        """The inner app has raised: an answer that has begun must not look complete."""
        if self._reply.committed and not self._reply.done:
            with suppress(StreamAborted):
                await self._reply.fail(ApiError(500, "api_error", "Internal proxy error"))

    def _headers(self) -> Headers:
        record = self._record
        return [(b"x-boost-loops", str(record.loops).encode()), (b"x-boost-outcome", record.outcome.encode())]


def _guidance_text(plan: Plan) -> str:
    """The text with the guidance for the executor."""
    analysis = f"Its analysis:\n{plan.analysis}\n\n" if plan.analysis else ""
    return (
        "A planner has read this conversation and decided on the next step.\n\n"
        f"{analysis}Its guidance:\n{plan.guidance}\n\n"
        "Carry the guidance out now, with a call of the tool that it names. Don't describe the call in text, don't ask "
        "whether to go on, and don't mention the planner."
    )


def _told(plan: Plan, answer: ExecutorAnswer) -> str:
    """A failed attempt, as text for the planner."""
    said = f"It called no tool, but wrote:\n{cut_middle(answer.text.strip(), _MAX_ATTEMPT)}"
    return (
        f"The guidance was:\n{cut_middle(plan.guidance, _MAX_ATTEMPT)}\n"
        f"The executor did not follow it. {said if answer.text.strip() else 'It answered nothing at all.'}"
    )


async def _while_connected(body: BufferedBody, work: Callable[[], Awaitable[T]]) -> T:
    """The result of ``work``, which is cancelled if the client disconnects. Raises ClientDisconnected."""
    results: list[T] = []
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:  # it would wrap inner exceptions in a group

        async def watch() -> None:
            nonlocal failure
            try:
                while (await body())["type"] != "http.disconnect":
                    await anyio.lowlevel.checkpoint()  # a foreign receive may return other messages without end
            except Exception as error:
                failure = error
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            results.append(await work())
        except Exception as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if body.disconnected or not results:
        raise ClientDisconnected
    return results[0]
