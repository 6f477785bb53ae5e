"""The layer in front of an upstream that speaks Anthropic's own API."""

import logging
import re
from collections.abc import Iterable
from functools import partial
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from ..toolkit.asgi import BufferedBody, get_header, route_path, without_headers
from ..toolkit.errors import read_request, request_id
from ..toolkit.json import loads
from ..toolkit.record import get_record
from .answer import WatchedAnswer
from .history import Fitted, fit

logger = logging.getLogger("ccproxy.passthrough")

_PATHS = ("/v1/messages", "/v1/messages/count_tokens")
_TRIES = 3

_THINKING_REFUSED = re.compile(
    r"signature\b.{0,40}\bthinking|thinking.{0,40}\bsignature|redacted_thinking|\bthinking`? block", re.IGNORECASE
)
_THINKING_EXPECTED = re.compile(
    r"expected `?thinking`?.{0,60}but found|must start with a thinking block", re.IGNORECASE
)
_NEVER_OFF = re.compile(r"thinking\.type\.disabled\W.{0,40}not supported", re.IGNORECASE)

Thinking = Literal["auto", "off", "kept"]


class PassthroughMiddleware:
    """Adapt conversations that contain answers of other upstreams to Anthropic's API, and leave all others unchanged.

    Thinking blocks and web search results that our converters created are removed from a request, and ids that
    Anthropic refuses are replaced. Where a tool loop would continue from a turn that has lost its thinking block,
    thinking is turned off for that request. A 400 because of thinking blocks that come neither from our converters nor
    from Anthropic causes one more attempt without any thinking blocks; from then on these blocks are known and removed.

    Reads: ``messages``, ``thinking`` and ``context_management`` in the JSON body of ``/v1/messages`` and
    ``/v1/messages/count_tokens``. A body that it can't read passes unchanged.
    Writes: these members, while all other bytes of the body stay the same; the record's ``usage``, ``stop_reason``,
    ``provider`` and decisions.
    Needs: a place inside ModelMappingMiddleware, if there is one.
    Alone: works in front of any app that speaks Anthropic's API.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._refused = _Known(10_000)
        self._never_off = _Known(100)  # models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or route_path(scope) not in _PATHS:
            return await self.app(scope, receive, send)
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        record = get_record(scope)
        if record is not None:
            record.provider = "anthropic"
            record.session_id = record.session_id or get_header(scope["headers"], b"x-claude-code-session-id")
        data = await body.json_object()
        if data is None:
            return await self.app(scope, body, send)
        if record is not None:
            record.stream = record.stream or data.get("stream") is True
            if record.request_observers:
                await body.work(partial(record.tell_request, data))
        model = str(data.get("model"))
        without_thinking = False
        thinking: Thinking = "kept" if model in self._never_off else "auto"
        fitted = await body.work(partial(fit, data, refused=self._refused, thinking=thinking))
        del data  # the body releases it when it is replayed
        for tries in range(1, _TRIES + 1):
            if record is not None:
                record.explain = fitted.told
            last = tries == _TRIES
            answer = WatchedAnswer(send, record, holds=not last)
            await self.app(*_sent(scope, body, fitted), answer.send)
            if answer.ok and tries > 1:
                self._refused.add([*fitted.left_out, *(fitted.loop if fitted.off else ())])
            if answer.refusal is None:
                return
            words = _words(answer.refusal)
            if _NEVER_OFF.search(words) and fitted.off:
                self._never_off.add([model])
                thinking = "kept"
            elif _THINKING_EXPECTED.search(words) and thinking == "auto":
                thinking = "off"
            elif _THINKING_REFUSED.search(words):
                without_thinking = True
            else:
                return await answer.release()
            fit_again = partial(fit, refused=self._refused, without_thinking=without_thinking, thinking=thinking)
            other = await body.work(lambda: fit_again(body.data))  # noqa: B023 (called at once)
            if (other.fields, other.removed) == (fitted.fields, fitted.removed):
                return await answer.release()
            fitted = other
            logger.info("%s: asked again, since Anthropic refuses its thinking: %s", request_id(scope), fitted.told())
            if record is not None:
                record.retries += 1


class _Known:
    """A bounded set; the oldest items are removed first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, None] = {}

    def __contains__(self, text: object) -> bool:
        return text in self._known

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._known.pop(text, None)
            self._known[text] = None
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]


def _sent(scope: Scope, body: BufferedBody, fitted: Fitted) -> tuple[Scope, BufferedBody]:
    """The request for one attempt."""
    if not fitted:
        return scope, body
    headers = without_headers(scope["headers"], b"content-length", b"transfer-encoding")
    return {**scope, "headers": headers}, body.with_fields(fitted.fields, fitted.removed)


def _words(body: bytes) -> str:
    """The message of a refusal."""
    try:
        message = loads(body)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        return body.decode("utf-8", "replace")
    return message if isinstance(message, str) else ""
