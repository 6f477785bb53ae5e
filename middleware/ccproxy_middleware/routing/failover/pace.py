"""What an upstream's pace is to whoever asks it."""

from typing import Protocol


class Turn(Protocol):
    """A request's leave to ask its upstream."""

    def done(self, tokens_used: int | None = None) -> None:
        """The request is over and has taken so many tokens, those that were expected if None."""
        ...


class Pace(Protocol):
    """The turns of one upstream."""

    async def try_enter(self, tokens: int) -> Turn | None:
        """A turn for a request of so many tokens, or None if it had to wait for one."""
        ...

    async def enter(self, tokens: int, *, priority: int, session: str | None, timeout: float) -> Turn:  # noqa: ASYNC109
        """A turn, after a wait of at most ``timeout`` seconds. Raises a 529 at the end of that."""
        ...
