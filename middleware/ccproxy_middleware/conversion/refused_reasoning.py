"""The reasoning items that the provider has refused, so that later turns of a conversation leave them out at once."""

import logging
from collections.abc import Iterable

logger = logging.getLogger("ccproxy.conversion")

_MOST = 10_000


class RefusedReasoning:
    """A bounded set of digests; the oldest go first."""

    def __init__(self) -> None:
        self._digests: dict[str, None] = {}
        self._told = False

    def __contains__(self, digest: object) -> bool:
        return digest in self._digests

    def add(self, digests: Iterable[str]) -> None:
        """Remember items that were refused, and say so the first time."""
        for digest in digests:
            self._digests.pop(digest, None)
            self._digests[digest] = None
        while len(self._digests) > _MOST:
            del self._digests[next(iter(self._digests))]
        if not self._told:
            self._told = True
            logger.warning(
                "the provider has refused reasoning of its own that came back with the conversation, and took the "
                "request without it: that reasoning is left out from now on"
            )
