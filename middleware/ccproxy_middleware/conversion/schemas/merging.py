"""Merge several schemas that all apply into one."""

from typing import Any

from ...toolkit.json import dumps

_HIGHER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_LOWER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_FIRST = frozenset({"description", "title", "default", "examples", "nullable"})


class Merged:
    """A schema that expresses all of its parts; ``lost`` is what can't be expressed together.

    It takes time linear in the parts: what is merged is copied once.
    """

    def __init__(self) -> None:
        self.schema: dict[str, Any] = {}
        self.lost: dict[str, Any] = {}
        self._properties: dict[str, Any] | None = None  # copied already
        self._joined: dict[str, list[Any]] = {}  # by property
        self._required: dict[str, None] | None = None

    def add(self, part: dict[str, Any]) -> None:
        """Merge one more part, which may be kept and modified."""
        if not self.schema:
            self.schema = part
            return
        for keyword, value in part.items():
            if keyword not in self.schema:
                self.schema[keyword] = value
            else:
                self._join(keyword, self.schema[keyword], value)

    def _join(self, keyword: str, old: Any, new: Any) -> None:
        if keyword in _FIRST:
            return
        if keyword == "properties":
            self._join_properties(old, new)
        elif keyword == "required":
            if self._required is None:
                self._required = dict.fromkeys(old)
            if not self._required.keys() >= set(new):
                self._required |= dict.fromkeys(new)
                self.schema[keyword] = self._required  # a list once all parts are merged
        elif keyword in _HIGHER:
            self.schema[keyword] = max(old, new)
        elif keyword in _LOWER:
            self.schema[keyword] = min(old, new)
        elif keyword == "type" and (types := _common_types(old, new)):
            self.schema[keyword] = types[0] if len(types) == 1 else types
        elif keyword == "enum" and (values := _common_values(old, new)):
            self.schema[keyword] = values
        elif old != new:
            self.lost.setdefault(keyword, new)

    def _join_properties(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        if self._properties is None:
            self._properties = dict(old)
            self.schema["properties"] = self._properties
        for name, value in new.items():
            if name not in self._properties:
                self._properties[name] = value
            elif name in self._joined:
                self._joined[name].append(value)
            elif self._properties[name] is not value:
                self._joined[name] = [self._properties[name], value]
                self._properties[name] = {"allOf": self._joined[name]}

    def finish(self) -> dict[str, Any]:
        """The schema, after all parts were added."""
        if self._required is not None:
            self.schema["required"] = list(self._required)
        return self.schema


def _common_types(old: Any, new: Any) -> list[str]:
    olds = old if isinstance(old, list) else [old]
    news = new if isinstance(new, list) else [new]
    narrower = "integer" if "integer" in [*olds, *news] else "number"
    return [
        narrower if type_ in ("number", "integer") else type_
        for type_ in olds
        if type_ in news or (type_ == "number" and "integer" in news) or (type_ == "integer" and "number" in news)
    ]


def _common_values(old: list[Any], new: list[Any]) -> list[Any]:
    keys = {dumps(value) for value in new}
    return [value for value in old if dumps(value) in keys]
