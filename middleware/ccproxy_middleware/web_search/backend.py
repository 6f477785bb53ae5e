"""What the layer needs of something that searches the web."""

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
    """Where the user is, as far as the client tells; ``country`` is a code of two letters."""

    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to search for. Of the two lists of domains one at most has any.

    A domain stands for its subdomains too, and may have a path: ``example.com/docs``. A backend need not heed the
    lists, since the layer leaves out what they exclude; results are better if it does.
    """

    text: str
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A page that was found. ``text`` is an excerpt; ``age`` tells when the page was made, in any form."""

    url: str
    title: str
    text: str = ""
    age: str | None = None


class SearchError(Exception):
    """A search that has failed. The client is told the code, the model and the log the message too."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message


class SearchBackend(Protocol):
    """An async function, or an object that can be called as one. Raises SearchError."""

    async def __call__(self, query: SearchQuery, /) -> list[SearchResult]: ...
