"""The models that may answer a request, each with its upstream."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

DEFAULT = "default"
"""The name of the default upstream."""

_FOR_CLAUDE_CODE = "claude/"  # which lists only ids that contain ``claude``


_MAX_REMEMBERED = 512
_MAX_TEXT = 1000  # characters; clients may send made-up names


class Candidate(NamedTuple):
    """A model and the upstream that has it."""

    upstream: str
    model: str

    def __str__(self) -> str:
        return f"{self.upstream}:{self.model}"


class Option(NamedTuple):
    """A candidate with one of its upstream's keys: ``key`` is the index in the pool, ``key_id`` its id."""

    upstream: str
    model: str
    key: int
    key_id: str


def parse_candidate(text: str, upstreams: Collection[str]) -> Candidate:
    """The candidate that ``NAME:model`` or ``model`` means.

    ``upstreams``: the names, in lower case; what stands before a colon is one of them or a part of the model.
    """
    name, colon, model = text.partition(":")
    if colon and model.strip() and (name := name.strip().lower()) in upstreams:
        return Candidate(name, model.strip())
    return Candidate(DEFAULT, text.strip())


def chosen_by_client(name: str, upstreams: Collection[str]) -> Candidate | None:
    """The candidate whose upstream a client has named, as ``NAME:model`` or ``claude/NAME:model``."""
    if name.lower().startswith(_FOR_CLAUDE_CODE):
        name = name[len(_FOR_CLAUDE_CODE) :]
    if ":" not in name or name.partition(":")[0].strip().lower() not in upstreams:
        return None
    return parse_candidate(name.removesuffix("[1m]"), upstreams)


def remembered(function: Callable[[Any], T]) -> Callable[[Any], T]:
    """The function with a cache of its results for tuples of texts, or of such tuples, if they are short."""
    known: dict[Any, T] = {}

    def remembering(key: Any) -> T:
        found = known.get(key)
        if found is not None:
            return found
        value = function(key)
        if sum(map(len, _texts(key))) <= _MAX_TEXT:
            if len(known) >= _MAX_REMEMBERED:
                known.clear()
            known[key] = value
        return value

    return remembering


def _texts(key: Any) -> Iterator[str]:
    if isinstance(key, str):
        yield key
    elif isinstance(key, tuple):
        for part in key:
            yield from _texts(part)
