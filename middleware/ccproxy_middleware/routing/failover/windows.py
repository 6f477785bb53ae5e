"""The context windows of candidates: whether a prompt that was too long for one may fit another."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable

from starlette.types import Scope

from ...toolkit.asgi import BufferedBody
from .candidates import Candidate
from .failures import Failure

Windows = Callable[[str, str], int | None]
"""The tokens that a model takes, by upstream and model; None where that isn't known."""

AskWindow = Callable[[Scope, BufferedBody, str, str], Awaitable[int | None]]
"""Asks an upstream for the window of a model, on behalf of a request."""

_STATED = re.compile(r"tokens > (\d+) maximum")
_MOST = 1024  # models whose windows are kept


class CandidateWindows:
    """The known context windows, and those that the upstreams report when they are queried.

    An upstream is queried once for each of its models, when a prompt was too long; again only if it did not answer.
    """

    def __init__(self, known: Windows | None, ask: AskWindow) -> None:
        self._known = known
        self._ask = ask
        self._told: dict[Candidate, int] = {}

    def find(self, upstream: str, model: str) -> int | None:
        """The context window of a model in tokens, if it is known."""
        known = None if self._known is None else self._known(upstream, model)
        return known or self._told.get(Candidate(upstream, model))

    async def learn(self, scope: Scope, body: BufferedBody, candidates: Iterable[Candidate]) -> None:
        """Query the unknown windows, on behalf of a request."""
        unknown = [candidate for candidate in dict.fromkeys(candidates) if self.find(*candidate) is None]
        sizes = await asyncio.gather(*(self._ask(scope, body, *candidate) for candidate in unknown))
        for candidate, size in zip(unknown, sizes, strict=True):
            if size is not None:
                if len(self._told) >= _MOST:
                    self._told.clear()
                self._told[candidate] = size


def stated_window(failure: Failure) -> int | None:
    """The window that an error in Anthropic's words states: ``prompt is too long: N tokens > M maximum``."""
    found = _STATED.search(failure.error.message)
    return int(found[1][:15]) if found else None
