"""The facts about a request that rules use: each is computed once, when the first rule needs it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from starlette.types import Scope

from ..models import tier_of
from ..toolkit.asker import Asker, read_asker
from ..toolkit.record import get_record
from .request_tokens import blocks_of, estimate_input, messages_of

TIERS = {"BIG_MODEL": "big", "MIDDLE_MODEL": "middle", "SMALL_MODEL": "small"}
"""The tiers as rules name them."""

_IMAGES = frozenset(("image", "image_url", "input_image"))
_DOCUMENTS = frozenset(("document", "file", "input_file"))


class RequestFacts:
    """A request in the format of Anthropic's Messages, Chat Completions or Responses, as rules see it.

    ``data`` is its parsed body, and ``scope`` its ASGI scope, with the values that outer layers have set. ``now`` is
    the local time; None: the current time. A value that does not conform to its API counts as absent: a fact never
    raises.
    """

    def __init__(self, data: Any, scope: Scope, *, now: datetime | None = None) -> None:
        self._data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        self._scope = scope
        self._now = now

    @cached_property
    def model(self) -> str | None:
        """The model as the client named it."""
        known = self._scope.get("ccproxy.model") or {}
        return _text(known.get("requested")) or _text(self._data.get("model"))

    @cached_property
    def tier(self) -> str | None:
        """``big``, ``middle`` or ``small``; None for a name that is not Claude's."""
        known = self._scope.get("ccproxy.model") or {}
        tier = known["tier"] if "tier" in known else tier_of(self.model or "")
        return TIERS.get(tier) if isinstance(tier, str) else None

    @cached_property
    def _asker(self) -> Asker:
        record = get_record(self._scope)
        return read_asker(self._scope.get("headers", [])) if record is None else record.asker

    @property
    def request_class(self) -> str | None:
        """The type of Claude Code's request, such as ``main`` or ``subagent``."""
        return self._asker.request_class

    @property
    def agent_type(self) -> str | None:
        """Which of Claude Code's agents sends the request, such as ``Explore``."""
        return self._asker.agent_type

    @property
    def compaction(self) -> str | None:
        """``auto``, ``manual`` or ``reactive`` where the conversation is being summarized."""
        return self._asker.compaction

    @property
    def client_key(self) -> str | None:
        """The name of the client's key, where the key has one."""
        return _text(self._scope.get("ccproxy.client_key"))

    @cached_property
    def hour(self) -> int:
        """The local hour, 0 to 23."""
        return (self._now or datetime.now().astimezone()).hour

    @cached_property
    def input_tokens(self) -> int:
        """The prompt's tokens, by the estimate that is used where the provider's tokenizer isn't known."""
        return estimate_input(self._data)

    @property
    def images(self) -> bool:
        """Whether it contains an image, including in tool results."""
        return not self._kinds.isdisjoint(_IMAGES)

    @property
    def documents(self) -> bool:
        """Whether it contains a document, including in tool results."""
        return not self._kinds.isdisjoint(_DOCUMENTS)

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(kind for message in messages_of(self._data) for kind in _kinds_of(message))

    @cached_property
    def web_search(self) -> bool:
        """Whether the model may search the web with a tool of the provider's."""
        kinds = (_text(tool.get("type")) or "" for tool in self._tools)
        return "web_search_options" in self._data or any(kind.startswith("web_search") for kind in kinds)

    @cached_property
    def thinking(self) -> bool:
        """Whether the client requests thinking."""
        thinking = self._data.get("thinking")
        if isinstance(thinking, dict):
            return thinking.get("type") not in (None, "disabled")
        openais = self._openais_effort
        return openais is not None and openais != "none"

    @cached_property
    def effort(self) -> str | None:
        """The effort level that the client requests; one in a later message overrides the first."""
        config = self._data.get("output_config")
        effort = (_text(config.get("effort")) if isinstance(config, dict) else None) or self._openais_effort
        for message in reversed(messages_of(self._data)):
            config = message.get("output_config")
            if message.get("role") == "system" and isinstance(config, dict) and (later := _text(config.get("effort"))):
                return later
        return effort

    @property
    def _openais_effort(self) -> str | None:
        reasoning = self._data.get("reasoning")
        nested = reasoning.get("effort") if isinstance(reasoning, dict) else None
        return _text(self._data.get("reasoning_effort")) or _text(nested)

    @cached_property
    def tools(self) -> frozenset[str]:
        """The names of the request's tools."""
        tools = self._tools
        functions = (tool.get("function") for tool in tools)
        holders = [*tools, *(function for function in functions if isinstance(function, dict))]
        return frozenset(name for holder in holders if (name := _text(holder.get("name"))))

    @property
    def _tools(self) -> Sequence[Mapping[str, Any]]:
        return blocks_of(self._data.get("tools"))


def _kinds_of(message: Mapping[str, Any]) -> Iterator[str]:
    """The types of a message's blocks, and of those in its tool results."""
    for holder in (message.get("content"), message.get("output")):
        for block in blocks_of(holder):
            yield _text(block.get("type")) or ""
            for inner in blocks_of(block.get("content")):
                yield _text(inner.get("type")) or ""


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
