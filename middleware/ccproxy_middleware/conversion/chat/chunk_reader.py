"""The JSON of chat completion chunks, with emoji put together that a server has cut in two."""

from typing import Any

from ...toolkit.json.surrogates import PairingReader

_Path = tuple[str | int, ...]

_DELTA = ("choices", 0, "delta")


class ChunkReader(PairingReader):
    """Parse the chunks of one stream. A half that finds no partner becomes U+FFFD."""

    __slots__ = ()

    def finish(self) -> dict[str, str]:
        """A last delta, with the halves of its fields that found no partner."""
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
    """Where a list's item belongs: choices and tool calls have an ``index`` of their own."""
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else position
