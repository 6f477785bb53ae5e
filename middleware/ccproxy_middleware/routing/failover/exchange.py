"""One exchange with its candidates: they are tried in order until one answers."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Scope

from ...toolkit.asgi import BufferedBody, Headers, without_headers
from ...toolkit.errors import ApiError, StreamAborted, header_value, request_id
from ...toolkit.record import Attempt, Record
from .answers import ROUTE, ClientAnswer, TargetAnswer
from .candidates import Candidate, Option, remembered
from .choice import Choice
from .cooldowns import Cooldowns
from .failures import Failure, broken_off, most_useful, told_after
from .keys import KeyPools
from .pace import Pace, Turn
from .routed import Routed, Trail
from .windows import CandidateWindows

logger = logging.getLogger("ccproxy_middleware.routing")

_BYTES_OF_A_TOKEN = 4  # characters of a prompt per token, approximately


@dataclass(frozen=True, slots=True)
class Upstreams:
    """What all exchanges share."""

    targets: Mapping[str, ASGIApp]
    paces: Mapping[str, Pace]
    keys: KeyPools
    cooldowns: Cooldowns
    windows: CandidateWindows
    queue_timeout: float


@dataclass(slots=True)
class Question:
    """A request, and the properties of it that affect its handling.

    model: as it is in the body. counts: the request only counts tokens, which hardly shows whether an upstream is
    working. priority, session: as for Pace.
    """

    scope: Scope
    body: BufferedBody
    model: str
    counts: bool
    priority: int
    session: str | None
    record: Record | None


class RoutedExchange:
    """Tries the candidates of one request, and makes sure that the client gets one answer."""

    def __init__(
        self, shared: Upstreams, question: Question, choice: Choice, trail: Trail, client: ClientAnswer
    ) -> None:
        self._shared = shared
        self._question = question
        self._choice = choice
        self._trail = trail
        self._client = client
        self._waited = 0.0  # seconds that a request may wait for turns, in total
        self._failures: list[Failure] = []

    async def run(self) -> None:
        """Answer the client. Raises StreamAborted, and exceptions of the last target that are bugs."""
        body, choice = self._question.body, self._choice
        if len(choice.options) > 1:
            self._client.keep_alive()
        try:
            while (option := choice.next()) is not None:
                pace = None if self._question.counts else self._shared.paces.get(option.upstream)
                before = self._waited
                turn = None if pace is None else await self._take_turn(pace, option)
                if body.disconnected:
                    return
                if turn is None and pace is not None:  # another option comes first
                    continue
                if await self._ask(option, turn, self._waited - before):
                    return
            await self._tell(most_useful(self._failures))
        finally:
            if self._client.is_kept_alive:
                await self._client.close()

    async def _take_turn(self, pace: Pace, option: Option) -> Turn | None:
        """A turn at the option's upstream; None where others come first, or where none was free in time."""
        question, choice = self._question, self._choice
        tokens = question.body.size // _BYTES_OF_A_TOKEN
        if (turn := await pace.try_enter(tokens)) is not None:
            return turn
        if not choice.is_busy(option.upstream):
            choice.busy(option.upstream)
            return None
        self._client.route = _route_header(self._trail.routed(option))
        self._client.keep_alive()
        began = perf_counter()
        left = max(0.0, self._shared.queue_timeout - self._waited)
        entering = pace.enter(tokens, priority=question.priority, session=question.session, timeout=left)
        if question.record is not None:
            question.record.queue(option.upstream, 1)
        try:
            return await _unless_client_leaves(entering, question.body)
        except ApiError as error:
            self._trail.skip(Candidate(option.upstream, option.model), "busy", perf_counter() - began)
            self._failures.append(broken_off(error.without_frames()))
            choice.leave(option.upstream)
            return None
        finally:
            self._waited += perf_counter() - began
            if question.record is not None:
                question.record.queue(option.upstream, -1)

    async def _ask(self, option: Option, turn: Turn | None, waited: float) -> bool:
        """Try one option. True: the exchange is over."""
        shared, question, choice, trail = self._shared, self._question, self._choice, self._trail
        may_fail = choice.has_other(option)
        if option is not choice.options[0]:
            for candidate, why in choice.passed_over(option):
                trail.skip(candidate, why)
        attempt = trail.begin(option, waited)
        probe = None
        if not question.counts:
            probe = shared.cooldowns.probe(option)
            if not shared.keys.is_fixed:
                shared.keys.assign(option.upstream, option.key_id, question.scope)
        choice.asked(option)

        on_answer = None if probe is None else partial(shared.cooldowns.clear, probe)
        answer = TargetAnswer(self._client, on_answer, holds=may_fail or bool(self._failures))
        asked_at = time.time()
        try:
            failure = await self._call(option, answer, may_fail=may_fail)
        except StreamAborted as abort:
            attempt.reason = "broken_off"
            if abort.error is not None and abort.error.reason is not None:
                self._cool(option, attempt, broken_off(abort.error), asked_at)
            raise
        finally:
            attempt.ended, attempt.status = trail.now(), answer.status
            if turn is not None:
                turn.done(self._tokens_used() if answer.committed else None)
            if probe is not None and not answer.committed:
                shared.cooldowns.release(probe)
        if failure is None:
            return True
        reason = failure.reason
        if reason is None or (failure.refuses_key and shared.keys.is_clients(option.upstream)):
            if reason is None and on_answer is not None:
                on_answer()
            attempt.reason = reason or "refused"
            await self._tell(failure)
            return True
        self._cool(option, attempt, failure, asked_at)
        self._failures.append(failure)
        if question.record is not None:
            question.record.outcome = None  # the failure that it reported is not the final result
        if reason == "context_overflow" and (others := choice.open_candidates()):
            candidates = [Candidate(option.upstream, option.model), *others]
            await shared.windows.learn(question.scope, question.body.replace(None), candidates)
        choice.failed(option, failure)
        trail.pass_over(attempt, reason)
        logger.info("%s:%s has failed: %s (%s)", option.upstream, option.model, reason, request_id(question.scope))
        return False

    async def _call(self, option: Option, answer: TargetAnswer, *, may_fail: bool) -> Failure | None:
        """Call the option's target. Returns its failure, or None where the client has its answer or has disconnected.

        Raises StreamAborted for an answer that breaks off after its first content. Where no other option is left, also
        raises exceptions of the target that are bugs.
        """
        question = self._question
        routed = self._trail.routed(option)
        self._client.route = _route_header(routed)
        scope = {**question.scope, "ccproxy.key": option.key, "ccproxy.route": routed}
        if may_fail:
            scope["ccproxy.max_retries"] = 0
        body = question.body
        if option.model != question.model or self._trail.asked > 1:
            scope["headers"] = without_headers(scope["headers"], b"content-length", b"transfer-encoding")
            body = body.with_fields({"model": option.model})
        error: ApiError | None = None
        try:
            await self._shared.targets[option.upstream](scope, body, answer.send)
        except StreamAborted as abort:
            if answer.committed:
                raise
            error = abort.error
        except Exception:
            if answer.committed or not may_fail:
                raise
            logger.exception("a bug: the upstream %s has raised (%s)", option.upstream, request_id(scope))
            error = ApiError(500, "api_error", "Internal proxy error", reason="server")
        if answer.committed or question.body.disconnected:
            return None
        told = answer.failure
        if told is None or (told.start is None and error is not None and error.reason is not None):
            return broken_off(error)  # an event before it contained less detail
        return told

    def _cool(self, option: Option, attempt: Attempt, failure: Failure, asked_at: float) -> None:
        """Start the cool-down of an option."""
        if failure.reason is not None and not self._question.counts:
            attempt.cooled = self._shared.cooldowns.start(
                option,
                failure.reason,
                asked_at=asked_at,
                told=failure.retry_after,
                refuses_key=failure.refuses_key,
            )

    async def _tell(self, failure: Failure) -> None:
        """Send this failure to the client."""
        soonest = self._shared.cooldowns.wait(self._choice.options)
        if self._question.record is not None:
            self._question.record.fail(failure.error)
        await self._client.fail(failure, told_after(failure, soonest))

    def _tokens_used(self) -> int | None:
        usage = {} if self._question.record is None else self._question.record.usage
        counts = [value for name, value in usage.items() if name.endswith("_tokens") and isinstance(value, int)]
        return sum(counts) if counts else None


def _make_route_header(routed: Routed) -> Headers:
    return header_value(ROUTE, routed.header())


_route_header = remembered(_make_route_header)


async def _unless_client_leaves(entering: Coroutine[Any, Any, Turn], body: BufferedBody) -> Turn | None:
    """The turn; None where the client disconnects first. Raises what ``entering`` raises."""
    listener = body.replace(None)
    listener.skip()
    turn = asyncio.ensure_future(entering)
    leaving = asyncio.ensure_future(_disconnected(listener))
    is_taken = False
    try:
        await asyncio.wait((turn, leaving), return_when=asyncio.FIRST_COMPLETED)
        if turn.done():
            is_taken = True
            return turn.result()
        leaving.result()
        return None
    finally:
        for task in (turn, leaving):
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        if not is_taken and not turn.cancelled() and turn.exception() is None:
            turn.result().done(None)  # it came too late


async def _disconnected(body: BufferedBody) -> None:
    while not body.disconnected:
        await body()
        await asyncio.sleep(0)  # a foreign receive may return other messages without end
