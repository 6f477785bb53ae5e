"""What the answer's converters must know of the request: made with it, read-only from then on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .providers.profiles import Profile


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
    used_tool_ids: every tool id of the request's history; a repeat would make Claude Code drop turns.
    stop_sequences: all that the client asked for.
    local_stops: those of them that upstream doesn't know: the converter finds them in the text.
    max_tokens: the output tokens that the provider is asked for.
    estimate_input: the input's tokens until upstream reports the real figure; called only where they are needed.
    """

    model: str
    profile: Profile = field(default_factory=Profile)
    upstream_model: str = ""
    thinking: Literal["show", "omit", "off"] = "off"
    tool_names: Mapping[str, str] = field(default_factory=dict)
    tools: frozenset[str] = frozenset()
    tool_schemas: Mapping[str, Any] = field(default_factory=dict)
    used_tool_ids: frozenset[str] = frozenset()
    stop_sequences: tuple[str, ...] = ()
    local_stops: tuple[str, ...] = ()
    max_tokens: int | None = None
    estimate_input: Callable[[], int] = lambda: 0
