"""Why an answer ended, and the stop sequences that the proxy has to find itself."""

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

    ``reason`` is the limit or refusal that the provider reported. ``matched`` is the stop sequence that the provider or
    the proxy found. ``refusal`` is the text of a refusal. Several providers report a normal finish after tool calls, so
    the content decides, not the finish reason. Complete calls must be run even if the provider reports a stop sequence
    after them.
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
    """The length of the longest suffix of ``text`` that is a proper, non-empty prefix of a target."""
    longest = 0
    for target in targets:
        start = text.find(target[0], max(0, len(text) - len(target) + 1))
        while start >= 0 and not target.startswith(text[start:]):
            start = text.find(target[0], start + 1)
        if start >= 0:
            longest = max(longest, len(text) - start)
    return longest


class StopMatcher:
    """Find stop sequences in a text that arrives in fragments, split anywhere.

    The sequence that is completed first wins, as it does when a model is stopped; of those that end together the
    longest wins. The implementation is an Aho-Corasick automaton: the work per character does not depend on the number
    of sequences.
    """

    __slots__ = ("_depths", "_ends", "_fallbacks", "_held", "_next", "_state", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        self._next: list[dict[str, int]] = [{}]  # by state
        self._depths = [0]  # length of the longest suffix of the text that is a prefix of a sequence
        self._ends = [0]  # length of the completed sequence, if any
        self._fallbacks = [0]  # the state for the next shorter suffix of the text
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
        """Compute the fallback links, shorter states first."""
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
        """The text that certainly precedes any stop sequence; ``matched`` is set if one was found."""
        if not self._next[0]:  # nothing to look for
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
        """The text that was held back, when the text ends or is interrupted."""
        held, self._held = self._held, ""
        self._state = 0
        return held
