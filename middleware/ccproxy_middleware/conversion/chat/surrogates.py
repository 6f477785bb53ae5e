"""Emoji that a server has cut in two: one half of a surrogate pair ends a fragment, the other begins the next."""

from typing import Any

from ...toolkit.json import loads, loads_lenient, replace_surrogates

_Path = tuple[str | int, ...]

_DELTA = ("choices", 0, "delta")


class ChunkReader:
    """Parse the chunks of one stream, and put halves of surrogate pairs together.

    A string's last character is held if it is a high surrogate, and goes in front of the next fragment of the same
    field. What finds no partner becomes U+FFFD.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[_Path, str] = {}

    @property
    def held(self) -> bool:
        """Whether half of a pair waits for the other."""
        return bool(self._held)

    def read(self, data: bytes) -> Any:
        """The JSON of one event, bytes that are no UTF-8 replaced. Raises ValueError if it is none."""
        try:
            return self._parse(data)
        except ValueError:
            readable = data.decode("utf-8", "replace").encode()
            if readable == data:
                raise
            return self._parse(readable)

    def finish(self) -> dict[str, str]:
        """A last delta, with the halves of its fields that found no partner."""
        lone = {str(path[3]): "\ufffd" for path in self._held if path[:3] == _DELTA and len(path) == 4}
        self._held.clear()
        return lone

    def _parse(self, data: bytes) -> Any:
        escaped = b"\\" in data and (b"\\ud" in data or b"\\uD" in data)
        if not escaped and not self._held:
            return loads(data)
        chunk = loads_lenient(data) if escaped else loads(data)
        try:
            return replace_surrogates(self._join(chunk, ()))
        except RecursionError:
            raise ValueError("the document is nested too deeply") from None

    def _join(self, value: Any, path: _Path) -> Any:
        if isinstance(value, str) and value:
            value = self._held.pop(path, "") + value
            if "\ud800" <= value[-1] <= "\udbff":
                self._held[path] = value[-1]
                value = value[:-1]
            return value
        if isinstance(value, dict):
            return {key: self._join(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._join(item, (*path, _place(item, n))) for n, item in enumerate(value)]
        return value


def _place(item: Any, position: int) -> int:
    """Where a list's item belongs: choices and tool calls have an ``index`` of their own."""
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else position
