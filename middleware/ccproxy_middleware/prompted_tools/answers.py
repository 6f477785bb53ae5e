"""An answer whose text may end in tool calls, which are converted to calls in the client's API."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..conversion.text_calls import Call, TextCalls
from .prompt import Payload


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an answer: the rest of its text, and its calls."""

    text: str
    calls: Sequence[Call] = ()


class Answer:
    """One answer, streamed or whole. Each subclass handles one API.

    tools: the schemas of the tools that may be called. has_calls: the server has parsed calls itself; then there are
    none in the text. spoiled: the malformed call at the end. said: the whole text.

    If ``spoiled`` is set, the end is held until :meth:`settle` or :meth:`whole_with`.
    """

    def __init__(self, tools: Mapping[str, Any]) -> None:
        self.has_calls = False
        self.spoiled = ""
        self.ended = False
        self._tools = tools
        self._calls = TextCalls(tools, "all", keep_spoiled=True)
        self._said: list[str] = []
        self._held: list[Payload | None] = []
        self.begin()

    def begin(self) -> None:
        """Initialize the state of a subclass."""

    @property
    def said(self) -> str:
        """The whole text."""
        return "".join(self._said)

    def event(self, event: Payload | None) -> list[Payload | None]:
        """The events that replace one event; None is the end marker."""
        if self.spoiled:
            self._held.append(event)
            return []
        if event is None:
            return [*self.last(), None]
        return list(self._on_event(event))

    def _on_event(self, event: Payload) -> list[Payload]:
        raise NotImplementedError

    def last(self) -> list[Payload]:
        """The remaining events, when the stream ends without a finish reason."""
        return []

    def feed(self, text: str) -> str:
        """The part of a text that can be sent."""
        self._said.append(text)
        return self._calls.feed(text)

    def release(self) -> str:
        """The held text, which is sent because something else follows it."""
        return self._calls.release()

    def outcome(self) -> Outcome:
        """The end of the answer."""
        if self.has_calls:
            return Outcome(self._calls.release())
        outcome = Outcome(*self._calls.finish())
        self.spoiled = self._calls.spoiled
        return outcome

    def ends(self, event: Payload) -> list[Payload]:
        """The events that replace the one with the finish reason."""
        if self.ended:
            return [event]
        self.ended = True
        outcome = self.outcome()
        if self.spoiled:
            self._held.append(event)
            return []
        return self.ending(event, outcome)

    def ending(self, event: Payload, outcome: Outcome) -> list[Payload]:
        raise NotImplementedError

    def settle(self, calls: Sequence[Call], change: Callable[[Payload], Payload]) -> list[Payload | None]:
        """The end that was held, with these calls in place of the malformed one; without any, it stays as it was."""
        first, *rest = self._held
        outcome = Outcome("", calls) if calls else Outcome(self.spoiled)
        events: list[Payload | None] = []
        if first is not None:
            *before, end = self.ending(first, outcome)
            events += [*before, change(end)]
        return [*events, *(event if event is None else change(event) for event in rest)]

    def whole(self, answer: Payload) -> Payload | None:
        """A whole answer without calls in its text; None: see :meth:`outcome` for its end."""
        raise NotImplementedError

    def whole_with(self, answer: Payload, outcome: Outcome) -> Payload:
        """The whole answer with its end."""
        raise NotImplementedError

    def calls_in(self, text: str) -> list[Call]:
        """The calls at the end of another answer's text."""
        reading = TextCalls(self._tools, "all")
        reading.feed(text)
        return reading.finish()[1]
