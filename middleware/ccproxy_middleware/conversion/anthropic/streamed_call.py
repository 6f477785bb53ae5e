"""One tool call that arrives in fragments: what has arrived, and what has been sent to the client."""

from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps, loads
from .json_progress import JsonProgress

NOTHING = ("", "null", "None", "undefined", "[]", '""', '"null"')
"""The arguments that some servers write for a call without any, besides ``{}``."""

MAX_NAME = 1000  # characters of a tool's name
_LONGEST = max(map(len, NOTHING))


class StreamedCall:
    """One call as far as it has arrived."""

    __slots__ = (
        "_again", "_fragments", "_progress", "_read", "blank", "client_id", "custom", "id", "index", "name",
        "name_settled", "quoted", "sent", "signature", "signature_sent",
    )  # fmt: skip

    def __init__(self, *, custom: bool = False) -> None:
        self.id = ""  # the provider's id, if it sends one
        self.index: int | None = None  # the id under which it was announced
        self.client_id = ""  # set when the block is opened
        self.name = ""
        self.name_settled = False
        self.custom = custom
        self.signature: str | None = None
        self.signature_sent = False
        self.sent = 0  # number of argument fragments already sent to the client
        self.blank = True  # no arguments yet, or only whitespace
        self.quoted = False  # the arguments are a JSON string, which may contain an encoded object
        self._fragments: list[str] = []
        self._progress = JsonProgress()
        self._read = 0  # number of fragments already processed by the progress check
        self._again: Repetition | None = None

    @property
    def arguments(self) -> str:
        return "".join(self._fragments)

    @property
    def whole(self) -> bool:
        """Whether the arguments are complete. Free text (a custom tool's input) has no end marker and always counts as
        complete.
        """
        while self._read < len(self._fragments):
            self._progress.feed(self._fragments[self._read])
            self._read += 1
        return self._progress.whole or self.custom

    @property
    def takes_more(self) -> bool:
        """Whether a further fragment of arguments may belong to it: it is incomplete, or only a placeholder."""
        return self.custom or not self.whole or self._is_placeholder

    @property
    def repetition(self) -> "Repetition | None":
        """What followed the complete arguments without being part of them."""
        return self._again

    @property
    def _is_placeholder(self) -> bool:
        """Whether there is only a placeholder: ``{}``, after which some servers send the real arguments, or NOTHING."""
        if self.sent or len(self._fragments) > _LONGEST:
            return False
        return self._fragments == ["{}"] or _begins_nothing("".join(self._fragments).strip())

    def add_name(self, name: Any) -> None:
        if isinstance(name, str) and name and not self.name_settled and name != self.name:
            if len(self.name) + len(name) > MAX_NAME:
                raise ApiError(502, "api_error", f"upstream sent the name of a tool with over {MAX_NAME} characters")
            self.name += name
            self.name_settled = bool(self._fragments)

    def add_arguments(self, fragment: str) -> None:
        """Process the next fragment. What follows complete arguments is kept separately in ``repetition``."""
        if not fragment:
            return
        if self._is_placeholder and not _begins_nothing((self.arguments + fragment).strip()):
            if not fragment.strip():
                return
            if self.whole:
                self._fragments.clear()
                self._progress, self._read = JsonProgress(), 0
        elif not self.custom and fragment.strip() and (self._again is not None or self.whole):
            self._again = self._again or Repetition()
            self._again.add(fragment)
            if self._again.equals(self.arguments):
                self._again = None  # the same arguments repeated
            return
        if self.blank or not self._fragments:
            self.quoted = fragment.lstrip().startswith('"')
        self._fragments.append(fragment)
        self.blank = self.blank and not fragment.strip()
        self.name_settled = bool(self.name)

    def take_repetition(self) -> "Repetition":
        """Remove and return what followed the complete arguments, so that another call can use it."""
        again, self._again = self._again, None
        return again or Repetition()

    def take(self) -> str:
        """The arguments received since the last call; a lone ``{}`` is held back, as it may be a placeholder."""
        if self.custom or self._is_placeholder:
            return ""
        new = "".join(self._fragments[self.sent :])
        self.sent = len(self._fragments)
        return new

    def take_last(self) -> str:
        """What still has to be sent when the call ends: at least an empty object."""
        if self.custom:
            return dumps({"input": self.arguments}).decode()
        rest = "".join(self._fragments[self.sent :])
        empty = not self.sent and rest.strip() in NOTHING
        self.sent = len(self._fragments)
        return "{}" if empty or (not rest.strip() and self.blank) else rest


def _begins_nothing(text: str) -> bool:
    return text != "" and len(text) <= _LONGEST and any(word.startswith(text) for word in NOTHING)


class Repetition:
    """Arguments that follow those of a complete call: a repetition, or the arguments of another call."""

    __slots__ = ("_fragments", "_progress")

    def __init__(self) -> None:
        self._fragments: list[str] = []
        self._progress = JsonProgress()

    @property
    def fragments(self) -> list[str]:
        return self._fragments

    @property
    def could_be_whole(self) -> bool:
        """Whether it is, or begins like, a separate object."""
        return "".join(self._fragments[:1]).lstrip().startswith("{")

    @property
    def whole(self) -> bool:
        return self._progress.whole

    def add(self, fragment: str) -> None:
        self._fragments.append(fragment)
        self._progress.feed(fragment)

    def equals(self, arguments: str) -> bool:
        return self.whole and bool(loads("".join(self._fragments)) == loads(arguments))


def nameless() -> ApiError:
    """The error for a call that names no tool."""
    return ApiError(502, "api_error", "upstream sent a tool call without a name")
