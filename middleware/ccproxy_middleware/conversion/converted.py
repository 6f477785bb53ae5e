"""A converted request: the body for upstream, and what goes with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..toolkit.json import loads
from .context import Context

Api = Literal["chat", "responses"]
"""An upstream API: Chat Completions or Responses."""


class RequestBody:
    """A body for upstream: its objects, or its bytes where it is rarely looked at any more.

    ``estimate`` tells how many tokens such a body has.
    """

    __slots__ = ("_data", "_estimate", "_tokens", "_written")

    def __init__(self, data: dict[str, Any], estimate: Callable[[Mapping[str, Any]], int]) -> None:
        self._data: dict[str, Any] | None = data
        self._estimate = estimate
        self._written = b""
        self._tokens: int | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The objects; parsed anew each time, once only the bytes are kept."""
        if self._data is not None:
            return self._data
        parsed: dict[str, Any] = loads(self._written)
        return parsed

    def tokens(self) -> int:
        """The estimate of its tokens."""
        if self._tokens is None:
            self._tokens = self._estimate(self.data)
        return self._tokens

    def keep_bytes(self, written: bytes) -> None:
        """Forget the objects."""
        self._data, self._written = None, written


@dataclass(frozen=True, slots=True)
class ConvertedRequest:
    """The body for upstream, and what the answer's converters need to know of the request.

    upstream_model: the name that upstream is asked for.
    clamped_from: the ``max_tokens`` that the client asked for, where the profile allows less.
    json: of those fields of the body whose JSON is known already.
    api: the API that the body is for.
    left_out: what of the conversation's provider state was left out, with its number.
    """

    upstream: RequestBody
    context: Context
    stream: bool
    upstream_model: str
    clamped_from: int | None = None
    json: Mapping[str, bytes] = field(default_factory=dict)
    api: Api = "chat"
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The body for upstream, parsed again once it is kept as bytes."""
        return self.upstream.data

    def keep_bytes(self, written: bytes) -> None:
        """Keep the body as it was written instead of its objects, which take many times as much."""
        if self.stream:
            self.upstream.tokens()  # told at its start
        self.upstream.keep_bytes(written)
