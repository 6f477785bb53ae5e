"""Emoji that a server has split: one half of a surrogate pair ends a fragment, and the other begins the next."""

from collections.abc import Hashable
from typing import Any

from .codec import loads, loads_lenient, replace_surrogates


class PairingReader:
    """Parses the events of one stream, and joins split surrogate pairs.

    A fragment's last character is held if it is a high surrogate, and is put before the next fragment of the same
    field. Subclasses determine which strings are fragments, and of which field.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[Any, str] = {}

    @property
    def held(self) -> bool:
        """Whether half of a pair is held."""
        return bool(self._held)

    def read(self, data: bytes) -> Any:
        """The JSON of one event, with invalid UTF-8 replaced. Raises ValueError if it is not JSON."""
        try:
            return self._parse(data)
        except ValueError:
            readable = data.decode("utf-8", "replace").encode()
            if readable == data:
                raise
            return self._parse(readable)

    def _parse(self, data: bytes) -> Any:
        escaped = b"\\" in data and (b"\\ud" in data or b"\\uD" in data)
        if not escaped and not self._held:
            return loads(data)
        event = loads_lenient(data) if escaped else loads(data)
        try:
            return replace_surrogates(self._paired(event))
        except RecursionError:
            raise ValueError("the document is nested too deeply") from None

    def _paired(self, event: Any) -> Any:
        """The event with its fragments by :meth:`_pair`."""
        raise NotImplementedError

    def _pair(self, field: Hashable, fragment: str) -> str:
        """The fragment with the half that was held before it, and without one that is held for the next."""
        fragment = self._held.pop(field, "") + fragment
        if fragment and "\ud800" <= fragment[-1] <= "\udbff":
            self._held[field] = fragment[-1]
            fragment = fragment[:-1]
        return fragment
