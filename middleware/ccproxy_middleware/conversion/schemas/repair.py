"""Walk once over a schema and return it unchanged, or as a dialect accepts it."""

import operator
from collections.abc import Mapping
from typing import Any

from .dialects import Dialect
from .kinds import KINDS, LISTED, MISSING, NAMED, OF_TYPE, SILENT, SINGLE, STANDARD, TYPES, is_empty, matches, mended
from .merging import Merged
from .notes import told
from .references import Allowance, References, json_size
from .values import fit_enum, fit_limits, infer_type

Schema = dict[str, Any]

_CHILDREN: Mapping[str, str] = {
    **dict.fromkeys(NAMED, "named"), **dict.fromkeys(LISTED, "listed"), **dict.fromkeys(SINGLE, "single"),
}  # fmt: skip
_TYPED = frozenset().union(*OF_TYPE.values())
_WRITTEN_OUT = frozenset({"$ref", "allOf"})
_COMBINES = _WRITTEN_OUT | {"anyOf", "oneOf"}
_TELLING = frozenset({"default", "const", "not", "nullable", "uniqueItems"})  # also for values that look empty
_STRUCTURE = frozenset({"properties", "items", "enum"})
_SAYS_TYPE = _STRUCTURE | {"type", "const", "anyOf", "oneOf", "allOf", "$ref"}


class Repair:
    """Adapts one schema to a dialect, at every level.

    A schema that needs no change is returned as the same object. What a dialect has no keyword for is added to the
    description beside it. Work and result are linear in the schema and the allowance.
    """

    def __init__(self, dialect: Dialect, references: References, allowance: Allowance) -> None:
        self._dialect = dialect
        self._references = references
        self._allowance = allowance
        self._active: set[int] = set()  # the references that are being written out
        self.changed: dict[str, None] = {}
        """The keywords that had to change."""

    def fit(self, schema: Any, depth: int = 0) -> Any:
        """The schema itself, or a replacement that the dialect accepts."""
        dialect = self._dialect
        if not isinstance(schema, dict):
            if dialect.boolean_schemas:
                return schema
            schema = {} if schema else {"not": {}}
        if depth > dialect.max_depth:
            self.changed["depth"] = None
            return {"type": "object", "description": "Nested too deeply to be told."}
        entered: list[int] = []
        node, lost = self._written_out(schema, depth == 0, entered)
        self._fit_node(node, lost)
        self._fit_children(node, depth)
        self._fit_names(node, lost)
        if dialect.unions == "nullable" and "anyOf" in node:
            self._fold_null(node, lost)
        if lost:
            self.changed |= dict.fromkeys(lost)
            node["description"] = told(node.get("description"), lost)
        if dialect.beside_any_of is not None and "anyOf" in node:
            _move_description(node, dialect.beside_any_of)
        if entered:
            self._active.difference_update(entered)
        if _same(node, schema):
            return schema
        self.changed |= dict.fromkeys(
            key
            for key in {**schema, **node}
            if key != "description"
            and (key not in schema or key not in node or (key not in _CHILDREN and schema[key] is not node[key]))
        )
        return node

    # The parts of a schema: its own keywords, references and allOf

    def _written_out(self, schema: Schema, root: bool, entered: list[int]) -> tuple[Schema, Schema]:
        """A copy of the schema in the dialect's keywords, and the keywords that the dialect can't express."""
        if schema.keys().isdisjoint(_COMBINES):
            lost: Schema = {}
            return self._cleaned(schema, lost, root), lost
        merged = Merged()
        parts: list[Any] = [schema]
        while parts:
            part = self._cleaned(parts.pop(), merged.lost, root)
            more: list[Any] = []
            if "$ref" in part and not self._stays(part, root, single=not (merged.schema or merged.lost or parts)):
                reference = part.pop("$ref")
                target = self._enter(reference, entered)
                if target is None:
                    merged.lost.setdefault("$ref", reference)
                    if _SAYS_TYPE.isdisjoint(part) and _SAYS_TYPE.isdisjoint(merged.schema):
                        part["type"] = self._type_of(reference)
                else:
                    more.append(target)
            if "allOf" in part and "allOf" not in self._dialect.keywords:
                more += part.pop("allOf")
            merged.add(part)
            parts += reversed(more)
            if not parts and "anyOf" in merged.schema:
                parts += self._only_branch(merged.schema)
        return merged.finish(), merged.lost

    def _cleaned(self, part: Any, lost: Schema, root: bool) -> Schema:
        if not isinstance(part, dict):
            if part is False:
                lost.setdefault("not", {})
            return {}
        cleaned: Schema = {}
        keywords = self._dialect.keywords
        for keyword, value in part.items():
            if keyword in keywords or keyword in _WRITTEN_OUT:
                kind = KINDS.get(keyword)
                kept = value if kind is None else kind(value)
                if kept is MISSING:
                    self._lose(keyword, value, part, cleaned, lost)
                elif keyword != "$defs" or root or self._dialect.references != "definitions":
                    cleaned[keyword] = kept
            elif keyword not in STANDARD and self._dialect.unknown:
                cleaned[keyword] = value
            elif keyword == "const" and "enum" not in part:
                cleaned["enum"] = [value]
            elif keyword == "oneOf" and "anyOf" not in part:
                if (branches := mended("anyOf", value)) is not MISSING:
                    cleaned["anyOf"] = branches
            else:
                self._lose(keyword, value, part, cleaned, lost)
        if "prefixItems" in part or cleaned.get("items") is False:
            self._fit_tuple(part, cleaned, lost)
        return cleaned

    def _fit_tuple(self, part: Schema, cleaned: Schema, lost: Schema) -> None:
        """Items by position become items of any of these kinds, if the dialect has no positions."""
        if cleaned.get("items") is False and not self._dialect.boolean_schemas:
            del cleaned["items"]
            if "prefixItems" not in part:
                lost.setdefault("items", False)
        branches = mended("anyOf", part.get("prefixItems"))
        if branches is not MISSING and "prefixItems" not in self._dialect.keywords and "items" not in cleaned:
            cleaned["items"] = {"anyOf": branches}

    def _lose(self, keyword: str, value: Any, part: Schema, cleaned: Schema, lost: Schema) -> None:
        limit = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}.get(keyword, "")
        if (
            value is True
            and keyword in self._dialect.keywords
            and mended(limit, part.get(limit)) not in (None, MISSING)
        ):
            cleaned[keyword] = part[limit]  # as in drafts before the sixth
        elif keyword in _TELLING:
            if value is not None and (value is not False or keyword == "default"):
                lost.setdefault(keyword, value)
        elif keyword not in SILENT and not is_empty(value) and (keyword, value) != ("type", "any"):
            lost.setdefault(keyword, value)

    def _stays(self, part: Schema, root: bool, single: bool) -> bool:
        reference: str = part["$ref"]
        kind = self._dialect.references
        if kind == "keep":  # a reference that doesn't begin with #/ may mean an anchor
            local = reference.startswith("#") and not reference.startswith("#/")
            return local or self._references.target(reference) is not None
        if kind == "write_out" or root or len(part) > 1 or not single:
            return False
        name = reference.removeprefix("#/$defs/")
        plain = reference == "#" or (name != reference and name and not {"/", "~", "%"} & set(name))
        found = bool(plain) and self._references.target(reference) is not None
        return found and not self._references.is_endless(reference)

    def _enter(self, reference: str, entered: list[int]) -> Schema | None:
        """The target of a reference, unless it refers to itself or there is no room."""
        target = self._references.target(reference)
        if target is None or id(target) in self._active:
            return None
        if not self._allowance.take(max(32, self._references.size(target))):
            return None
        self._active.add(id(target))
        entered.append(id(target))
        return target

    def _type_of(self, reference: str) -> str:
        target = self._references.target(reference)
        type_ = target.get("type") if target else None
        return type_ if isinstance(type_, str) and type_ in TYPES else "object"

    def _only_branch(self, node: Schema) -> list[Any]:
        """Replace an ``anyOf`` with a single branch by that branch; null does not count if a keyword expresses it."""
        dialect = self._dialect
        branches = node["anyOf"]
        if dialect.unions == "nullable" and len(kept := [b for b in branches if not _is_null(b)]) < len(branches):
            if not kept:
                node["type"] = node.get("type", "null")
                del node["anyOf"]
                return []
            if len(kept) == 1:
                node["nullable"] = True
            else:
                kept[0] = {**(kept[0] if isinstance(kept[0], dict) else {}), "nullable": True}
            node["anyOf"] = branches = kept
        beside = dialect.beside_any_of
        if len(branches) == 1 and beside is not None and not node.keys() - {"anyOf"} <= beside:
            return list(node.pop("anyOf"))
        return []

    # The rules for one schema

    def _fit_node(self, node: Schema, lost: Schema) -> None:
        dialect = self._dialect
        if "anyOf" in node and dialect.beside_any_of is not None:
            self._fit_any_of(node, lost, dialect.beside_any_of)
        infer_type(node, dialect, empty=not node and not lost)
        if isinstance(node.get("type"), list) and dialect.unions != "list":
            self._fit_union(node)
            if "anyOf" in node and dialect.beside_any_of is not None:
                self._fit_any_of(node, lost, dialect.beside_any_of)
        if "enum" in node and dialect.enums != "any":
            fit_enum(node, lost, dialect)
        if dialect.by_type is not None and isinstance(type_ := node.get("type"), str):
            for keyword in node.keys() - dialect.by_type[type_] - {"$defs"}:
                value = node.pop(keyword)
                if keyword not in _TYPED or keyword in OF_TYPE[type_]:  # others have no effect on this type
                    lost.setdefault(keyword, value)
        fit_limits(node, lost, dialect)
        properties = node.get("properties")
        if properties:
            names = [n for n, child in properties.items() if type(child) is dict and child.get("required") is True]
            if names:  # as in the third draft
                node["required"] = list(dict.fromkeys([*node.get("required", ()), *names]))

    def _fit_union(self, node: Schema) -> None:
        """A list of types becomes one type that may be null, or branches."""
        types: list[str] = node["type"]
        if self._dialect.unions == "nullable":
            if "null" in types and len(types) > 1:
                types = [type_ for type_ in types if type_ != "null"]
                node["nullable"] = True
            if len(types) == 1:
                node["type"] = types[0]
                return
        elif len(types) == 1 or node.keys() <= {"type", "description", "title"}:
            return
        branches: list[Schema] = []
        for type_ in types:
            branch = {"type": type_, **{key: value for key, value in node.items() if key in OF_TYPE[type_]}}
            if "enum" in node:
                branch["enum"] = [value for value in node["enum"] if matches(value, type_)]
                if not branch["enum"]:
                    continue
            branches.append(branch)
        for keyword in node.keys() & {*_TYPED, "type", "enum"}:
            del node[keyword]
        if branches:
            node["anyOf"] = branches
            if node.pop("nullable", False):
                branches[0]["nullable"] = True

    def _fit_any_of(self, node: Schema, lost: Schema, beside: frozenset[str]) -> None:
        """Move what is beside ``anyOf`` into its branches, or the branches into the description."""
        if node.get("default") is not None and "default" not in beside:
            lost.setdefault("default", node["default"])
        node.pop("default", None)
        keywords = node.keys() - beside - {"anyOf", "description", "title"}
        if not keywords:
            return
        branches = node["anyOf"]
        rest = {keyword: node[keyword] for keyword in node if keyword in keywords}
        constrains = not any(isinstance(branch, dict) and branch.keys() & _SAYS_TYPE for branch in branches)
        if (constrains and keywords & _STRUCTURE) or not self._allowance.take(json_size(rest) * (len(branches) - 1)):
            lost.setdefault("anyOf", node.pop("anyOf"))
            return
        for keyword in keywords:
            del node[keyword]
        node["anyOf"] = [{"allOf": [rest, branch]} for branch in branches]

    def _fit_children(self, node: Schema, depth: int) -> None:
        for keyword, value in node.items():  # only values are set
            kind = _CHILDREN.get(keyword)
            if kind is None:
                continue
            if kind == "single":
                if keyword != "additionalProperties" or isinstance(value, dict):
                    node[keyword] = self.fit(value, depth + 1)
            elif kind == "named":
                fitted = value
                for name, child in value.items():
                    if (new := self.fit(child, depth + 1)) is not child:
                        if fitted is value:
                            fitted = dict(value)
                        fitted[name] = new
                node[keyword] = fitted
            else:
                children = value
                for n, child in enumerate(value):
                    if (new := self.fit(child, depth + 1)) is not child:
                        if children is value:
                            children = list(value)
                        children[n] = new
                node[keyword] = children

    def _fold_null(self, node: Schema, lost: Schema) -> None:
        """Branches that turn out to be null are also replaced by a keyword."""
        for branch in self._only_branch(node):  # at most one
            if "description" in node and "description" in branch:
                node["description"] += f"\n{branch['description']}"
            node |= {key: value for key, value in branch.items() if key not in node}
            if "anyOf" in branch and node.pop("nullable", False):
                lost.setdefault("nullable", True)

    def _fit_names(self, node: Schema, lost: Schema) -> None:
        dialect = self._dialect
        type_ = node.get("type")
        array = type_ == "array" or (isinstance(type_, list) and "array" in type_)
        if array and dialect.items is not None and "items" not in node:
            node["items"] = dict(dialect.items)
        if not dialect.defined_names:
            return
        properties = node.get("properties", {})
        refused = {name: value for name, value in properties.items() if not name or name in dialect.reserved_names}
        if refused:
            lost.setdefault("properties", refused)
            node["properties"] = properties = {k: v for k, v in properties.items() if k not in refused}
        required = node.get("required", ())
        if any(name not in properties for name in required):
            lost.setdefault("required", [name for name in required if name not in properties])
            node["required"] = [name for name in required if name in properties]
            if not node["required"]:
                del node["required"]
        if any(not name or "/" in name for name in node.get("$defs", ())):
            node["$defs"] = {name: value for name, value in node["$defs"].items() if name and "/" not in name}


def _is_null(branch: Any) -> bool:
    return isinstance(branch, dict) and (branch.get("type") in ("null", ["null"]) or branch.get("enum") == [None])


def _move_description(node: Schema, beside: frozenset[str]) -> None:
    """Move description and title into a branch if they can't be beside the branches; a branch must not be a mere
    reference.

    They are left out if all branches are references, since nothing may be beside those either.
    """
    branches = node["anyOf"]
    for keyword in ("title", "description"):
        if keyword not in node:
            continue
        if keyword in beside and not any(keyword in branch for branch in branches):
            continue
        value = node.pop(keyword)
        place = next((n for n, branch in enumerate(branches) if "$ref" not in branch), None)
        if place is None:
            continue
        branch = dict(branches[place])
        if keyword == "description" and keyword in branch:
            value = f"{value}\n{branch[keyword]}"
        branch[keyword] = value
        if "anyOf" in branch:
            _move_description(branch, beside)
        node["anyOf"] = branches = [*branches[:place], branch, *branches[place + 1 :]]


def _same(node: Schema, schema: Schema) -> bool:
    return (
        len(node) == len(schema)
        and all(map(operator.is_, node.values(), schema.values()))
        and all(map(operator.eq, node, schema))
    )
