"""The items of a streamed answer, each as far as it has arrived."""

from collections.abc import Mapping
from typing import Any, Literal

from ..anthropic import arguments_text
from .output_items import Kind, function_name, message_parts, upstream_id
from .state import kept_item

Source = Literal["summary", "content"]


class StreamedItem:
    """One item. Its text or arguments arrive in fragments, and again as a whole at the end of each part.

    pending: what has arrived and has not been sent to the client yet. done: nothing more will arrive. opened: its block
    was begun.
    """

    __slots__ = ("_fragments", "_part", "data", "done", "id", "index", "kind", "opened", "pending", "size")

    def __init__(self, kind: Kind, index: int | None, id_: Any, data: Mapping[str, Any]) -> None:
        self.kind: Kind = kind
        self.index = index
        self.id = id_ if isinstance(id_, str) else ""
        self.data = data
        self.done = False
        self.opened = False
        self.pending: list[str] = []
        self.size = 0  # characters of all fragments
        self._part = 0  # the part that was begun last
        self._fragments: list[str] = []  # of that part

    def add(self, part: Any, fragment: str) -> str:
        """Add a fragment of a part, or of the part begun last; returns what is new in it."""
        if isinstance(part, int) and part > self._part:
            self._part = part
            self._fragments.clear()
            self._begin_part()
        if fragment:
            self._fragments.append(fragment)
            self._take(fragment)
        return fragment

    def sent(self, fragment: str) -> None:
        """A fragment of the part begun last has arrived and been sent to the client."""
        self._fragments.append(fragment)
        self.size += len(fragment)

    def complete(self, part: Any, text: str) -> str:
        """Process a whole part; returns what had not arrived yet.

        What has already arrived is kept unchanged, and so are the parts before the one that was begun last.
        """
        number = part if isinstance(part, int) else self._part
        if number > self._part:
            return self.add(number, text)
        sent = "".join(self._fragments)
        if number < self._part or not text.startswith(sent):
            return ""
        return self.add(number, text[len(sent) :])

    def finish(self, item: Mapping[str, Any] | None) -> list[tuple[str, bool]]:
        """Finish the item; ``item`` is the finished item if the provider has sent it.

        Returns what had not arrived yet, in pieces, each with whether it is a refusal.
        """
        more: list[tuple[str, bool]] = []
        if item is not None:
            self.data = item
            more = self._finish(item)
        self.done = True
        self._fragments.clear()
        return more

    def take(self) -> str:
        """Remove and return what is pending."""
        text = "".join(self.pending)
        self.pending.clear()
        return text

    def _finish(self, item: Mapping[str, Any]) -> list[tuple[str, bool]]:
        return []

    def _begin_part(self) -> None:
        pass

    def _take(self, fragment: str) -> None:
        self.size += len(fragment)
        self.pending.append(fragment)


class StreamedMessage(StreamedItem):
    """A message. Its parts are joined to one text."""

    __slots__ = ("blank",)

    def __init__(self, index: int | None, id_: Any, data: Mapping[str, Any]) -> None:
        super().__init__("message", index, id_, data)
        self.blank: list[str] = []  # whitespace that is written only if visible text follows

    @property
    def phase(self) -> str | None:
        phase = self.data.get("phase")
        return phase if isinstance(phase, str) else None

    def _finish(self, item: Mapping[str, Any]) -> list[tuple[str, bool]]:
        parts = message_parts(item)
        return [(self.complete(n, text), is_refusal) for n, (text, is_refusal) in enumerate(parts)]


class StreamedReasoning(StreamedItem):
    """A reasoning item. Its text is a summary or the reasoning itself: the first kind that arrives, never both."""

    __slots__ = ("_separates", "source")

    def __init__(self, index: int | None, id_: Any, data: Mapping[str, Any]) -> None:
        super().__init__("reasoning", index, id_, data)
        self.source: Source | None = None
        self._separates = False  # a blank line is written before the next text

    @property
    def has_state(self) -> bool:
        """Whether the finished item has encrypted content."""
        return self.done and "encrypted_content" in (kept_item(self.data) or ())

    def takes(self, source: Source) -> bool:
        """Whether text of this kind counts."""
        self.source = self.source or source
        return self.source == source

    def _finish(self, item: Mapping[str, Any]) -> list[tuple[str, bool]]:
        sources: tuple[Source, ...] = (self.source,) if self.source else ("summary", "content")
        for source in sources:
            parts = item.get(source)
            more: list[tuple[str, bool]] = []
            for n, part in enumerate(parts if isinstance(parts, list) else ()):
                text = part.get("text") if isinstance(part, dict) else None
                if isinstance(text, str) and text:
                    more.append((self.complete(n, text), False))
            if more:
                return more
        return []

    def _begin_part(self) -> None:
        self._separates = self.size > 0

    def _take(self, fragment: str) -> None:
        if self._separates:
            self._separates = False
            self.pending.append("\n\n")
        super()._take(fragment)


class StreamedCall(StreamedItem):
    """A call of a function or of a tool that takes free text. ``arguments`` are set once it is complete."""

    __slots__ = ("arguments", "client_id", "custom", "name")

    def __init__(self, index: int | None, id_: Any, data: Mapping[str, Any]) -> None:
        super().__init__("call", index, id_, data)
        self.custom = data.get("type") == "custom_tool_call"
        self.name = function_name(data)
        self.client_id = ""
        self.arguments = ""

    @property
    def upstream_id(self) -> Any:
        return upstream_id(self.data)

    def finish(self, item: Mapping[str, Any] | None) -> list[tuple[str, bool]]:
        announced = self.data
        if item is not None:
            self.data = item
            self.custom = self.custom or item.get("type") == "custom_tool_call"
            self.name = self.name or function_name(item)
        more = self._whole(self.data)
        if not self.size:  # a host that sends the arguments only with the announcement
            more += self._whole(announced)
        self.arguments = "".join(self._fragments)
        self._fragments.clear()
        self.done = True
        return more

    def _whole(self, item: Mapping[str, Any]) -> list[tuple[str, bool]]:
        return [(self.complete(0, arguments_text(item.get("input" if self.custom else "arguments"))), False)]


def new_item(kind: Kind, index: int | None, id_: Any, data: Mapping[str, Any]) -> StreamedItem:
    """An item that was announced, or for which a delta has arrived."""
    if kind == "message":
        return StreamedMessage(index, id_, data)
    if kind == "search":
        return StreamedItem(kind, index, id_, data)
    return StreamedReasoning(index, id_, data) if kind == "reasoning" else StreamedCall(index, id_, data)
