"""A converted request: the body for upstream, and what the answer's converters must know of the request."""

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
    """One request's memory.

    model: the client's own name for the model, echoed in the answer.
    upstream_model: the name that upstream was asked for.
    thinking: whether reasoning becomes thinking blocks: ``show``; ``omit`` (block with a signature, no text, as
        ``display: omitted`` asks); ``off``.
    tool_names: upstream's name of a tool -> the client's, for names that had to be shortened.
    tools: the client's names of the tools that were offered.
    tool_schemas: by the client's name, the schemas of tools whose arguments may be written otherwise than they ask for.
    text_tools: by the client's name, and upstream's, the schemas of the tools that may be called in the text; None: all
        that are offered.
    used_tool_ids: every tool id of the request's history; a repeat would make Claude Code drop turns.
    stop_sequences: all that the client asked for.
    local_stops: those of them that upstream doesn't know: the converter finds them in the text.
    max_tokens: the output tokens that the provider is asked for.
    hosted_search: what the user asks, where the provider may search the web for it; None: it may not.
    estimate_input: the input's tokens until upstream reports the real figure; called only where they are needed.
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

    stream, asks_stream: whether the client asked for a stream, and whether upstream is asked for one.
    upstream_model: the name that upstream is asked for.
    clamped_from: the ``max_tokens`` that the client asked for, where the profile allows less.
    json: of those fields of the body whose JSON is known already.
    api: the API that the body is for.
    left_out: what of the conversation's provider state was left out, by the reason, with its number.
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
        """Keep the body as it was written instead of its objects, which take many times as much."""
        if self.stream or len(written) > LARGE:  # told at its start, or parsed again where the event loop would wait
            self.upstream.tokens()
        self.upstream.keep_bytes(written)
