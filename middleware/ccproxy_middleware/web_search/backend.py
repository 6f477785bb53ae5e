"""The interface of a web search backend."""

from dataclasses import dataclass
from typing import Literal, Protocol

ErrorCode = Literal[
    "invalid_tool_input", "unavailable", "max_uses_exceeded", "too_many_requests", "query_too_long", "request_too_large"
]
"""Anthropic's codes for a search that has failed."""

MAX_RESULTS = 10
"""So many results of a search are used."""


@dataclass(frozen=True, slots=True)
class Location:
    """The user's location, as far as the client states it; ``country`` is a two-letter code."""

    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search. At most one of the two lists of domains is not empty.

    A domain includes its subdomains, and may have a path: ``example.com/docs``. A backend may ignore the lists, since
    the layer removes the results that they exclude; if it applies them, the results are better.
    """

    text: str
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A page that was found. ``text`` is an excerpt; ``age`` is the date or age of the page, in any format."""

    url: str
    title: str
    text: str = ""
    age: str | None = None


class SearchError(Exception):
    """A failed search. The client gets the code; the model and the log also get the message."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message


class SearchBackend(Protocol):
    """An async function, or an object that can be called like one. Raises SearchError."""

    async def __call__(self, query: SearchQuery, /) -> list[SearchResult]: ...
