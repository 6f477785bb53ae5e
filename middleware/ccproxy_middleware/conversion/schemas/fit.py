"""Adapt the schemas of tools and of structured answers to what a provider accepts."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from .dialects import DIALECTS, Dialect
from .kinds import MISSING, mended
from .notes import shown
from .references import Allowance, References
from .repair import Repair, Schema

_REFUSED_AT_ROOT = frozenset({"anyOf", "oneOf", "allOf", "enum", "not"})
_MAX_ORIGINAL = 10_000  # characters of a schema that is added to the description


class Fitted(NamedTuple):
    """A schema that a provider accepts: the original object if it needs no change.

    note: a text for the tool's description, if the schema has lost something that its own descriptions can't express.
    changed: the keywords that had to change.
    """

    schema: Schema
    note: str | None
    changed: tuple[str, ...]


def fit_tool(schema: Schema, dialect: str, allowance: Allowance | None = None) -> Fitted:
    """A tool's ``input_schema`` as ``parameters``: always one object.

    OpenAI refuses an object without ``properties`` and a combination at the top level; so do others.
    """
    if dialect == "full":
        return Fitted(schema, None, ())
    references = References(schema)
    root, changed = _as_object(schema, references)
    note = f"Input schema: {shown(schema, _MAX_ORIGINAL)}" if _tells_more(changed) else None
    return _fitted(root, DIALECTS[dialect], references, allowance, note, changed)


def fit_format(schema: Schema, dialect: str) -> Fitted:
    """The schema of a structured answer, which may be of any type."""
    if dialect == "full":
        return Fitted(schema, None, ())
    return _fitted(schema, DIALECTS[dialect], References(schema), None, None, [])


def _fitted(
    root: Schema,
    dialect: Dialect,
    references: References,
    allowance: Allowance | None,
    note: str | None,
    changed: list[str],
) -> Fitted:
    shared = allowance or Allowance()
    own = shared.for_one()
    given = own.left
    repair = Repair(dialect, references, own)
    fitted = repair.fit(root)
    shared.take(given - own.left)
    return Fitted(fitted, note, tuple(dict.fromkeys([*changed, *repair.changed])))


def _tells_more(changed: list[str]) -> bool:
    return bool({*_REFUSED_AT_ROOT, "$ref", "type"} & set(changed))


def _as_object(schema: Schema, references: References) -> tuple[Schema, list[str]]:
    """The root as an object without combinations, and the keywords that were changed for it."""
    root, changed = schema, []
    if "$ref" in schema:
        root, dangling = _followed(schema, references)
        changed = ["$ref"] if dangling else []
    if not _REFUSED_AT_ROOT.isdisjoint(root):
        changed += sorted(key for key in _REFUSED_AT_ROOT & root.keys() if root[key] is not None)
        root = _one_object(root, references)
    type_ = mended("type", root.get("type"))
    if type_ != "object":
        if type_ is not MISSING and "object" not in type_:
            changed.append("type")
        root = {**root, "type": "object"}
    if not isinstance(root.get("properties"), dict):
        root = {**root, "properties": {}}
    return root, changed


def _followed(schema: Schema, references: References) -> tuple[Schema, bool]:
    """The root with the target of its reference written into it, and whether the target was missing in the end."""
    root: Schema = {}
    seen: set[int] = set()
    part: Schema | None = schema
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        for keyword, value in part.items():
            if keyword != "$ref":
                root.setdefault(keyword, value)
        if not isinstance(reference := part.get("$ref"), str):
            return root, False
        part = references.target(reference)
    return root, True


def _one_object(schema: Schema, references: References) -> Schema:
    """All branches of a schema as one object; a property is required if every branch requires it."""
    properties: Schema = {}
    required: dict[Any, None] = {}
    for part, always in _parts(schema, references):
        own = part.get("properties")
        for name, value in own.items() if isinstance(own, dict) else ():
            properties.setdefault(name, value)
        names = part.get("required")
        if always and isinstance(names, list):
            required |= dict.fromkeys(name for name in names if isinstance(name, str))
    kept = {k: v for k, v in schema.items() if k not in _REFUSED_AT_ROOT | {"properties", "required"}}
    merged = {**kept, "type": "object", "properties": properties}
    names = [name for name in required if name in properties]
    return {**merged, "required": names} if names else merged


def _parts(schema: Schema, references: References) -> Iterator[tuple[Schema, bool]]:
    """A schema and the branches of its combinations, each with whether it always applies."""
    todo: list[tuple[Any, bool]] = [(schema, True)]
    seen: set[int] = set()
    while todo:
        part, always = todo.pop()
        if not isinstance(part, dict) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part, always
        more: list[tuple[Any, bool]] = []
        if isinstance(reference := part.get("$ref"), str):
            more.append((references.target(reference), always))
        for keyword in ("allOf", "anyOf", "oneOf"):
            branches = part.get(keyword)
            if isinstance(branches, list):
                more += [(branch, always and keyword == "allOf") for branch in branches]
        todo += reversed(more)
