"""The ids under which Claude Code sees the models of a proxy, chosen so that it assumes the right context size.

Claude Code recognizes Anthropic's models by their ids. For other ids it uses the size in its variable
CLAUDE_CODE_MAX_CONTEXT_TOKENS.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ...models import PROVIDERS_OWN

NEWEST: Mapping[str, str] = {
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-2",
}
"""The newest model of each family: ``latest_per_family`` in the program of Claude Code 2.1.332."""

_ASSUMED = 200_000  # the window of the newest models where CLAUDE_CODE_DISABLE_1M_CONTEXT is set
_MILLION = 1_000_000  # and where it isn't


def needs_own_ids(window: int | None) -> bool:
    """Whether a known context window is below a million, and not what the client assumes for Anthropic's models."""
    return window is not None and window != _ASSUMED and window < _MILLION


def client_id(family: str, model: str, window: int | None) -> str:
    """The id of a tier, ``opus``, ``sonnet``, ``haiku`` or ``fable``, with this model behind it.

    ``window``: the smallest context window of the models that a conversation may use, since the client has one variable
    for all.
    """
    return f"claude-{family}/{model}" if needs_own_ids(window) else NEWEST[family]


def for_claude_code(aliases: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The list of models for Claude Code's discovery, which keeps only ids with ``claude`` or ``anthropic``.

    ``aliases``: the tiers ``claude-opus`` and so on. They get the ids that ``cc-boost claude`` passed to the client, so
    that no model is listed twice. ``others``: the provider's own models; those behind the tiers are left out.
    """
    aliases = list(aliases)
    sizes = [entry["max_input_tokens"] for entry in aliases if entry["id"] in ("claude-opus", "claude-sonnet")]
    window = min((size for size in sizes if size), default=None)
    listed: list[dict[str, Any]] = []
    for entry in aliases:
        family = str(entry["id"]).removeprefix("claude-")
        model = entry["display_name"]
        id_ = client_id(family, model, window) if family in NEWEST else entry["id"]
        listed.append({**entry, "id": id_, "description": f"{family}, by cc-boost"})
    shown = {entry["display_name"] for entry in aliases}
    for entry in others:
        id_ = entry["id"]
        if id_ not in shown:
            listed.append({**entry, "id": f"{PROVIDERS_OWN}{id_}", "description": f"{id_}, the provider's own"})
    return listed
