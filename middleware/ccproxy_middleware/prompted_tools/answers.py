"""An answer whose text may end in calls, which become what they are in the client's API."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..conversion.text_calls import Call, TextCalls
from .prompt import Payload


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer ends in: the rest of its text, and calls."""

    text: str
    calls: Sequence[Call] = ()


class Answer:
    """One answer: events as they come, or a whole one. Subclasses know one API.

    tools: the schemas of those that may be called. has_calls: the server has read calls by itself; then there are none
    in the text. spoiled: the call at the end that can't be read. said: all of the text.

    Where ``spoiled`` is set, the end is held until :meth:`settle`, or :meth:`whole_with`.
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
        """Set up what a subclass keeps."""

    @property
    def said(self) -> str:
        """All of the text."""
        return "".join(self._said)

    def event(self, event: Payload | None) -> list[Payload | None]:
        """The events in the place of one; None is the mark of the end."""
        if self.spoiled:
            self._held.append(event)
            return []
        if event is None:
            return [*self.last(), None]
        return list(self._on_event(event))

    def _on_event(self, event: Payload) -> list[Payload]:
        raise NotImplementedError

    def last(self) -> list[Payload]:
        """What is still to be said when the stream ends without saying why."""
        return []

    def feed(self, text: str) -> str:
        """What of a text can be shown."""
        self._said.append(text)
        return self._calls.feed(text)

    def release(self) -> str:
        """What is held, since something else follows it."""
        return self._calls.release()

    def outcome(self) -> Outcome:
        """What the answer ends in."""
        if self.has_calls:
            return Outcome(self._calls.release())
        outcome = Outcome(*self._calls.finish())
        self.spoiled = self._calls.spoiled
        return outcome

    def ends(self, event: Payload) -> list[Payload]:
        """The events in the place of the one that tells why the answer ends."""
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
        """The end that was held, with these calls in the place of the spoiled one, or without any as it was."""
        first, *rest = self._held
        outcome = Outcome("", calls) if calls else Outcome(self.spoiled)
        events: list[Payload | None] = []
        if first is not None:
            *before, end = self.ending(first, outcome)
            events += [*before, change(end)]
        return [*events, *(event if event is None else change(event) for event in rest)]

    def whole(self, answer: Payload) -> Payload | None:
        """A whole answer that has nothing to do with calls in text; None: :meth:`outcome` tells what it ends in."""
        raise NotImplementedError

    def whole_with(self, answer: Payload, outcome: Outcome) -> Payload:
        """The whole answer with its end."""
        raise NotImplementedError

    def calls_in(self, text: str) -> list[Call]:
        """The calls that another answer's text ends in."""
        reading = TextCalls(self._tools, "all")
        reading.feed(text)
        return reading.finish()[1]
