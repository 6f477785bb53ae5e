"""Why an answer ended, and stop sequences that the proxy has to find itself."""

from collections.abc import Sequence
from typing import Any, Literal

StopReason = Literal["end_turn", "max_tokens", "model_context_window_exceeded", "refusal", "stop_sequence", "tool_use"]


def stop_outcome(
    reason: StopReason | None,
    *,
    matched: str | None,
    refusal: str | None,
    has_tool_use: bool,
    has_whole_calls: bool,
) -> dict[str, Any]:
    """The ``stop_reason``, ``stop_sequence`` and ``stop_details`` of a message.

    ``reason`` is what upstream tells of a limit or a refusal; ``matched`` the stop sequence that was found, by
    upstream or here; ``refusal`` the text of a refusal. Several providers finish as usual after tool calls, so the
    content decides, not the word. Calls that are whole have to be run, also where upstream says that it met a stop
    sequence behind them.
    """
    if has_whole_calls:
        matched = None
    if matched is not None:
        reason = "stop_sequence"
    elif reason is None and refusal:
        reason = "refusal"
    elif reason is None:
        reason = "tool_use" if has_tool_use else "end_turn"
    details = {"type": "refusal", "category": None, "explanation": refusal or None} if reason == "refusal" else None
    return {"stop_reason": reason, "stop_sequence": matched, "stop_details": details}


def held_suffix(text: str, targets: Sequence[str]) -> int:
    """The length of the longest end of ``text`` that is the beginning, but not the whole, of a non-empty target."""
    longest = 0
    for target in targets:
        start = text.find(target[0], max(0, len(text) - len(target) + 1))
        while start >= 0 and not target.startswith(text[start:]):
            start = text.find(target[0], start + 1)
        if start >= 0:
            longest = max(longest, len(text) - start)
    return longest


class StopMatcher:
    """Find stop sequences in a text that comes in fragments, cut anywhere.

    The sequence that is complete first wins, as it does where a model is stopped; of those that end together the
    longest. It is an Aho-Corasick automaton: the work is the same for each character, however many sequences there are.
    """

    __slots__ = ("_depths", "_ends", "_fallbacks", "_held", "_next", "_state", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]  # by state
        self._depths = [0]  # characters of the longest end of the text that a sequence begins with
        self._ends = [0]  # the length of the sequence that is complete, if one is
        self._fallbacks = [0]  # the state for the next shorter end of the text
        self._state = 0
        self._held = ""
        self.matched: str | None = None
        for stop in stops:
            self._add(stop)
        self._link()

    def _add(self, stop: str) -> None:
        state = 0
        for depth, char in enumerate(stop, 1):
            following = self._next[state].setdefault(char, len(self._next))
            if following == len(self._next):
                self._next.append({})
                self._depths.append(depth)
                self._ends.append(0)
                self._fallbacks.append(0)
            state = following
        self._ends[state] = len(stop)

    def _link(self) -> None:
        """Find the fallbacks, shorter states first."""
        queue = list(self._next[0].values())
        for state in queue:
            for char, following in self._next[state].items():
                self._fallbacks[following] = self._step(self._fallbacks[state], char)
                queue.append(following)
            self._ends[state] = self._ends[state] or self._ends[self._fallbacks[state]]

    def _step(self, state: int, char: str) -> int:
        while state and char not in self._next[state]:
            state = self._fallbacks[state]
        return self._next[state].get(char, 0)

    def feed(self, fragment: str) -> str:
        """The text that is now sure to come before any stop sequence; ``matched`` is set where one was found."""
        if not self._next[0]:  # there is nothing to look for
            return fragment
        text = self._held + fragment
        for end, char in enumerate(fragment, len(self._held) + 1):
            self._state = self._step(self._state, char)
            if length := self._ends[self._state]:
                self.matched = text[end - length : end]
                self._held, self._state = "", 0
                return text[: end - length]
        sure = len(text) - self._depths[self._state]
        self._held = text[sure:]
        return text[:sure]

    def finish(self) -> str:
        """What was held back, when the text ends or is interrupted."""
        held, self._held = self._held, ""
        self._state = 0
        return held
