"""``ROUTES_FILE``: the rules for routing requests, in TOML."""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from ccproxy_middleware.routing import Route, named

from .configuration import ConfigurationError, problem, shown
from .files import users_file

_KEYS = ("when", "models", "name")
_DEFAULT = "default"

_HEADING = re.compile(r"\s*\[\[\s*route\s*\]\]")
_LONG_TEXT = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'', re.DOTALL)
_TEXT = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')
_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_UPSTREAM = re.compile(r"[A-Za-z0-9]+")


class RoutesFile(str):
    """The name of the file, and the rules in it once they are read."""

    routes: tuple[Route, ...] = ()

    def read(self, upstreams: Collection[str]) -> None:
        """Read the rules. ``upstreams``: the names of the configured upstreams.

        A relative name is looked up in the working directory, then beside the user's configuration file. Raises
        ConfigurationError with a line for each problem, which names the file and the line.
        """
        path = Path(self).expanduser()
        if not path.is_absolute() and not path.exists() and (beside := users_file().parent / path).exists():
            path = beside
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8 text"
            raise ConfigurationError(
                [problem("ROUTES_FILE", f"given {shown(self)}", f"it can't be read: {reason}", "a TOML file")]
            ) from None
        self.routes = parse_routes(text, str(self), upstreams)


def parse_routes(text: str, path: str, upstreams: Collection[str]) -> tuple[Route, ...]:
    """The rules of a text, in order, each with its name. ``path`` is for the messages. Raises ConfigurationError."""
    reader = _Reader(text, path, frozenset(name.lower() for name in upstreams) | {_DEFAULT})
    routes = reader.read()
    if reader.problems:
        raise ConfigurationError(f"{path}, line {line}: {text}" for line, text in sorted(reader.problems.items()))
    return routes


class _Reader:
    """Reads one file and collects its problems by line."""

    def __init__(self, text: str, path: str, upstreams: frozenset[str]) -> None:
        self._text = text
        self._lines = _Lines(text)
        self._upstreams = upstreams
        self.problems: dict[int, str] = {}

    def read(self) -> tuple[Route, ...]:
        try:
            tables = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            self._note(*_place(str(error), self._lines.count))
            return ()
        except RecursionError:
            self._note(1, "it is nested too deeply")
            return ()
        for key in tables.keys() - {"route"}:
            self._note(self._lines.of_key(0, key), _unknown(key, ("[[route]]",), "a rule begins with [[route]]"))
        given = tables.get("route", [])
        if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
            self._note(self._lines.of_key(0, "route"), "route: a rule begins with [[route]]")
            return ()
        routes = [route for number, table in enumerate(given, 1) if (route := self._route(number, table)) is not None]
        return self._named(routes) if len(routes) == len(given) else ()

    def _route(self, number: int, table: Mapping[str, Any]) -> Route | None:
        known = len(self.problems)
        for key in table.keys() - set(_KEYS):
            self._note(self._lines.of_key(number, key), _unknown(key, _KEYS, "a rule has when, models, name"))
        when = table.get("when", {})
        if not isinstance(when, dict):
            self._note(self._lines.of_key(number, "when"), "when: accepted: a table such as { images = true }")
            when = {}
        for key, value in when.items():
            if key in _KEYS:  # Route takes these as arguments of other types
                self._note(self._lines.of_key(number, key), f"when.{key}: there is no such condition")
                continue
            self._try(number, key, partial(Route, "m", **{key: value}), "when.")
        if "models" not in table:
            self._note(self._lines.of_heading(number), 'models: a rule needs it, as in models = ["NAME:model"]')
        else:
            self._try(number, "models", partial(Route, table["models"]))
            self._check_models(number, table["models"])
        name = table.get("name", "")
        if "name" in table:
            self._try(number, "name", partial(Route, "m", name=name or " "))
        return Route(table["models"], name=name, **when) if len(self.problems) == known else None

    def _try(self, number: int, key: str, make: Callable[[], Route], prefix: str = "") -> None:
        """Record the problem of a rule that has only this key."""
        try:
            make()
        except ValueError as error:
            self._note(self._lines.of_key(number, key), f"{prefix}{error}")

    def _check_models(self, number: int, models: Any) -> None:
        for model in models.split(",") if isinstance(models, str) else models if isinstance(models, list) else ():
            if isinstance(model, str) and (problem := self._no_upstream(model.strip())):
                self._note(self._lines.of_text(number, model.strip()), f"models: {problem}")

    def _no_upstream(self, model: str) -> str:
        """Why ``NAME:model`` can't be a model of the default upstream, which is how it is read; empty if it can be one.

        Many models have a colon in their names, such as qwen3:8b.
        """
        upstream, colon, own = model.partition(":")
        name = upstream.strip().lower()
        if not colon or name in self._upstreams:
            return "" if not colon or own.strip() else f"{model!r} names no model"
        near = get_close_matches(name, sorted(self._upstreams), n=1, cutoff=0.75)
        if not _UPSTREAM.fullmatch(name) or not (near or own.strip().lower().startswith(name)):
            return ""
        meant = f"Do you mean {near[0]}:{own.strip()}?" if near else f"Set UPSTREAM_{name.upper()}_BASE_URL."
        return f"there is no upstream {upstream!r}. {meant} A model of this name is default:{model}"

    def _named(self, routes: list[Route]) -> tuple[Route, ...]:
        names: set[str] = set()
        for number, route in enumerate(routes, 1):
            name = route.name or str(number)
            if name in names:
                self._note(self._lines.of_key(number, "name"), f"name: two rules are called {name!r}")
            names.add(name)
        return () if self.problems else named(routes)

    def _note(self, line: int, problem: str) -> None:
        self.problems[line] = f"{self.problems[line]}; {problem}" if line in self.problems else problem


class _Lines:
    """The positions of rules, keys and texts in a TOML file. Lines are counted from 1."""

    def __init__(self, text: str) -> None:
        blank = _LONG_TEXT.sub(lambda found: "\n" * found[0].count("\n"), text)
        self._with_texts = blank.replace("\r\n", "\n").split("\n")
        self._bare = [_TEXT.sub('""', line).split("#")[0] for line in self._with_texts]
        self._headings = [number for number, line in enumerate(self._bare, 1) if _HEADING.match(line)]
        self.count = len(self._bare)

    def of_heading(self, route: int) -> int:
        """The line on which the nth rule begins."""
        return self._headings[route - 1] if route <= len(self._headings) else self.of_key(0, "route")

    def of_key(self, route: int, key: str) -> int:
        """The line with a key of the nth rule; 0 means a key outside of all rules."""
        pattern = re.compile(rf"(?:^|[\s{{,.\[]){re.escape(key)}\s*[=.\]]")
        return self._first(route, self._bare, lambda line: pattern.search(line) is not None)

    def of_text(self, route: int, text: str) -> int:
        """The line with a text of the nth rule."""
        return self._first(route, self._with_texts, lambda line: text in line)

    def _first(self, route: int, lines: list[str], found: Callable[[str], bool]) -> int:
        start, end = self._range(route)
        return next((number for number in range(start, end) if found(lines[number - 1])), start)

    def _range(self, route: int) -> tuple[int, int]:
        if route == 0 or route > len(self._headings):
            return 1, self.count + 1
        return self._headings[route - 1], self._headings[route] if route < len(self._headings) else self.count + 1


def _place(message: str, last: int) -> tuple[int, str]:
    """The line of a syntax error, and the error itself."""
    found = _PLACE.fullmatch(message)
    return (int(found[2] or last), found[1]) if found else (1, message)


def _unknown(key: str, known: Iterable[str], otherwise: str) -> str:
    close = get_close_matches(key, [name.strip("[]") for name in known], n=1)
    return f"{key}: there is no such key" + (f". Do you mean {close[0]}?" if close else f"; {otherwise}")
