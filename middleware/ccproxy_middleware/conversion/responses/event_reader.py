"""The JSON of a Responses stream's events, with emoji put together that a server has cut in two."""

from typing import Any

from ...toolkit.json import loads, loads_lenient, replace_surrogates

_Key = tuple[Any, ...]


class EventReader:
    """Parse the events of one stream.

    A delta's last character is held if it is a high surrogate, and goes in front of the next delta of the same part.
    What finds no partner becomes U+FFFD where the part is told as a whole, and is lost where it never is.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[_Key, str] = {}

    def read(self, data: bytes) -> Any:
        """The JSON of one event, bytes that are no UTF-8 replaced. Raises ValueError if it is none."""
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
        if isinstance(event, dict) and isinstance(event.get("delta"), str):
            event = {**event, "delta": self._joined(event)}
        try:
            return replace_surrogates(event)
        except RecursionError:
            raise ValueError("the document is nested too deeply") from None

    def _joined(self, event: dict[str, Any]) -> str:
        item = event.get("output_index", event.get("item_id"))
        key = (event.get("type"), item, event.get("content_index"), event.get("summary_index"))
        if not all(value is None or isinstance(value, (int, str)) for value in key):
            return str(event["delta"])
        delta: str = self._held.pop(key, "") + event["delta"]
        if delta and "\ud800" <= delta[-1] <= "\udbff":
            self._held[key] = delta[-1]
            delta = delta[:-1]
        return delta
