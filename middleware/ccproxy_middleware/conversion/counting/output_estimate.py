"""An estimate of the tokens that a model has written, for a provider that doesn't count them."""

from .tokens import estimate_tokens

_AT_ONCE = 64 * 1024  # characters


class OutputEstimate:
    """Keeps written text only until its tokens are estimated."""

    __slots__ = ("_size", "_texts", "_tokens")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._size = 0
        self._tokens = 0

    @property
    def empty(self) -> bool:
        """Whether nothing was written."""
        return not (self._texts or self._tokens)

    def add(self, text: str) -> None:
        """Add the next piece."""
        self._texts.append(text)
        self._size += len(text)
        if self._size > _AT_ONCE:
            self._tokens += estimate_tokens("".join(self._texts))
            self._texts.clear()
            self._size = 0

    def tokens(self, more: str = "") -> int:
        """The estimate for all pieces and ``more``."""
        return self._tokens + estimate_tokens("".join(self._texts) + more)
