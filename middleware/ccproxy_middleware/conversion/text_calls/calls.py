"""The grammar: calls in any of the formats, one after another, up to the end of the text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...toolkit.json import loads
from ..anthropic import fitted, wants_text
from .forms import ALL, BARE, BEFORE, BEHIND, TAGS, FormSet, JsonForm, NamedForm, Parameter
from .source import Marks, NoCallError, NotOfferedError, Reading, Source

_LONGEST_NAME = 128  # of a parameter
_LONGEST_ID = 128
_MOST_AROUND = 8  # consecutive marks that have no meaning
_MARKS: Mapping[FormSet, Marks] = {
    "tags": Marks((*TAGS, *BEFORE, *BEHIND)),
    "all": Marks((*ALL, *BEFORE, *BEHIND)),
}
_BARE_KEYS = frozenset({"name", "arguments", "parameters", "type", "id"})
_ARGUMENTS = ("arguments", "parameters")


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was read; its arguments are adapted to the tool's schema as far as possible."""

    name: str
    arguments: dict[str, Any]


class Grammar:
    """Reads calls of ``tools``, the schemas by name."""

    def __init__(self, tools: Mapping[str, Any], forms: FormSet) -> None:
        self._tools = tools
        self._forms = ALL if forms == "all" else TAGS
        self._marks = _MARKS[forms]
        self._names: dict[tuple[str, ...], Marks] = {}  # the tools' names with what may end them
        self._bare = "{[" if forms == "all" else ""

    def may_begin(self, text: str, at: int, *, bare: bool) -> bool:
        """Whether calls may begin there, judged by the first two characters, which rule out most other text."""
        return text[at : at + 2] in self._marks.beginnings or (bare and text[at] in self._bare)

    def read(self, source: Source, *, bare: bool) -> Reading[list[Call]]:
        """Read everything from here to the end of the text. Raises NoCallError if that is anything but calls.

        ``bare``: it is at the beginning of the answer, and may be JSON without marks.
        """
        found: list[Call] = []
        around = 0
        next_ = yield from source.peek()
        if bare and next_ and next_ in self._bare and (next_ != "[" or not (yield from self._is_mark(source))):
            found += yield from self._json(source, BARE, next_, bare=True)
            if (yield from source.space()):
                raise NoCallError
            return found
        while (yield from source.space()):
            mark = yield from source.maybe(self._marks)
            if not mark or around > _MOST_AROUND or (mark in BEHIND and not found):
                raise NoCallError
            form, before = self._forms.get(mark), len(found)
            if isinstance(form, NamedForm):
                found.append((yield from self._named(source, form)))
            elif form is not None:
                found += yield from self._marked(source, form)
            around = around + 1 if len(found) == before else 0
        if not found:
            raise NoCallError
        return found

    def _is_mark(self, source: Source) -> Reading[bool]:
        """Whether there is a mark here; nothing is consumed."""
        while not source.ended and self._marks.may_follow(source.text[source.at : source.at + self._marks.longest]):
            yield
        return self._marks.pattern.match(source.text, source.at) is not None

    def _marked(self, source: Source, form: JsonForm) -> Reading[list[Call]]:
        next_ = yield from source.space()
        if next_ == "<" and form.closing:
            return []  # the call itself is inside, in another format
        if next_ not in ("{", "[") and form.named is not None:
            return [(yield from self._named(source, form.named))]
        return (yield from self._json(source, form, next_, bare=False))

    def _json(self, source: Source, form: JsonForm, next_: str, *, bare: bool) -> Reading[list[Call]]:
        """Calls as JSON objects: one, several with separators, or a list."""
        is_list = next_ == "["
        if is_list:
            yield from source.mark("[")
            yield from source.space()
        calls: list[Call] = [(yield from self._object(source, bare=bare))]
        separator = "," if is_list else form.separator
        while separator and (yield from source.space()) == separator:
            yield from source.mark(separator)
            if not (yield from source.space()) and not is_list:
                break
            calls.append((yield from self._object(source, bare=bare)))
        if is_list:
            yield from source.mark("]")
        if form.closing:
            yield from source.space()
            yield from source.mark(form.closing)
        return calls

    def _object(self, source: Source, *, bare: bool) -> Reading[Call]:
        def on_key(key: str, value: str) -> None:
            if key == "name" and value and value not in self._tools:
                raise NotOfferedError
            if bare and key not in _BARE_KEYS:
                raise NoCallError

        if (yield from source.peek()) != "{":
            raise NoCallError
        call = _loads((yield from source.json(on_key)))
        name = call.get("name")
        if not isinstance(name, str) or (bare and not any(key in call for key in _ARGUMENTS)):
            raise NoCallError
        if name not in self._tools:
            raise NotOfferedError
        arguments: Any = next((call[key] for key in _ARGUMENTS if call.get(key) is not None), {})
        if isinstance(arguments, str):
            arguments = _loads(arguments or "{}")
        return self._call(name, arguments)

    def _named(self, source: Source, form: NamedForm) -> Reading[Call]:
        names = self._names.get(form.name_ends)
        if names is None:
            names = Marks(name + end for name in self._tools for end in form.name_ends)
            self._names[form.name_ends] = names
        found = yield from source.maybe(names)
        if not found:
            raise NotOfferedError
        name = next(name for end in form.name_ends if (name := found.removesuffix(end)) in self._tools)
        if form.id_opening and (yield from source.peek()) == form.id_opening[0]:
            yield from source.mark(form.id_opening)
            yield from source.until(form.name_ends[0], _LONGEST_ID)
        next_ = yield from source.space()
        arguments: dict[str, Any]
        if next_ == "{":
            arguments = _loads((yield from source.json(lambda key, value: None)))
        elif form.parameter is not None:
            arguments = yield from self._parameters(source, name, form.parameter, form.closing)
        else:
            raise NoCallError
        if form.closing and (next_ == "{"):
            yield from source.space()
            yield from source.mark(form.closing)
        return self._call(name, arguments)

    def _parameters(self, source: Source, tool: str, form: Parameter, closing: str) -> Reading[dict[str, Any]]:
        """The parameters up to the end of the call."""
        arguments: dict[str, Any] = {}
        marks = Marks((form.opening, closing))
        while True:
            yield from source.space()
            mark = yield from source.maybe(marks)
            if not mark:
                raise NoCallError
            if mark == closing:
                return arguments
            name, is_json = yield from self._parameter_name(source, form)
            value = yield from source.until(form.closing)
            if form.newlines:
                value = value.removeprefix("\n").removesuffix("\n")
            arguments[name] = _json_or_text(value) if is_json and not wants_text(self._tools[tool], name) else value

    def _parameter_name(self, source: Source, form: Parameter) -> Reading[tuple[str, bool]]:
        name = yield from source.until(">", _LONGEST_NAME)
        for end, is_json in form.name_ends.items():
            if f"{name}>".endswith(end):
                name = f"{name}>".removesuffix(end)
                if name and not any(char in name for char in '\n"<'):
                    return name, is_json
        raise NoCallError

    def _call(self, name: str, arguments: Any) -> Call:
        if not isinstance(arguments, dict):
            raise NoCallError
        return Call(name, fitted(arguments, self._tools[name]))


def _loads(text: str) -> Any:
    try:
        value = loads(text)
    except ValueError:
        raise NoCallError from None
    if not isinstance(value, dict):
        raise NoCallError
    return value


def _json_or_text(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return text
