"""The targets of ``$ref``, and how much of them may be written out."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from ...toolkit.json import dumps
from .kinds import LISTED

_MAX_WRITTEN = 256 * 1024  # bytes of one schema; no context window holds more
_MAX_MEASURED = 16 * 1024 * 1024


class Allowance:
    """The number of bytes by which the schemas of a request may grow.

    One schema gets a quarter of what is left, so that something remains for the following ones.
    """

    def __init__(self, total: int = 2 * 1024 * 1024) -> None:
        self.left = total

    def for_one(self) -> "Allowance":
        """The allowance of one schema."""
        return Allowance(min(_MAX_WRITTEN, self.left // 4))

    def take(self, size: int) -> bool:
        """Use ``size`` bytes of it, if that many are left."""
        if size > self.left:
            return False
        self.left -= size
        return True


class References:
    """The targets of a schema's references to parts of itself."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._targets: dict[str, Any] = {}
        self._sizes: dict[int, int] = {}
        self._measurable = _MAX_MEASURED
        self._endless: frozenset[str] | None = None

    def target(self, reference: str) -> dict[str, Any] | None:
        """The schema that is referenced, or None if there is none."""
        if reference not in self._targets:
            self._targets[reference] = self._find(reference)
        found = self._targets[reference]
        return found if isinstance(found, dict) else None

    def size(self, target: Any) -> int:
        """The number of bytes of a target's JSON; a very large number for one that isn't worth measuring."""
        if id(target) not in self._sizes:
            size = json_size(target) if self._measurable > 0 else _MAX_MEASURED
            self._measurable -= size
            self._sizes[id(target)] = size
        return self._sizes[id(target)]

    def is_endless(self, reference: str) -> bool:
        """Whether no finite value can satisfy it: a definition that requires itself, directly or through others."""
        if self._endless is None:
            self._endless = frozenset(self._find_endless())
        return reference in self._endless

    def _find(self, reference: str) -> Any:
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            return None
        here: Any = self._root
        for part in reference[2:].split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(here, dict):
                here = here.get(name)
            elif isinstance(here, list) and name.isascii() and name.isdigit() and len(name) < 7:
                here = here[int(name)] if int(name) < len(here) else None
            else:
                return None
        return here

    def _find_endless(self) -> set[str]:
        definitions = self._root.get("$defs")
        schemas: dict[str, Any] = {"#": self._root}
        if isinstance(definitions, dict):
            schemas |= {f"#/$defs/{name}": value for name, value in definitions.items()}
        needs = {name: {r for r in _required_references(value) if r in schemas} for name, value in schemas.items()}
        needed_by: dict[str, list[str]] = {name: [] for name in needs}
        for name, others in needs.items():
            for other in others:
                needed_by[other].append(name)
        ending = [name for name, others in needs.items() if not others]
        for name in ending:  # it grows in the loop
            for other in needed_by[name]:
                needs[other].discard(name)
                if not needs[other]:
                    ending.append(other)
        return set(needs) - set(ending)


def json_size(value: Any) -> int:
    """The bytes of a value's JSON."""
    try:
        return len(dumps(value))
    except TypeError:  # nested too deeply to be serialized
        return _MAX_MEASURED


def _required_references(schema: Any) -> Iterator[str]:
    """The references that every value of a schema has to satisfy."""
    todo = [schema]
    while todo:
        here = todo.pop()
        if not isinstance(here, dict):
            continue
        if isinstance(here.get("$ref"), str):
            yield here["$ref"]
        properties, required = here.get("properties"), here.get("required")
        if isinstance(properties, dict) and isinstance(required, list):
            todo += [properties[name] for name in required if isinstance(name, str) and name in properties]
        todo.append(here.get("items"))
        for keyword in LISTED:
            branches = here.get(keyword)
            if isinstance(branches, list) and (keyword != "anyOf" or len(branches) == 1):
                todo += branches
