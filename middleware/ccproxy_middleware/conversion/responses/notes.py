"""What of an answer was left out, for the operator's log."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .streamed_items import kind_of

_MAX_NAME = 64


def answer_notes(response: Any, dropped: Counter[str] | None = None) -> list[str]:
    """A line for each decision. ``dropped``: the types of items that meant nothing, where the answer was streamed."""
    if not isinstance(response, Mapping):
        return []
    if dropped is None:
        output = response.get("output")
        items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        dropped = Counter(str(item.get("type")) for item in items if kind_of(item) is None)
    notes = [
        f"answer: {number} {kind[:_MAX_NAME]} left out: it means nothing to the client"
        for kind, number in dropped.items()
    ]
    changes = response.get("input_transformations")
    reasons = Counter(
        str(change.get("reason"))[:_MAX_NAME]
        for change in (changes if isinstance(changes, list) else ())
        if isinstance(change, dict)
    )
    notes += [f"the provider has left out {n} of its own reasoning: {reason}" for reason, n in reasons.items()]
    return notes
