"""The routing rules: which models answer which requests."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import translate
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypedDict, Unpack

from ..conversion.providers import EFFORTS
from ..toolkit.asker import REQUEST_CLASSES
from .facts import TIERS, RequestFacts

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_COMPACTIONS = ("auto", "manual", "reactive")


class Conditions(TypedDict, total=False):
    """The conditions of a rule. Where a list of words is allowed, one of them must match; a single word is a list of
    one.

    tier: ``big``, ``middle``, ``small``. model: the client's name for the model, and tools: names of tools; in both
    ``*`` stands for any characters, ``?`` for one. request_class, agent_type, compaction: as Claude Code's headers
    state. input_tokens_over: tokens of the prompt, estimated. images, documents: whether there are any, including in
    tool results. web_search: whether the model may search. thinking: whether the client requests it. effort: the
    requested level. client_key: the name of the client's key. hour: ``[from, to)``, local; from 22 to 6 spans midnight.
    """

    tier: str | Sequence[str]
    model: str | Sequence[str]
    request_class: str | Sequence[str]
    agent_type: str | Sequence[str]
    compaction: str | Sequence[str]
    input_tokens_over: int
    images: bool
    documents: bool
    web_search: bool
    thinking: bool
    effort: str | Sequence[str]
    tools: str | Sequence[str]
    client_key: str | Sequence[str]
    hour: Sequence[int]


@dataclass(frozen=True, slots=True)
class Misfit:
    """A condition that is not met: the value that the rule requires, and that of the request (None: not stated)."""

    condition: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        found = "not told" if self.found is None else _shown(self.found)
        if self.condition == "input_tokens_over":
            return f"the prompt has {found} tokens, not over {self.wanted}"
        return f"{self.condition} is {found}, not {_wanted(self.condition, self.wanted)}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result of one rule for a request: it matches if ``misfits`` is empty."""

    route: "Route"
    misfits: tuple[Misfit, ...]


@dataclass(frozen=True, slots=True, init=False)
class Route:
    """A rule: requests that meet all of its conditions go to its models, which are tried in order.

    ``models`` are written ``NAME:model``, or ``model`` for the default upstream; one text may contain several,
    separated by commas. ``name`` is the name of the rule in logs and headers; by default it is its number. Without
    conditions it matches every request. Raises ValueError, which names the condition, for an invalid one.
    """

    models: tuple[str, ...]
    conditions: Mapping[str, Any]
    name: str

    def __init__(self, models: Sequence[str] | str, *, name: str = "", **conditions: Unpack[Conditions]) -> None:
        if name != "" and not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ValueError(f"name: given {name!r}; accepted: up to 64 letters, digits, '.', '_' and '-'")
        object.__setattr__(self, "models", _read_models(models))
        checked = {key: _read(key, value) for key, value in conditions.items()}
        object.__setattr__(self, "conditions", MappingProxyType(checked))
        object.__setattr__(self, "name", name)

    def matches(self, facts: RequestFacts) -> bool:
        """Whether all conditions are met. Stops at the first that is not; the cheap ones are checked first."""
        conditions = self.conditions
        return all(_KINDS[key].holds(facts, key, conditions[key]) for key in _KINDS if key in conditions)

    def misfits(self, facts: RequestFacts) -> tuple[Misfit, ...]:
        """Each condition that is not met, in the order in which they are written."""
        return tuple(
            Misfit(key, wanted, _KINDS[key].found(facts, key))
            for key, wanted in self.conditions.items()
            if not _KINDS[key].holds(facts, key, wanted)
        )

    def __hash__(self) -> int:
        return hash((self.models, self.name, *self.conditions.items()))


def named(routes: Iterable[Route]) -> tuple[Route, ...]:
    """The rules; one without a name gets its number, from 1, as its name. Raises ValueError for a duplicate name."""
    all_named: dict[str, Route] = {}
    for number, route in enumerate(routes, 1):
        if route.name == "":
            route = _renamed(route, str(number))
        if route.name in all_named:
            raise ValueError(f"name: two rules are called {route.name!r}")
        all_named[route.name] = route
    return tuple(all_named.values())


def first_match(routes: Iterable[Route], facts: RequestFacts) -> Route | None:
    """The first rule that matches, or None."""
    return next((route for route in routes if route.matches(facts)), None)


def explain(routes: Iterable[Route], facts: RequestFacts) -> list[Explanation]:
    """The result of each rule for a request, in order, up to the first that matches."""
    explanations: list[Explanation] = []
    for route in routes:
        explanations.append(Explanation(route, route.misfits(facts)))
        if not explanations[-1].misfits:
            break
    return explanations


def _renamed(route: Route, name: str) -> Route:
    return Route(route.models, name=name, **route.conditions)


def _read_models(models: Sequence[str] | str) -> tuple[str, ...]:
    accepted = 'accepted: a model, such as "NAME:model", or a list of them'
    parts = models.split(",") if isinstance(models, str) else models
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError(f"models: given {models!r}; {accepted}")
    names = tuple(part.strip() if isinstance(part, str) else part for part in parts)
    if wrong := [name for name in names if not isinstance(name, str) or not name]:
        raise ValueError(f"models: given {wrong[0]!r}; {accepted}")
    return tuple(dict.fromkeys(names))


# The kinds of conditions: how each is read (ValueError says which values are valid), and whether it is met.


def _words(known: Iterable[str] = ()) -> Callable[[Any], tuple[str, ...]]:
    """One of several words; ``known``: the only valid ones."""
    known = tuple(known)
    accepted = "one or several of " + ", ".join(known) if known else "a text or a list of texts"

    def read(value: Any) -> tuple[str, ...]:
        words = (value,) if isinstance(value, str) else value
        if not isinstance(words, (list, tuple)) or not words or not all(isinstance(w, str) and w for w in words):
            raise ValueError(f"accepted: {accepted}")
        for word in words:
            if known and word not in known:
                raise ValueError(f"{word!r} is none; accepted: {accepted}{_nearest(word, known)}")
        return tuple(words)

    return read


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("accepted: true or false")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("accepted: a whole number of tokens")
    return value


def _hours(value: Any) -> tuple[int, int]:
    accepted = "accepted: two different hours, [from, to), such as [22, 6]"
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(accepted)
    start, end = value
    if any(isinstance(hour, bool) or not isinstance(hour, int) for hour in value):
        raise ValueError(accepted)
    if not (0 <= start <= 23 and 0 <= end <= 24) or start == end:
        raise ValueError(accepted)
    return start, end


def _fact(facts: RequestFacts, key: str) -> Any:
    return getattr(facts, key)


def _tokens(facts: RequestFacts, key: str) -> Any:
    return facts.input_tokens


def _equals(facts: RequestFacts, key: str, wanted: Any) -> bool:
    return bool(_fact(facts, key) == wanted)


def _is_one(facts: RequestFacts, key: str, wanted: Any) -> bool:
    return bool(_fact(facts, key) in wanted)


def _is_like_one(facts: RequestFacts, key: str, wanted: Any) -> bool:
    name = _fact(facts, key)
    return name is not None and glob_pattern(wanted).fullmatch(name) is not None


def _has_like_one(facts: RequestFacts, key: str, wanted: Any) -> bool:
    pattern = glob_pattern(wanted)
    return any(pattern.fullmatch(name) for name in _fact(facts, key))


def _is_over(facts: RequestFacts, key: str, wanted: Any) -> bool:
    return facts.input_tokens > int(wanted)


def _is_within(facts: RequestFacts, key: str, wanted: Any) -> bool:
    start, end = int(wanted[0]), int(wanted[1])
    return start <= facts.hour < end if start < end else facts.hour >= start or facts.hour < end


@dataclass(frozen=True, slots=True)
class _Kind:
    read: Callable[[Any], Any]
    holds: Callable[[RequestFacts, str, Any], bool]
    found: Callable[[RequestFacts, str], Any] = _fact


_KINDS: Mapping[str, _Kind] = {  # the cheap ones first
    "tier": _Kind(_words(TIERS.values()), _is_one),
    "model": _Kind(_words(), _is_like_one),
    "request_class": _Kind(_words(sorted(REQUEST_CLASSES)), _is_one),
    "agent_type": _Kind(_words(), _is_one),
    "compaction": _Kind(_words(_COMPACTIONS), _is_one),
    "client_key": _Kind(_words(), _is_one),
    "hour": _Kind(_hours, _is_within),
    "thinking": _Kind(_truth, _equals),
    "effort": _Kind(_words(EFFORTS), _is_one),
    "web_search": _Kind(_truth, _equals),
    "tools": _Kind(_words(), _has_like_one),
    "images": _Kind(_truth, _equals),
    "documents": _Kind(_truth, _equals),
    "input_tokens_over": _Kind(_count, _is_over, _tokens),
}


def _read(key: str, value: Any) -> Any:
    if key not in _KINDS:
        raise ValueError(f"{key}: there is no such condition{_nearest(key, _KINDS) or '; ' + _there_are()}")
    try:
        return _KINDS[key].read(value)
    except ValueError as error:
        raise ValueError(f"{key}: given {value!r}; {error}") from None


def _there_are() -> str:
    return "there are " + ", ".join(_KINDS)


def _nearest(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f". Do you mean {close[0]}?" if close else ""


@lru_cache(maxsize=256)
def glob_pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of these, in which ``*`` stands for any characters and ``?`` for one, ignoring case.

    Brackets have no special meaning: ``[1m]`` is a part of Claude Code's names.
    """
    return re.compile("|".join(translate(glob.replace("[", "[[]")) for glob in globs), re.IGNORECASE)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, frozenset)):
        return ", ".join(map(str, sorted(value) if isinstance(value, frozenset) else value)) or "none"
    return str(value)


def _wanted(condition: str, value: Any) -> str:
    if condition == "hour":
        return f"from {value[0]} to {value[1]}"
    return _shown(value) if isinstance(value, bool) else " or ".join(map(str, value))
