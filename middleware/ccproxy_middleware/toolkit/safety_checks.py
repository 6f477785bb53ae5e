"""The requests in which Claude Code's auto mode asks a model whether an action is safe.

They are ordinary requests, recognizable only by their system prompt. Each layer recognizes them itself, wherever it
stands: by the request in Anthropic's format, or inside a converter, which may have moved the prompt, by the converter's
note in the scope.
"""

from typing import Any

from starlette.types import Scope

MARK = "You are a security monitor"
"""How their system prompt begins: in both stages of the check, and in all versions that were seen up to 2.1.332."""

_BILLING_HEADER = "x-anthropic-billing-header"  # a block that may come before it


def is_safety_check(data: Any, scope: Scope | None = None) -> bool:
    """Whether a request is one of them. ``scope`` is checked where a converter may stand outside."""
    if scope is not None and "ccproxy.safety_check" in scope:
        return bool(scope["ccproxy.safety_check"])
    system = data.get("system") if isinstance(data, dict) else None
    if isinstance(system, str):
        return system.lstrip().startswith(MARK)
    for block in system if isinstance(system, list) else ():
        text = block.get("text") if isinstance(block, dict) else None
        if isinstance(text, str) and not text.startswith(_BILLING_HEADER):
            return text.lstrip().startswith(MARK)
    return False
