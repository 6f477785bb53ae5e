"""Reasoning that returns in the client's thinking blocks: which of it is sent to the provider, and where."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from ...toolkit.json import dumps
from ..providers import Profile
from .state import State, decode_state, summary_text

NOT_OURS = "it is another provider's, or its signature was changed"
OTHER_MODEL = "another provider or model made it"
NOTHING_KEPT = "it came without encrypted content"
NOTHING_FOLLOWED = "nothing followed it"
GONE = "what followed it is not there any more"
TWICE = "it stands in the conversation twice"
REFUSED = "the provider has refused it"
SWITCHED_OFF = "reasoning_roundtrip is off"
EARLIER_LOOP = "reasoning_turns is loop, and its loop is over"

Item = dict[str, Any]


@dataclass(slots=True)
class Entry:
    """One block of an assistant turn.

    item: the item for upstream; None for a message, whose text may still be joined, and for reasoning that is left out.
    joins: whether a message continues the text block before it.
    id: the client's id of a call.
    """

    kind: Literal["message", "call", "reasoning"]
    item: Item | None = None
    text: str = ""
    joins: bool = False
    id: str = ""
    state: State | None = None
    phase: str | None = None


class Returned:
    """Decides which thinking blocks of one conversation are returned."""

    def __init__(self, profile: Profile, model: str, refused: Callable[[str], bool], left_out: Counter[str]) -> None:
        self._profile = profile
        self._model = model
        self._refused = refused
        self._left_out = left_out
        self._seen: set[str] = set()

    def entry(self, signature: Any, *, wanted: bool) -> Entry:
        """The entry for a thinking block; without an item if it is left out."""
        state = decode_state(signature)
        item, reason = self._item(state) if wanted else (None, EARLIER_LOOP)
        if item is None:
            self._left_out[reason] += 1
        return Entry("reasoning", item, state=state)

    def _item(self, state: State | None) -> tuple[Item | None, str]:
        if state is None:
            return None, NOT_OURS
        if self._profile.reasoning_roundtrip == "off":
            return None, SWITCHED_OFF
        if state.profile != self._profile.name or state.model != self._model:
            return None, OTHER_MODEL
        item = self._returnable(state.item)
        if item is None:
            return None, NOTHING_KEPT
        if state.following is None:
            return None, NOTHING_FOLLOWED
        digest = item_digest(item)
        if self._refused(digest):
            return None, REFUSED
        seen = digest if "encrypted_content" in item else f"{digest} {state.following}"
        if seen in self._seen:
            return None, TWICE
        self._seen.add(seen)
        return item, ""

    def _returnable(self, kept: Item | None) -> Item | None:
        if kept is None:
            return None
        if "encrypted_content" in kept:
            return {
                "type": "reasoning", "summary": kept.get("summary") or [],
                "encrypted_content": kept["encrypted_content"],
            }  # fmt: skip
        if self._profile.reasoning_roundtrip != "reasoning_text":
            return None
        content = kept.get("content") or [{"type": "reasoning_text", "text": summary_text(kept)}]
        return {"type": "reasoning", "summary": [], "content": content}


def item_digest(item: Mapping[str, Any]) -> str:
    """The digest that identifies a reasoning item."""
    return sha256(dumps([item.get("encrypted_content") or item.get("content")])).hexdigest()


def place_reasoning(entries: Sequence[Entry], left_out: Counter[str]) -> list[Item]:
    """The items of an assistant turn, with its reasoning directly before the item it belonged to."""
    if all(entry.kind != "reasoning" for entry in entries):
        return _items(entries, {})
    before: dict[int, list[Item]] = {}  # reasoning by the position of the item it belonged to, in reverse order
    find = _Places(entries)
    for n in range(len(entries) - 1, -1, -1):
        entry = entries[n]
        if entry.kind != "reasoning" or entry.item is None or entry.state is None:
            continue
        target = find.target(n, entry.state)
        if target is None:
            left_out[GONE] += 1
            continue
        before.setdefault(target, []).append(entry.item)
        if entry.state.following is not None and entry.state.following.kind == "message":
            entries[target].phase = entry.state.following.value
    return _items(entries, before)


def _items(entries: Sequence[Entry], before: Mapping[int, Sequence[Item]]) -> list[Item]:
    """The items, with those in ``before`` placed before the entries that they belong to."""
    items: list[Item] = []
    texts: list[str] = []  # of the message that may continue
    for n, entry in enumerate(entries):
        if entry.kind == "reasoning":
            continue
        joins = entry.joins and bool(texts) and n not in before and entry.phase is None
        if texts and not joins:
            items.append(output_message("".join(texts)))
            texts = []
        items += reversed(before.get(n, ()))
        if entry.item is not None:
            items.append(entry.item)
        elif entry.phase is not None:
            items.append({**output_message(entry.text), "phase": entry.phase})
        else:
            texts.append(entry.text)
    if texts:
        items.append(output_message("".join(texts)))
    return items


def output_message(text: str) -> Item:
    """A message of the assistant."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "content": content}


class _Places:
    """Finds the item that a reasoning item belonged to; must be queried from the last entry to the first."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._messages: list[int] = []  # their positions
        self._counts: list[tuple[int, int]] = []  # for each entry, the number of messages and calls before it
        self._next: list[int | None] = [None] * len(entries)  # for each entry, the next that is not reasoning
        self._found: dict[int, int] = {}
        calls = 0
        for n, entry in enumerate(entries):
            self._counts.append((len(self._messages), calls))
            if entry.kind == "message":
                self._messages.append(n)
            calls += entry.kind == "call"
        following: int | None = None
        for n in range(len(entries) - 1, -1, -1):
            self._next[n] = following
            following = following if entries[n].kind == "reasoning" else n

    def target(self, n: int, state: State) -> int | None:
        """The position of the item that the reasoning at ``n`` belonged to, if it is still there."""
        found = self._before(n, state) if state.before else self._behind(n, state)
        if found is not None:
            self._found[n] = found
        return found

    def _before(self, n: int, state: State) -> int | None:
        messages, calls = self._counts[n]
        if state.following is None or state.following.kind != "message" or not 0 < state.before <= messages:
            return None
        place = self._messages[messages - state.before]
        return place if self._counts[place][1] == calls else None

    def _behind(self, n: int, state: State) -> int | None:
        if state.following is None:
            return None
        if state.following.kind == "reasoning":
            return self._found.get(n + 1)
        place = self._next[n]
        if place is None or self._entries[place].kind != state.following.kind:
            return None
        same = state.following.kind == "message" or self._entries[place].id == state.following.value
        return place if same else None
