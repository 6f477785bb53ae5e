"""A converted request: the body for upstream, and what the converters of the answer need to know about the request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..toolkit.asgi import LARGE
from ..toolkit.json import loads
from .providers import Profile

Api = Literal["chat", "responses"]
"""An upstream API: Chat Completions or Responses."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about one request.

    model: the client's own name for the model, repeated in the answer.
    upstream_model: the name that the provider was asked for.
    thinking: whether reasoning becomes thinking blocks: ``show``; ``omit`` (block with a signature, no text, as
        ``display: omitted`` requests); ``off``.
    tool_names: the provider's name of a tool -> the client's, for names that had to be shortened.
    tools: the client's names of the tools that were offered.
    tool_schemas: by the client's name, the schemas of tools whose arguments may arrive with values of the wrong type.
    text_tools: by the client's name, and by the provider's, the schemas of the tools that may be called in the text;
        None: all that are offered.
    used_tool_ids: every tool id in the request's history; a repeated id would make Claude Code drop turns.
    stop_sequences: all that the client requested.
    local_stops: those of them that are not sent to the provider: the converter finds them in the text.
    max_tokens: the output tokens that the provider is asked for.
    hosted_search: the user's question, if the provider may search the web for it; None: it may not.
    estimate_input: estimates the input tokens until the provider reports the real number; called only when needed.
    """

    model: str
    profile: Profile = field(default_factory=Profile)
    upstream_model: str = ""
    thinking: Literal["show", "omit", "off"] = "off"
    tool_names: Mapping[str, str] = field(default_factory=dict)
    tools: frozenset[str] = frozenset()
    tool_schemas: Mapping[str, Any] = field(default_factory=dict)
    text_tools: Mapping[str, Any] | None = None
    used_tool_ids: frozenset[str] = frozenset()
    stop_sequences: tuple[str, ...] = ()
    local_stops: tuple[str, ...] = ()
    max_tokens: int | None = None
    hosted_search: str | None = None
    estimate_input: Callable[[], int] = lambda: 0


class UpstreamBody:
    """A body for upstream: its objects, or only its bytes once it is rarely needed.

    ``estimate`` returns the number of tokens of such a body.
    """

    __slots__ = ("_data", "_estimate", "_tokens", "_written")

    def __init__(self, data: dict[str, Any], estimate: Callable[[Mapping[str, Any]], int]) -> None:
        self._data: dict[str, Any] | None = data
        self._estimate = estimate
        self._written = b""
        self._tokens: int | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The objects; parsed again at each access once only the bytes are kept."""
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
        """Drop the objects and keep the bytes."""
        self._data, self._written = None, written


@dataclass(frozen=True, slots=True)
class ConvertedRequest:
    """The body for upstream, and what the converters of the answer need to know about the request.

    stream, asks_stream: whether the client requested a stream, and whether a stream is requested from the provider.
    upstream_model: the name that the provider is asked for.
    clamped_from: the ``max_tokens`` that the client requested, if the profile allows fewer.
    json: the JSON of those fields of the body that are already serialized.
    api: the API that the body is for.
    left_out: the conversation's provider state that was left out: the number of items by reason.
    """

    upstream: UpstreamBody
    context: Context
    stream: bool
    asks_stream: bool
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
        """Keep the body as serialized bytes instead of its objects, which take many times as much memory."""
        if self.stream or len(written) > LARGE:  # needed at the stream's start, or too slow to parse again
            self.upstream.tokens()
        self.upstream.keep_bytes(written)
