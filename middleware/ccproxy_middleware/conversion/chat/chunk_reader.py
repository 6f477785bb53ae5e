"""The JSON of chat completion chunks; emoji that a server has split in two are rejoined."""

from typing import Any

from ...toolkit.json.surrogates import PairingReader

_Path = tuple[str | int, ...]

_DELTA = ("choices", 0, "delta")


class ChunkReader(PairingReader):
    """Parse the chunks of one stream. An unpaired half becomes U+FFFD."""

    __slots__ = ()

    def finish(self) -> dict[str, str]:
        """A last delta with the halves that remained unpaired."""
        lone = {str(path[3]): "\ufffd" for path in self._held if path[:3] == _DELTA and len(path) == 4}
        self._held.clear()
        return lone

    def _paired(self, event: Any) -> Any:
        return self._join(event, ())

    def _join(self, value: Any, path: _Path) -> Any:
        if isinstance(value, str) and value:
            return self._pair(path, value)
        if isinstance(value, dict):
            return {key: self._join(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._join(item, (*path, _place(item, n))) for n, item in enumerate(value)]
        return value


def _place(item: Any, position: int) -> int:
    """Where a list item belongs: choices and tool calls have an ``index`` of their own."""
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else position
