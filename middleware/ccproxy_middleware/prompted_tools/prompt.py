"""A request without tools that replaces one with tools."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .words import Tool

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The request for the model. ``tools``: those that it may call."""

    data: Payload
    tools: tuple[Tool, ...]


class Prompter(Protocol):
    """Creates such requests for one API. The classes are stateless."""

    def concerns(self, data: Mapping[str, Any]) -> bool:
        """Whether a request offers tools to the model, or contains calls."""
        ...

    def prompt(self, data: Mapping[str, Any]) -> Prompt:
        """The request with tools, calls and results as text. Raises ApiError for an invalid request."""
        ...

    def repair(self, data: Payload, said: str, words: str) -> Payload:
        """The request for another answer in place of ``said``, with ``words`` about it."""
        ...


def joined(*texts: str) -> str:
    """Texts with blank lines between."""
    return "\n\n".join(filter(None, texts))
