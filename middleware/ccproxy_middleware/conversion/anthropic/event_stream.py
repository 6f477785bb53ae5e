"""Convert the provider's event stream to the client's: the part that all upstream APIs share."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.sse import EventTooLarge, SSEParser, sse_event
from ..context import Context
from .events import PING, EventWriter
from .message import new_message, start_usage

logger = logging.getLogger("ccproxy.conversion")

_MAX_MALFORMED = 3  # events in a row
_LARGE = 256 * 1024  # bytes per event


class EventStream:
    """Takes the provider's bytes and returns the client's SSE frames, without I/O. Subclasses read the events of one
    API.

    started: message_start was returned.
    finished: message_stop or an ``error`` event was returned; anything later is ignored.
    error: the failure that the provider reported or caused. Before the start it is only stored here: the client can
        still get a real HTTP status.
    failed: the error object with which the provider reported a failure before it began its answer.
    notes: what was left out of the answer.
    events_read: how many pieces of the answer have arrived, whether or not they are visible.
    """

    def __init__(self, context: Context, request_id: str) -> None:
        self.started = False
        self.finished = False
        self.error: ApiError | None = None
        self.failed: Any = None
        self.notes: list[str] = []
        self.events_read = 0
        self.stop_reason: str | None = None
        self.final_usage: Mapping[str, Any] = {}
        self._context = context
        self._request_id = request_id
        self._parser = SSEParser()
        self._writer = EventWriter()
        self._malformed = 0
        self._skipped = False  # there was something that is not an event

    @property
    def has_content(self) -> bool:
        """Whether the client has received any of the answer itself."""
        return self._writer.blocks > 0

    @property
    def ending(self) -> bool:
        """Whether the provider has sent its finish reason, so that only the usage and the end marker are still to
        come.
        """
        return False

    def feed(self, data: bytes) -> list[bytes]:
        """Frames for the next bytes from the provider, which may be split anywhere."""
        return self._read(data)

    def takes_long(self, data: bytes) -> bool:
        """Whether :meth:`feed` would block the event loop: these bytes may be the end of a large event."""
        return len(data) + self._parser.waiting > _LARGE and (b"\n" in data or b"\r" in data)

    def finish(self) -> list[bytes]:
        """The last frames, after the provider's body has ended cleanly."""
        return self._read(None)

    def start(self) -> list[bytes]:
        """message_start and a ping, if the provider has been silent for too long to wait for its first event."""
        if not self.started and not self.finished and self.error is None:
            self._start({})
        return self._writer.take()

    def ping(self) -> list[bytes]:
        return [PING] if self.started and not self.finished else []

    def fail(self, error: ApiError) -> list[bytes]:
        """The ``error`` event for a failure of the transport; none before the start or after a successful end.

        Only the first failure counts: later calls return its event again.
        """
        if self.finished and self.error is None:
            return []
        if self.error is None:
            self.error = error
        if not self.started:
            return []
        self.finished = True
        return [sse_event("error", self._error_event(self.error))]

    def _error_event(self, error: ApiError) -> dict[str, Any]:
        return error.event()

    def _read(self, data: bytes | None) -> list[bytes]:
        """Convert the next bytes; None means that there are no more."""
        if self.finished or self.error is not None:
            return []
        try:
            self._on_events(self._parser.finish() if data is None else self._parser.feed(data))
            if data is None and not self.finished:
                self._on_end()
        except EventTooLarge as failure:
            error = ApiError(502, "api_error", str(failure))
        except ApiError as failure:
            error = failure.without_frames()
        else:
            return self._writer.take()
        return self._writer.take() + self.fail(error)

    def _on_events(self, events: Iterable[bytes]) -> None:
        for event in events:
            self._on_event(event)
            if self.finished:
                break

    def _on_event(self, data: bytes) -> None:
        """Process the data of one event. Raises ApiError for a failure that the provider reports or causes."""
        raise NotImplementedError

    def _on_end(self) -> None:
        """The provider's body has ended, and the answer is not complete yet."""
        raise NotImplementedError

    def _on_malformed(self, expected: str) -> None:
        """Handle an event that is none of the ``expected`` ones."""
        if self._malformed == 0:
            logger.warning("skipped a malformed event of the provider's stream (%s)", self._request_id)
        self._malformed += 1
        self._skipped = True
        if self._malformed == _MAX_MALFORMED:
            raise ApiError(502, "api_error", f"upstream sent events that are not {expected}")

    def _start(self, tier: Mapping[str, str]) -> None:
        self.started = True
        self._writer.message_start(new_message(self._context.model, {**start_usage(self._context), **tier}))

    def _end(self, outcome: dict[str, Any], usage: dict[str, Any]) -> None:
        """End the stream successfully."""
        self._writer.message_end(outcome, usage)
        self.stop_reason, self.final_usage = outcome["stop_reason"], usage
        self.finished = True
