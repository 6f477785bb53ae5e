"""The interface to an upstream's concurrency and rate limits."""

from typing import Protocol


class Turn(Protocol):
    """A request's permission to call its upstream."""

    def done(self, tokens_used: int | None = None) -> None:
        """The request is over and has used so many tokens, or the expected number if None."""
        ...


class Pace(Protocol):
    """The turns of one upstream."""

    async def try_enter(self, tokens: int) -> Turn | None:
        """A turn for a request of so many tokens, or None if it would have to wait."""
        ...

    async def enter(self, tokens: int, *, priority: int, session: str | None, timeout: float) -> Turn:  # noqa: ASYNC109
        """A turn, after a wait of at most ``timeout`` seconds. Raises a 529 when that is over."""
        ...
