"""A request without tools in the place of one that has some."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .words import Tool

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The request as the model gets it. ``tools``: those that it may call."""

    data: Payload
    tools: tuple[Tool, ...]


class Prompter(Protocol):
    """Makes such requests for one API. The classes are stateless."""

    def concerns(self, data: Mapping[str, Any]) -> bool:
        """Whether a request offers tools to the model, or tells of calls."""
        ...

    def prompt(self, data: Mapping[str, Any]) -> Prompt:
        """The request with tools, calls and results as text. Raises ApiError for what is no request."""
        ...

    def repair(self, data: Payload, said: str, words: str) -> Payload:
        """The request for another answer in the place of ``said``, with ``words`` about it."""
        ...


def joined(*texts: str) -> str:
    """Texts with blank lines between."""
    return "\n\n".join(filter(None, texts))
